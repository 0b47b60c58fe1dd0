//! Metrics as text: Prometheus' format 0.0.4 and OpenMetrics 1.0.
//!
//! Our own, because the names and types of most families are somebody else's (pgbouncer_exporter's, OpenTelemetry's) and
//! must come out letter by letter in both formats, and because the values are read from the pooler at each scrape:
//! `prometheus-client` writes OpenMetrics only, and keeps values of its own.
//!
//! Formats: prometheus.io, "Exposition formats"; OpenMetrics 1.0.0, section "Text format".

use std::fmt::Write;

use plimsoll_proxy::{TIME_ENDS_US, Times};

/// What may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Prometheus' own.
    Text,
    /// OpenMetrics.
    OpenMetrics,
}

impl Format {
    /// For the header.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// What a scraper wants by its Accept header: OpenMetrics if that is liked no less than anything else that we have.
    pub(crate) fn wanted(accept: &str) -> Format {
        let (mut text, mut open) = (0.0_f32, 0.0_f32);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            let parameter = |name: &str| {
                let given = range.split(';').skip(1).filter_map(|part| part.split_once('='));
                given.map(|(key, value)| (key.trim(), value.trim())).find(|(key, _)| *key == name)
            };
            let liked = parameter("q").and_then(|(_, value)| value.parse().ok()).unwrap_or(1.0);
            let version = parameter("version").map(|(_, value)| value);
            match kind {
                "application/openmetrics-text" if matches!(version, None | Some("1.0.0")) => {
                    open = open.max(liked);
                }
                "text/plain" if matches!(version, None | Some("0.0.4")) => text = text.max(liked),
                _ => {}
            }
        }
        if open > 0.0 && open >= text { Format::OpenMetrics } else { Format::Text }
    }
}

/// Type of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Never falls while the process lives.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Times in classes.
    Histogram,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// A value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value {
    /// A whole number.
    Whole(u64),
    /// Any number.
    Real(f64),
    /// Of a histogram, in seconds.
    Times(Times),
}

/// Names and values that tell one sample from the others of its family.
pub(crate) type Labels = Vec<(&'static str, String)>;

/// Samples that have a name in common.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Family {
    /// With `_total`, if it is a counter.
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// One sentence.
    pub(crate) help: &'static str,
    pub(crate) samples: Vec<(Labels, Value)>,
}

impl Family {
    /// One without samples yet.
    pub(crate) fn new(kind: Kind, name: impl Into<String>, help: &'static str) -> Family {
        Family { name: name.into(), kind, help, samples: Vec::new() }
    }

    /// One with one sample that needs no labels.
    pub(crate) fn one(kind: Kind, name: &str, help: &'static str, value: Value) -> Family {
        Family { samples: vec![(Vec::new(), value)], ..Family::new(kind, name, help) }
    }

    /// Adds a sample.
    pub(crate) fn push(&mut self, labels: Labels, value: Value) {
        self.samples.push((labels, value));
    }
}

/// The text of all families. One without samples is left out.
pub(crate) fn encode(families: &[Family], format: Format) -> String {
    let mut out = String::new();
    for family in families.iter().filter(|family| !family.samples.is_empty()) {
        head(&mut out, family, format);
        for (labels, value) in &family.samples {
            match value {
                Value::Whole(number) => sample(&mut out, &family.name, "", labels, None, &number.to_string()),
                Value::Real(number) => sample(&mut out, &family.name, "", labels, None, &real(*number)),
                Value::Times(times) => histogram(&mut out, &family.name, labels, times),
            }
        }
    }
    match format {
        Format::Text => {}
        Format::OpenMetrics => out.push_str("# EOF\n"),
    }
    out
}

/// OpenMetrics names a counter's family without `_total`, and wants to know the unit.
fn head(out: &mut String, family: &Family, format: Format) {
    let name = match (format, family.kind) {
        (Format::OpenMetrics, Kind::Counter) => family.name.strip_suffix("_total").unwrap_or(&family.name),
        (Format::OpenMetrics, Kind::Gauge | Kind::Histogram) | (Format::Text, _) => &family.name,
    };
    let quotes = match format {
        Format::Text => Quotes::AsTheyAre,
        Format::OpenMetrics => Quotes::Escaped,
    };
    // Writing to a string cannot fail.
    let _ = writeln!(out, "# HELP {name} {}", escaped(family.help, quotes));
    let _ = writeln!(out, "# TYPE {name} {}", family.kind.as_str());
    let unit = ["seconds", "bytes"].into_iter().find(|unit| name.ends_with(&format!("_{unit}")));
    if let (Format::OpenMetrics, Some(unit)) = (format, unit) {
        let _ = writeln!(out, "# UNIT {name} {unit}");
    }
}

/// Classes as Prometheus wants them: each counts the shorter ones, too.
fn histogram(out: &mut String, name: &str, labels: &Labels, times: &Times) {
    let ends = TIME_ENDS_US.iter().map(|us| format!("{:?}", seconds(*us))).chain(["+Inf".to_string()]);
    let mut count = 0_u64;
    for (end, class) in ends.zip(times.classes) {
        count = count.wrapping_add(class);
        sample(out, name, "_bucket", labels, Some(&end), &count.to_string());
    }
    sample(out, name, "_sum", labels, None, &real(seconds(times.sum_us)));
    sample(out, name, "_count", labels, None, &count.to_string());
}

fn sample(out: &mut String, name: &str, suffix: &str, labels: &Labels, end: Option<&str>, value: &str) {
    out.push_str(name);
    out.push_str(suffix);
    let named = labels.iter().map(|(name, value)| (*name, value.as_str()));
    let mut opened = false;
    for (name, value) in named.chain(end.map(|end| ("le", end))) {
        out.push(if opened { ',' } else { '{' });
        opened = true;
        let _ = write!(out, "{name}=\"{}\"", escaped(value, Quotes::Escaped));
    }
    if opened {
        out.push('}');
    }
    out.push(' ');
    out.push_str(value);
    out.push('\n');
}

/// Microseconds in seconds.
pub(crate) fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

fn real(number: f64) -> String {
    if number.is_nan() {
        "NaN".to_string()
    } else if number.is_infinite() {
        if number > 0.0 { "+Inf" } else { "-Inf" }.to_string()
    } else {
        format!("{number:?}")
    }
}

/// Whether a quote ends the text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    AsTheyAre,
    Escaped,
}

fn escaped(text: &str, quotes: Quotes) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes == Quotes::Escaped => out.push_str("\\\""),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests;
