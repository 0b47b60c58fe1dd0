use std::sync::Arc;

use super::*;
use crate::params::{Params, Tracked};
use crate::statements::StatementTable;
use crate::{Link, Packing, Unpacking};

fn shared(change: impl FnOnce(&mut StatementImage)) -> Result<Unpacking, ImageError> {
    let tracked = Tracked::new(&[]);
    let mut packing = Packing::default();
    let statement = StatementTable::new("S").intern(b"SELECT 1\0\0\0", "");
    packing.statement(&statement);
    packing.params(&Arc::new(Params::none(&tracked)));
    let mut image = packing.finish(&tracked);
    image.change_first(change);
    Unpacking::new(image, &tracked, &mut StatementTable::new("S"))
}

#[test]
fn statements_keep_their_numbers_and_names() {
    let statement = shared(|_| {}).expect("ours").statement(1).expect("there");
    assert_eq!((statement.id, &*statement.name), (1, "S1"));
    let mut table = StatementTable::new("S");
    let image = statement.image();
    let adopted = table.adopt(image).expect("ours");
    assert!(Arc::ptr_eq(&adopted, &table.intern(b"SELECT 1\0\0\0", "")));
    assert_eq!(table.intern(b"SELECT 2\0\0\0", "").id, 2);
}

#[test]
fn impossible_statements_are_refused() {
    assert!(shared(|statement| statement.name = "a b".into()).is_err());
    assert!(shared(|statement| statement.name = "x".repeat(65).into()).is_err());
    assert!(shared(|statement| statement.id = u64::MAX).is_err());
    assert!(shared(|statement| statement.text_and_types = Bytes::default()).is_err());
    assert!(shared(|_| {}).expect("ours").statement(2).is_err());
}

#[test]
fn numbers_that_lead_nowhere_are_refused() {
    let tracked = Tracked::new(&[]);
    let mut packing = Packing::default();
    let image = Link::new(Arc::new(Params::none(&tracked))).image(&mut packing);
    let empty = Packing::default().finish(&tracked);
    let nothing = Unpacking::new(empty, &tracked, &mut StatementTable::new("S")).expect("ours");
    assert!(Link::from_image(image, &nothing).is_err());
}
