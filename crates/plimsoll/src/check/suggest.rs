//! `--suggest`: the lines that would help, ready to be put into the file.

use super::finding::{Finding, Section, Suggestion};

/// The suggestions of all findings: one for each key. Of two values of `target_budget` the smaller one is right for both
/// servers; of any other key the first is as good.
pub(super) fn suggestions(findings: &[Finding]) -> Vec<Suggestion> {
    let mut all: Vec<Suggestion> = Vec::new();
    for suggestion in findings.iter().flat_map(|finding| &finding.suggestions) {
        match all.iter_mut().find(|known| known.key == suggestion.key) {
            Some(known) => {
                if let (Ok(before), Ok(now)) = (known.value.parse::<u64>(), suggestion.value.parse::<u64>())
                    && known.key == "target_budget"
                    && now < before
                {
                    *known = suggestion.clone();
                }
            }
            None => all.push(suggestion.clone()),
        }
    }
    all
}

/// As part of an ini file: our section as it is, PgBouncer's keys as comments, for their section is elsewhere.
pub(super) fn text(suggestions: &[Suggestion]) -> String {
    let of = |section: Section| suggestions.iter().filter(move |suggestion| suggestion.section == section);
    let mut text = format!("[{}]\n", Section::Plimsoll.as_str());
    if of(Section::Plimsoll).next().is_none() {
        text.push_str("; nothing to add\n");
    }
    for line in of(Section::Plimsoll) {
        text.push_str(&format!("; {}\n{} = {}\n", line.why, line.key, line.value));
    }
    if of(Section::Pgbouncer).next().is_some() {
        text.push_str(&format!("\n; in [{}]:\n", Section::Pgbouncer.as_str()));
    }
    for line in of(Section::Pgbouncer) {
        text.push_str(&format!(";   {}\n; {} = {}\n", line.why, line.key, line.value));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::finding::{Level, Place};
    use super::*;

    fn finding(section: Section, key: &'static str, value: &str) -> Finding {
        let place = Place { file: "a.ini".into(), line: 0 };
        Finding::new(Level::Warning, "x", place, "m", "t").with(section, key, value, "because")
    }

    #[test]
    fn the_smallest_budget_fits_every_server() {
        let findings = [
            finding(Section::Plimsoll, "target_budget", "100"),
            finding(Section::Plimsoll, "target_budget", "50"),
            finding(Section::Plimsoll, "target_budget", "70"),
            finding(Section::Pgbouncer, "tcp_keepidle", "60"),
            finding(Section::Pgbouncer, "tcp_keepidle", "60"),
        ];
        let text = text(&suggestions(&findings));
        assert_eq!(
            text,
            "[plimsoll]\n; because\ntarget_budget = 50\n\n; in [pgbouncer]:\n;   because\n; tcp_keepidle = 60\n"
        );
    }

    #[test]
    fn nothing_is_a_good_section_too() {
        assert_eq!(text(&[]), "[plimsoll]\n; nothing to add\n");
    }
}
