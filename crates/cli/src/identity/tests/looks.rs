//! Tables and cards, as they are printed.

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::{APP, DATASET, GRANT, KEY, ORG};
use crate::draw::{Canvas, Colours, Margin};
use crate::identity::look::{Clock, Names, card, lines, sheet};
use crate::identity::noun::{AUDIT, Noun};

const WIDE: Canvas = Canvas { columns: None, colours: Colours::Off, margin: Margin::None };

struct Known;

impl Names for Known {
    fn name(&mut self, id: &str) -> Option<String> {
        [(ORG, "acme"), (APP, "web"), (DATASET, "or\x1bders")]
            .into_iter()
            .find(|(known, _)| *known == id)
            .map(|(_, name)| name.to_string())
    }
}

fn clock() -> Clock {
    Clock { zone: TimeZone::UTC }
}

fn table(noun: Noun, items: &[Value], columns: Option<usize>) -> Vec<String> {
    lines(&sheet(items, noun.columns(), &mut Known, &clock()), Canvas { columns, ..WIDE })
}

fn grants() -> Vec<Value> {
    vec![
        json!({"id": GRANT, "subject": APP, "dataset": DATASET, "role": "shop_web", "actions": ["connect", "export"],
               "limits": {"clients": 200, "statement_ms": 30_000, "holds": null}, "shared": true,
               "expires_ms": 1_798_675_200_000_i64, "state": "active"}),
        json!({"id": GRANT, "subject": "usr_unknown", "dataset": DATASET, "role": "r", "actions": ["*"], "limits": {},
               "shared": false, "state": "revoked"}),
    ]
}

#[test]
fn grants_are_shown_with_names_limits_and_times() {
    let expected = [
        "id                              to           data set    role      actions          limits                      shared  expires           state",
        "grt_00000000z8zzzzzzzzzzzzzzzz  web          or\\x1bders  shop_web  connect, export  clients 200, statement 30s  yes     2026-12-31 00:00  active",
        "grt_00000000z8zzzzzzzzzzzzzzzz  usr_unknown  or\\x1bders  r         *                -                           no      -                 revoked",
    ];
    assert_eq!(table(Noun::Grant, &grants(), None), expected);
}

#[test]
fn a_narrow_terminal_gets_what_matters_most() {
    let shown = table(Noun::Grant, &grants(), Some(60));
    assert!(shown.iter().all(|line| line.chars().count() <= 60), "{shown:#?}");
    assert!(
        shown[0].contains("to") && shown[0].contains("data set") && !shown[0].contains("shared"),
        "{shown:#?}"
    );
}

#[test]
fn keys_are_shown_with_their_last_use() {
    let keys =
        [json!({"key_id": KEY, "app": APP, "name": "", "env": "live", "kind": "key", "scopes": ["admin"],
                       "used_ms": 1_795_305_600_000_i64, "used_from": "10.0.0.1", "state": "disabled"})];
    let expected = [
        "key id            app  name  env   kind  scopes  expires  last used         from      state",
        "0a1B2c3D4e5F6g7H  web  -     live  key   admin   -        2026-11-22 00:00  10.0.0.1  disabled",
    ];
    assert_eq!(table(Noun::Key, &keys, None), expected);
}

#[test]
fn a_card_has_every_field_also_those_of_a_newer_api() {
    let app = json!({"id": APP, "name": "web", "org": ORG, "party": "third", "redirect_uris": ["https://a/b"],
                     "state": "active", "created_ms": 1_795_305_600_000_i64, "version": 3, "odd\u{202e}field": [1]});
    let expected = [
        "id              app_00000000z8zzzzzzzzzzzzzzzz",
        "name            web",
        "org             acme (org_00000000z8zzzzzzzzzzzzzzzz)",
        "party           third",
        "state           active",
        "created         2026-11-22 00:00",
        "redirects to    https://a/b",
        "odd\\u{202e}field  [1]",
        "version         3",
    ];
    let shown = card(&app, Noun::App.columns(), &mut Known, &clock());
    assert_eq!(shown.len(), expected.len(), "{shown:#?}");
    for (line, wanted) in shown.iter().zip(expected) {
        let words = |text: &str| text.split_whitespace().map(str::to_string).collect::<Vec<_>>();
        assert_eq!(words(line), words(wanted));
    }
}

#[test]
fn the_audit_log_is_a_line_for_each_entry() {
    let log = [
        json!({"seq": 1, "at_ms": 1_795_305_600_000_i64, "actor": "init", "from": "local", "action": "org.create",
                      "object": ORG, "detail": {"name": "acme"}}),
    ];
    let shown = lines(&sheet(&log, AUDIT, &mut Known, &clock()), WIDE);
    assert_eq!(shown[1], "2026-11-22 00:00:00  init  local  org.create  org_00000000z8zzzzzzzzzzzzzzzz");
}
