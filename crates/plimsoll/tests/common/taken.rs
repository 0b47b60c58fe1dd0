//! What tests of connections that are taken back have in common.

use plimsoll_testkit::{Client, Ini, Message, Plimsoll, Postgres, ServerError, eventually, tags};

use super::lost::{INSERT, half_batch, new};
use super::{SOON, house};

pub(crate) fn house_of_one(mode: &str, change: impl FnOnce(Ini) -> Ini) -> (Postgres, Plimsoll) {
    let (postgres, plimsoll) = house(|ini| change(ini.set("pool_mode", mode).set("default_pool_size", "1")));
    postgres.login("app", "p0").client().query("CREATE TABLE marks (what text)");
    (postgres, plimsoll)
}

pub(crate) fn app(plimsoll: &Plimsoll, name: &str) -> Client {
    plimsoll.login("app", "p0").parameter("application_name", name).client()
}

/// The number of the one hold there is, as soon as it is in this state.
#[track_caller]
pub(crate) fn hold_in(plimsoll: &Plimsoll, state: &str) -> String {
    let mut console = plimsoll.console();
    let mut found = None;
    eventually(&format!("one hold, {state}"), SOON, || {
        let holds = console.query("SHOW HOLDS");
        found = (holds.rows.len() == 1 && holds.cell(0, "state") == state)
            .then(|| holds.cell(0, "hold").to_string());
        found.is_some()
    });
    found.expect("there is one")
}

pub(crate) fn error_of(messages: &[Message]) -> ServerError {
    ServerError::of(messages.iter().find(|message| message.tag == b'E').expect("an error"))
}

/// Everything it says is refused as in a failed transaction, until it ends that; then it goes on as if nothing were.
#[track_caller]
pub(crate) fn believes_in_a_failed_transaction(client: &mut Client, by: &str, what: &str) {
    for batch in [
        new().query(INSERT),
        half_batch().sync(),
        new().query("SELECT 1; ROLLBACK"),
        new().query("SAVEPOINT a"),
    ] {
        let heard = client.run(&batch);
        let error = error_of(&heard);
        assert_eq!(
            (error.severity.as_str(), error.sqlstate.as_str()),
            ("ERROR", "25P02"),
            "{what}: {error:?}"
        );
        assert!(error.detail.as_ref().is_some_and(|detail| detail.contains(by)), "{what}: {error:?}");
        assert_eq!(heard.last().expect("ReadyForQuery").status(), 'E', "{what}");
    }
    let end = client.run(&new().query("COMMIT"));
    assert_eq!(tags(&end), "CZ", "{what}");
    assert_eq!((end[0].strings(), end[1].status()), (vec!["ROLLBACK".to_string()], 'I'), "{what}");
    assert_eq!(client.value("SELECT 2"), "2", "{what}");
}

/// Nothing of it stands.
#[track_caller]
pub(crate) fn nothing_stands(postgres: &Postgres, what: &str) {
    let rows = postgres.login("app", "p0").client().value("SELECT count(*) FROM marks");
    assert_eq!(rows, "0", "{what}: something stands that was rolled back");
}
