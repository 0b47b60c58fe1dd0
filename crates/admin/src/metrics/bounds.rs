//! Names that come from outside make no more series than there is room for.

use std::cmp::Reverse;

use plimsoll_proxy::ApplicationFigures;

/// The name of all that have no room.
pub(super) const OTHER: &str = "(other)";

/// The name of those that gave none.
const NAMELESS: &str = "(none)";

/// An application that has series of its own, or all the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) clients: u64,
    pub(super) holds: u64,
    pub(super) waiting: u64,
}

/// The `most` applications that hold most (then wait most, then have most clients), and the others together.
pub(super) fn by_weight(applications: &[ApplicationFigures], most: usize) -> Vec<Named> {
    let mut all: Vec<&ApplicationFigures> = applications.iter().collect();
    all.sort_by_key(|one| (Reverse((one.holds, one.waiting, one.clients)), &one.name));
    let mut named: Vec<Named> = Vec::new();
    let mut other = Named { name: OTHER.to_string(), ..Named::default() };
    for (place, one) in all.into_iter().enumerate() {
        // Nobody makes two series of one name by calling itself like this.
        let into = if place >= most || one.name == OTHER {
            &mut other
        } else {
            let name = if one.name.is_empty() { NAMELESS } else { &one.name };
            match named.iter().position(|known| known.name == name) {
                Some(known) => &mut named[known],
                None => {
                    named.push(Named { name: name.to_string(), ..Named::default() });
                    let last = named.len() - 1;
                    &mut named[last]
                }
            }
        };
        into.clients += u64::from(one.clients);
        into.holds += u64::from(one.holds);
        into.waiting += u64::from(one.waiting);
    }
    if other.clients > 0 {
        named.push(other);
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    fn application(name: &str, holds: u32, clients: u32) -> ApplicationFigures {
        ApplicationFigures { name: name.to_string(), clients, holds, waiting: 0 }
    }

    fn told(applications: &[ApplicationFigures], most: usize) -> Vec<(String, u64, u64)> {
        by_weight(applications, most).into_iter().map(|one| (one.name, one.holds, one.clients)).collect()
    }

    #[test]
    fn who_holds_most_has_a_name_and_nobody_is_lost() {
        let all: Vec<_> = (0..10_000).map(|n| application(&format!("a{n:05}"), n % 7, 2)).collect();
        let named = by_weight(&all, 100);
        assert_eq!(named.len(), 101);
        assert!(named[..100].iter().all(|one| one.holds == 6));
        assert_eq!(named[100].name, OTHER);
        assert_eq!(named.iter().map(|one| one.clients).sum::<u64>(), 20_000);
        assert_eq!(
            named.iter().map(|one| one.holds).sum::<u64>(),
            all.iter().map(|one| u64::from(one.holds)).sum::<u64>()
        );
    }

    #[test]
    fn names_that_are_ours_make_no_second_series() {
        let all = [application("(other)", 9, 1), application("shop", 3, 4), application("", 2, 2)];
        let own = |name: &str, holds, clients| (name.to_string(), holds, clients);
        assert_eq!(told(&all, 2), [own("shop", 3, 4), own(OTHER, 11, 3)]);
        assert_eq!(told(&all, 9), [own("shop", 3, 4), own("(none)", 2, 2), own(OTHER, 9, 1)]);
        let both = [application("(none)", 1, 1), application("", 1, 1)];
        assert_eq!(told(&both, 9), [own("(none)", 2, 2)]);
        assert_eq!(told(&all, 0), [own(OTHER, 14, 7)]);
        assert_eq!(told(&[], 5), []);
    }
}
