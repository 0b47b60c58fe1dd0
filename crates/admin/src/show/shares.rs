//! How a target's budget is divided when all who are there want all they may have.
//!
//! Nobody keeps these numbers: module `share` of `plimsoll-pool` moves one connection at a time, and such moves end at
//! the division that is computed here.

use plimsoll_proxy::{PartView, TargetView};

/// How often the level is halved: more exact than a tenth of a connection in a budget of a million.
const STEPS: usize = 64;

/// The share of each pool of a target, in their order; `None`: there is no budget, or the pool is one of our own, with a
/// place that is kept for it, or for replication, which has places of its own.
pub(crate) fn shares(target: &TargetView) -> Vec<Option<f64>> {
    let Some(budget) = target.budget else { return vec![None; target.pools.len()] };
    let is_ours = |part: &PartView| part.purpose != "clients";
    let is_kept = |part: &PartView| is_ours(part) && part.purpose != "replication" && part.has > 0;
    let kept = target.pools.iter().filter(|part| is_kept(part)).count();
    let places = f64::from(budget) - kept as f64;
    let ends: Vec<Ends> = target.pools.iter().filter(|part| !is_ours(part)).map(Ends::of).collect();
    let mut divided = divide(places.max(0.0), &ends).into_iter();
    target.pools.iter().map(|part| if is_ours(part) { None } else { divided.next() }).collect()
}

/// What a pool wants at least and at most, and its weight.
struct Ends {
    floor: f64,
    size: f64,
    weight: f64,
}

impl Ends {
    fn of(part: &PartView) -> Ends {
        let size = f64::from(part.size);
        Ends { floor: f64::from(part.floor).min(size), size, weight: f64::from(part.weight.max(1)) }
    }
}

/// Max-min fair by weights: each has `level` x its weight, but not less than its floor and not more than its size.
/// Where the floors alone are more than there is, they are what is divided.
fn divide(places: f64, all: &[Ends]) -> Vec<f64> {
    let floors: f64 = all.iter().map(|ends| ends.floor).sum();
    let at = |level: f64, ends: &Ends| match floors > places {
        true => (level * ends.weight).min(ends.floor),
        false => (level * ends.weight).max(ends.floor).min(ends.size),
    };
    let (mut low, mut high) = (0.0, all.iter().map(|ends| ends.size).fold(0.0, f64::max));
    for _ in 0..STEPS {
        let middle = (low + high) / 2.0;
        let taken: f64 = all.iter().map(|ends| at(middle, ends)).sum();
        if taken > places { high = middle } else { low = middle }
    }
    all.iter().map(|ends| at(high, ends)).collect()
}

/// A share for people: whole, or with a tenth.
pub(super) fn text(share: f64) -> String {
    let tenths = format!("{share:.1}");
    tenths.strip_suffix(".0").map_or(tenths.clone(), str::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn divided(places: f64, all: &[(u32, u32, u32)]) -> Vec<String> {
        let ends = |(floor, size, weight): &(u32, u32, u32)| Ends {
            floor: f64::from((*floor).min(*size)),
            size: f64::from(*size),
            weight: f64::from(*weight),
        };
        let all: Vec<Ends> = all.iter().map(ends).collect();
        divide(places, &all).into_iter().map(text).collect()
    }

    #[test]
    fn a_budget_is_divided_by_weights_floors_and_sizes() {
        assert_eq!(divided(8.0, &[(0, 20, 1), (0, 20, 1)]), ["4", "4"]);
        assert_eq!(divided(8.0, &[(0, 20, 1), (0, 20, 1), (0, 20, 1)]), ["2.7", "2.7", "2.7"]);
        assert_eq!(divided(9.0, &[(0, 20, 2), (0, 20, 1)]), ["6", "3"]);
        // One that may not have so much leaves the rest to the other; a floor is kept.
        assert_eq!(divided(9.0, &[(0, 2, 1), (0, 20, 1)]), ["2", "7"]);
        assert_eq!(divided(10.0, &[(7, 20, 1), (0, 20, 1), (0, 20, 1)]), ["7", "1.5", "1.5"]);
        // More promised than there is; more there than anybody wants.
        assert_eq!(divided(4.0, &[(3, 20, 1), (3, 20, 1)]), ["2", "2"]);
        assert_eq!(divided(100.0, &[(0, 20, 1), (0, 5, 9)]), ["20", "5"]);
        assert_eq!(divided(3.0, &[]), [""; 0]);
        assert_eq!(divided(0.0, &[(0, 20, 1)]), ["0"]);
    }
}
