//! The pooler that was named, and its peers: the others behind the same address, each with a part of the truth.

use crate::failure::Failure;
use crate::link::Link;
use crate::place::{Place, World};
use crate::question::{Question, Reach};
use crate::table::{Column, Kind, Row, Table};

/// The column that names whose row it is; there only where there are several.
pub(crate) const INSTANCE: &str = "instance";

/// Who is asked, with connections that are kept from question to question.
pub(crate) struct Fleet<'a> {
    place: &'a Place,
    world: &'a dyn World,
    link: Option<Link>,
    /// As of the last look: a reload may change them.
    peers: Vec<Peer>,
}

/// Another pooler.
#[derive(Debug)]
struct Peer {
    /// Its `peer_id`.
    id: String,
    place: Place,
    link: Option<Link>,
}

/// What all of them say.
#[derive(Debug)]
pub(crate) struct Answered {
    /// Their rows, in the order of the instances: the one that was named first.
    pub(crate) table: Table,
    /// Who says nothing: which instance, and why.
    pub(crate) silent: Vec<Silent>,
}

/// An instance that does not answer.
#[derive(Debug)]
pub(crate) struct Silent {
    /// Its `peer_id`.
    pub(crate) id: String,
    /// Why.
    pub(crate) why: Failure,
}

impl<'a> Fleet<'a> {
    /// Nobody has been asked yet.
    pub(crate) fn new(place: &'a Place, world: &'a dyn World) -> Fleet<'a> {
        Fleet { place, world, link: None, peers: Vec::new() }
    }

    /// Asks the one that was named and, where the question is for all, its peers.
    ///
    /// # Errors
    /// The one that was named does not answer.
    pub(crate) fn ask(&mut self, question: &Question<'_>) -> Result<Answered, Failure> {
        let mut link = match self.link.take() {
            Some(link) => link,
            None => self.place.open()?,
        };
        let table = link.ask(&question.command)?;
        let own = match question.reach {
            Reach::Peers => self.find_peers(&mut link)?,
            Reach::One => None,
        };
        self.link = Some(link);
        let Some(own) = own else { return Ok(Answered { table, silent: Vec::new() }) };
        let mut tables = vec![(own, table)];
        let mut silent = Vec::new();
        for peer in &mut self.peers {
            match peer.ask(&question.command) {
                Ok(table) => tables.push((peer.id.clone(), table)),
                Err(why) => silent.push(Silent { id: peer.id.clone(), why }),
            }
        }
        Ok(Answered { table: merged(tables), silent })
    }

    /// Learns who the peers are; gives the id of the one that was named. `None`: it has none.
    fn find_peers(&mut self, link: &mut Link) -> Result<Option<String>, Failure> {
        let named = match link.ask("SHOW PEERS") {
            Ok(table) => table,
            // One that is too old for it has none.
            Err(Failure::NoCommand { .. }) => return Ok(None),
            Err(why) => return Err(why),
        };
        if named.rows.is_empty() {
            return Ok(None);
        }
        let own = own_id(&link.ask("SHOW CONFIG")?);
        let mut peers = Vec::new();
        for (id, host, port) in lines(&named).filter(|(id, ..)| *id != own) {
            let known = self.peers.iter().position(|peer| peer.id == id);
            let place = self.place.moved(host, port, self.world);
            let known = known.map(|at| self.peers.swap_remove(at)).filter(|peer| peer.place.is_at(&place));
            peers.push(known.unwrap_or_else(|| Peer { id: id.to_string(), place, link: None }));
        }
        self.peers = peers;
        Ok((!self.peers.is_empty()).then_some(own))
    }
}

impl Peer {
    fn ask(&mut self, command: &str) -> Result<Table, Failure> {
        let mut link = match self.link.take() {
            Some(link) => link,
            None => self.place.open()?,
        };
        let table = link.ask(command)?;
        self.link = Some(link);
        Ok(table)
    }
}

/// `peer_id` of a pooler's SHOW CONFIG.
fn own_id(config: &Table) -> String {
    let (key, value) = (config.place(&["key"]), config.place(&["value"]));
    let text = |row: &Row, at: Option<usize>| at.and_then(|at| row.get(at)).cloned().flatten();
    let line = config.rows.iter().find(|row| text(row, key).as_deref() == Some("peer_id"));
    line.and_then(|row| text(row, value)).unwrap_or_else(|| "0".to_string())
}

/// Id, host and port of the rows of SHOW PEERS.
fn lines(peers: &Table) -> impl Iterator<Item = (&str, &str, u16)> {
    let columns = [peers.place(&["peer_id"]), peers.place(&["host"]), peers.place(&["port"])];
    peers.rows.iter().filter_map(move |row| {
        let [id, host, port] = columns.map(|at| row.get(at?)?.as_deref());
        Some((id?, host?, port?.parse().ok()?))
    })
}

/// One table of several: whose row it is, then the columns by their names. Poolers of two versions may differ in them.
fn merged(tables: Vec<(String, Table)>) -> Table {
    let mut columns = vec![Column { name: INSTANCE.to_string(), kind: Kind::Text }];
    for (_, table) in &tables {
        for column in &table.columns {
            if !columns.iter().any(|known| known.name == column.name) {
                columns.push(column.clone());
            }
        }
    }
    let mut rows = Vec::new();
    for (id, table) in tables {
        let from = |column: &Column| table.columns.iter().position(|own| own.name == column.name);
        let from: Vec<Option<usize>> = columns.iter().skip(1).map(from).collect();
        for row in table.rows {
            let values = from.iter().map(|at| at.and_then(|at| row.get(at)).cloned().flatten());
            rows.push(std::iter::once(Some(id.clone())).chain(values).collect());
        }
    }
    Table { columns, rows }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::made;

    #[test]
    fn tables_are_merged_by_the_names_of_their_columns() {
        let one = made(&[("hold", 20), ("app", 25)], &["7|web"]);
        let two = made(&[("app", 25), ("hold", 20), ("new", 25)], &["job|7|x", "-|8|y"]);
        let all = merged(vec![("1".to_string(), one), ("2".to_string(), two)]);
        let wanted = made(
            &[("instance", 25), ("hold", 20), ("app", 25), ("new", 25)],
            &["1|7|web|-", "2|7|job|x", "2|8|-|y"],
        );
        assert_eq!(all, wanted);
    }

    #[test]
    fn peers_are_read_by_the_names_of_columns_and_what_is_none_is_left_out() {
        let peers = made(
            &[("peer_id", 23), ("host", 25), ("port", 23), ("pool_size", 23)],
            &["1|/run/p1|6432|20", "2|p2|6433|20", "3|-|6432|20", "4|p4|none|20"],
        );
        let found: Vec<_> = lines(&peers).collect();
        assert_eq!(found, [("1", "/run/p1", 6432), ("2", "p2", 6433)]);
        let config = made(&[("key", 25), ("value", 25)], &["a|b", "peer_id|12"]);
        assert_eq!(own_id(&config), "12");
        assert_eq!(own_id(&made(&[("key", 25), ("value", 25)], &[])), "0");
    }
}
