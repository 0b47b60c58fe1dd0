//! A cancel request that PostgreSQL gets round to late.

#![allow(clippy::unwrap_used)]

mod common;

use common::{SOON, house};
use plimsoll_testkit::{Batch, eventually_ok, tags};

/// PostgreSQL does not read the cancel request before the pooler gives it up, nor before the connection it was meant
/// for has come back from its client.
#[test]
fn a_cancel_that_is_given_up_does_not_strike_the_next_client() {
    let (postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1").set("cancel_wait_timeout", "1"));
    let (mut first, mut next) = (plimsoll.client("app", "p0"), plimsoll.client("app", "p0"));
    let mut console = plimsoll.console();
    first.query("BEGIN");
    postgres.freeze(postgres.pid());
    let gave_up = first.cancel_key().cancel();
    plimsoll.wait_for_log("cancel request could not be delivered", SOON);
    first.query("COMMIT");
    next.send(Batch::new().query("SELECT pg_sleep(1)").bytes()).unwrap();
    eventually_ok("the query runs, or waits for a connection that is free of doubt", SOON, || {
        let pools = console.query("SHOW POOLS");
        let row = pools.find(&[("database", "p0"), ("user", "app")]).ok_or("no pool")?;
        let there = pools.number(row, "cl_active") + pools.number(row, "cl_waiting");
        if pools.number(row, "sv_active") + pools.number(row, "cl_waiting") > 0 && there > 0 {
            Ok(())
        } else {
            Err(format!("{there} clients"))
        }
    });
    postgres.thaw(postgres.pid());
    assert_eq!(tags(&next.cycle().unwrap()), "TDCZ");
    drop(gave_up);
    plimsoll.still_works(&["p0"]);
}
