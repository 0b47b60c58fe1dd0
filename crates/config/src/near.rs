//! "Did you mean …": the known name nearest to one that nobody knows.

/// Longer names than this are not compared.
const NAME_CHARS_MAX: usize = 64;

/// ` (did you mean "NAME"?)` for the nearest candidate, or nothing if none is near.
pub(crate) fn hint<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> String {
    match closest(name, candidates) {
        Some(candidate) => format!(" (did you mean \"{candidate}\"?)"),
        None => String::new(),
    }
}

/// The candidate with the fewest edits, if they are few enough to be a slip: one in a short name, two in a long one.
fn closest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wanted: Vec<char> = name.to_lowercase().chars().take(NAME_CHARS_MAX + 1).collect();
    if wanted.len() > NAME_CHARS_MAX {
        return None;
    }
    let edits_max = if wanted.len() < 6 { 1 } else { 2 };
    candidates
        .map(|candidate| (edits(&wanted, candidate), candidate))
        .filter(|(edits, _)| *edits <= edits_max)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Edit distance (insert, delete, replace, swap two neighbours).
fn edits(from: &[char], to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row_before_last: Vec<usize> = Vec::new();
    let mut row_before: Vec<usize> = (0..=to.len()).collect();
    for i in 0..from.len() {
        let mut row = vec![i + 1];
        for j in 0..to.len() {
            let replace = row_before[j] + usize::from(from[i] != to[j]);
            let mut best = replace.min(row_before[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && from[i] == to[j - 1] && from[i - 1] == to[j] {
                best = best.min(row_before_last[j - 1] + 1);
            }
            row.push(best);
        }
        row_before_last = std::mem::replace(&mut row_before, row);
    }
    row_before[to.len()]
}

#[cfg(test)]
mod tests {
    use super::hint;

    #[test]
    fn a_slip_is_recognised_and_a_stranger_is_not() {
        let known = ["pool_mode", "listen_port", "user"];
        assert_eq!(hint("pool_mod", known.into_iter()), " (did you mean \"pool_mode\"?)");
        assert_eq!(hint("Listen_Prot", known.into_iter()), " (did you mean \"listen_port\"?)");
        assert_eq!(hint("usr", known.into_iter()), " (did you mean \"user\"?)");
        assert_eq!(hint("uesr", known.into_iter()), " (did you mean \"user\"?)");
        assert_eq!(hint("nope", known.into_iter()), "");
        assert_eq!(hint(&"x".repeat(10_000), known.into_iter()), "");
    }
}
