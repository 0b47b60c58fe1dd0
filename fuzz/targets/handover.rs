//! A session as another process hands it over: any bytes are an image of ours or are refused, and what comes back of them
//! can be talked to.
#![no_main]

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use plimsoll_session::{
    CleanWhen, Link, LinkImage, Session, SessionImage, Settings, SharedImage, Statement, StatementTable,
    Statements, Steps, Tracked, Unpacking,
};
use plimsoll_types::{Moment, PoolMode};

struct Table(RefCell<StatementTable>);

impl Statements for Table {
    fn intern(&self, text_and_types: &[u8], reading: &str) -> Arc<Statement> {
        self.0.borrow_mut().intern(text_and_types, reading)
    }
}

fn settings() -> Settings {
    Settings {
        mode: PoolMode::Transaction,
        prepared_max: 10,
        packet_bytes_max: 1 << 20,
        collect_bytes_max: 1 << 16,
        clean: CleanWhen::AfterSession,
        compat: false,
        query_timeout: Duration::ZERO,
        idle_transaction_timeout: Duration::ZERO,
        transaction_timeout: Duration::ZERO,
        client_idle_timeout: Duration::ZERO,
        client_stall_timeout: Duration::ZERO,
        settle_timeout: Duration::ZERO,
        hold_bytes_max: 0,
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok((shared, session, link, from_client, from_server)) =
        rmp_serde::from_slice::<(SharedImage, SessionImage, LinkImage, Vec<u8>, Vec<u8>)>(data)
    else {
        return;
    };
    let tracked = Tracked::new(&[]);
    let mut table = StatementTable::new("S");
    let Ok(unpacking) = Unpacking::new(shared, &tracked, &mut table) else { return };
    let is_attached = session.is_attached();
    let Ok(mut session) = Session::from_image(session, Arc::new(settings()), &unpacking) else { return };
    let Ok(mut link) = Link::from_image(link, &unpacking) else { return };
    let (table, mut steps) = (Table(RefCell::new(table)), Steps::default());
    if is_attached {
        session.on_server(&mut link, &from_server, &tracked, &mut steps, Moment(1));
        session.on_client(Some(&mut link), &from_client, &table, &mut steps, Moment(1));
    } else {
        session.on_client(None, &from_client, &table, &mut steps, Moment(1));
    }
});
