//! `plimsoll.ini(5)`: how the file is written, and every key with its values, its default and what changes it, from the
//! same tables as `docs/configuration.md`.

use clap_mangen::roff::{Inline, Roff, bold, roman};
use plimsoll_config::{KeyTable, key_tables};

use super::MANUAL;

/// How the file is written. A paragraph each.
const FORMAT: [&str; 5] = [
    "It is PgBouncer's ini file: every key of PgBouncer is known. Keys of Plimsoll's own stand in a section `[plimsoll]`. \
     What each key is for, connection strings, budgets and everything else: configuration.md, beside the other pages of \
     the documentation.",
    "A line is `[section]`, `key = value`, `%include PATH`, a comment or empty. Blanks at its beginning do not count. `;` \
     and `#` begin a comment at the beginning of a line only.",
    "A line of `[databases]`, `[users]`, `[targets]`, `[peers]` or `[issuers]` is a name, `=`, and pairs `key=value` with blanks \
     between them; a value with blanks stands in single quotes.",
    "Times of `[pgbouncer]` are seconds without a unit, with a fraction if need be. Times of `[plimsoll]` have one of `ms`, \
     `s`, `min` and `h`, sizes one of `B`, `kB`, `MB`, `GB`, `KiB`, `MiB` and `GiB`.",
    "`plimsoll check FILE.ini` says everything that is wrong or doubtful in a file. A key that is changed by reload follows \
     RELOAD on the console and SIGHUP.",
];

const EXAMPLE: &str = "[databases]\nshop = host=10.0.0.5 port=5432 dbname=shop\n\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
                       auth_type = scram-sha-256\nauth_file = /etc/plimsoll/userlist.txt\npool_mode = transaction\n\n\
                       [plimsoll]\ntarget_budget = 40";

/// The page.
pub(super) fn page(source: &str) -> String {
    let mut roff = Roff::new();
    roff.control("TH", ["plimsoll.ini", "5", "", source, MANUAL]);
    roff.control("SH", ["NAME"]);
    roff.text([roman("plimsoll.ini - configuration of the connection pooler Plimsoll")]);
    roff.control("SH", ["DESCRIPTION"]);
    for (index, paragraph) in FORMAT.iter().enumerate() {
        if index > 0 {
            roff.control("PP", []);
        }
        roff.text(inlines(paragraph));
    }
    for table in key_tables() {
        section(&mut roff, &table);
    }
    roff.control("SH", ["EXAMPLE"]);
    roff.control("nf", []);
    for line in EXAMPLE.lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
    roff.control("SH", ["SEE ALSO"]);
    roff.text([bold("plimsoll"), roman("(1), "), bold("plimsoll-check"), roman("(1)")]);
    roff.render()
}

fn section(roff: &mut Roff, table: &KeyTable) {
    let title = table.title.replace('`', "");
    roff.control("SH", [title.as_str()]);
    for row in &table.rows {
        let Some((key, cells)) = row.split_first() else { continue };
        roff.control("TP", []);
        roff.text(inlines(key));
        roff.text(inlines(&words(table.columns, cells)));
    }
}

/// The cells of a row behind the key, as a sentence.
fn words(columns: &[&str], cells: &[String]) -> String {
    let named = columns.iter().skip(1).zip(cells);
    let parts: Vec<String> = named
        .filter_map(|(column, cell)| match *column {
            "default" => Some(format!("default {cell}")),
            "changes by" => Some(format!("changed by {cell}")),
            // Said only where there is nothing else to say.
            _ if cell == "works" && cells.len() > 1 => None,
            _ => Some(cell.clone()),
        })
        .collect();
    parts.join("; ")
}

/// Markdown's one mark in these texts: what stands between backticks is bold.
fn inlines(text: &str) -> Vec<Inline> {
    let parts = text.split('`').enumerate();
    parts.map(|(index, part)| if index % 2 == 1 { bold(part) } else { roman(part) }).collect()
}
