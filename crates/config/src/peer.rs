//! A line of `[peers]`: another pooler behind the same address, which would get its clients' cancel requests.

use crate::mistake::Mistake;
use crate::place::Place;
use crate::slot::{self, Row, Slot};
use crate::table::Fault;
use crate::value;

/// Largest id of a peer: it has two bytes of a cancel key.
const ID_MAX: u32 = 16_383;

/// What a line says.
#[derive(Default)]
struct Peer {
    host: Option<String>,
    port: Option<u32>,
    pool_size: Option<u32>,
}

static KEYS: &[Row<Peer>] = &[
    ("host", Slot::Text(|p| &mut p.host)),
    ("port", Slot::Count(|p| &mut p.port)),
    ("pool_size", Slot::Count(|p| &mut p.pool_size)),
];

/// Checks what stands behind `id =`.
pub(crate) fn parse(id: &str, text: &str, place: &Place) -> Result<(), Vec<Mistake>> {
    let mut peer = Peer::default();
    let mut mistakes = slot::take(&mut peer, KEYS, "peer", text, place);
    if value::count(id).is_none_or(|id| !(1..=ID_MAX).contains(&id)) {
        let fault = Fault::Wanted(format!("a peer id, 1 to {ID_MAX}"));
        mistakes.push(place.mistake(fault.message("peer id", id, Some(place))));
    }
    if mistakes.is_empty() { Ok(()) } else { Err(mistakes) }
}
