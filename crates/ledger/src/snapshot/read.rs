//! From text to a snapshot, without trust.

use serde::Deserialize;
use serde_json::error::Category;

use super::{
    FORMAT, Head, Held, PoolState, SNAPSHOT_BYTES_MAX, SNAPSHOT_HOLDS_MAX, SNAPSHOT_POOLS_MAX,
    SNAPSHOT_SITES_MAX, SiteState, Snapshot, bounded,
};
use crate::text;

/// Why a text is no snapshot that could be read: what, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// There is nothing.
    #[error("it is empty")]
    Empty,
    /// It is longer than any snapshot.
    #[error("it has {bytes} bytes, a snapshot has at most {SNAPSHOT_BYTES_MAX}")]
    TooBig {
        /// How long it is.
        bytes: usize,
    },
    /// It is no text.
    #[error("it is not text: byte {at} is not UTF-8")]
    NotText {
        /// Where.
        at: usize,
    },
    /// It ends too early.
    #[error("it is cut off: it ends in line {line}, and more was to come")]
    CutOff {
        /// Its last line.
        line: usize,
    },
    /// It is not JSON.
    #[error("it is not a snapshot: {what}")]
    NotJson {
        /// What is wrong, and where.
        what: String,
    },
    /// It is some other JSON.
    #[error("it is not a snapshot: it has no \"plimsoll_snapshot\" (plimsoll snapshot > FILE makes one)")]
    NotASnapshot,
    /// Another version has written it.
    #[error(
        "it is a snapshot of format {found}, and this program knows format {FORMAT}: use the program that wrote it"
    )]
    Format {
        /// Its number.
        found: u64,
    },
    /// Something in it is not what it has to be.
    #[error("the snapshot is damaged: {what}")]
    Damaged {
        /// What is wrong, and where.
        what: String,
    },
}

/// The beginning, for all formats.
#[derive(Deserialize)]
struct Probe {
    plimsoll_snapshot: Option<u64>,
}

/// Format 1. What else is in there is for newer programs.
#[derive(Deserialize)]
struct Document {
    head: Head,
    pools: Vec<PoolState>,
    sites: Vec<SiteState>,
    holds: Vec<Held>,
}

/// Reads a document. Texts in it are made harmless and are never longer than [`super::TEXT_BYTES_MAX`].
///
/// # Errors
/// See [`Unreadable`].
pub fn read(bytes: &[u8]) -> Result<Snapshot, Unreadable> {
    if bytes.len() > SNAPSHOT_BYTES_MAX {
        return Err(Unreadable::TooBig { bytes: bytes.len() });
    }
    if bytes.trim_ascii().is_empty() {
        return Err(Unreadable::Empty);
    }
    let text = str::from_utf8(bytes).map_err(|error| Unreadable::NotText { at: error.valid_up_to() })?;
    let probe: Probe = serde_json::from_str(text).map_err(|error| match error.classify() {
        Category::Eof => Unreadable::CutOff { line: error.line() },
        Category::Data => Unreadable::NotASnapshot,
        Category::Syntax | Category::Io => Unreadable::NotJson { what: what(&error) },
    })?;
    // An array would do for a struct as well.
    let number = probe.plimsoll_snapshot.filter(|_| text.trim_start().starts_with('{'));
    match number {
        None => return Err(Unreadable::NotASnapshot),
        Some(FORMAT) => {}
        Some(found) => return Err(Unreadable::Format { found }),
    }
    let document: Document =
        serde_json::from_str(text).map_err(|error| Unreadable::Damaged { what: what(&error) })?;
    let Document { head, pools, sites, holds } = document;
    let counts = [
        ("pools", pools.len(), SNAPSHOT_POOLS_MAX),
        ("sites", sites.len(), SNAPSHOT_SITES_MAX),
        ("holds", holds.len(), SNAPSHOT_HOLDS_MAX),
    ];
    if let Some((name, count, max)) = counts.into_iter().find(|(_, count, max)| count > max) {
        return Err(Unreadable::Damaged { what: format!("{count} {name}, and at most {max} can be") });
    }
    let mut snapshot = Snapshot { head, pools, sites, holds };
    snapshot.for_each_text(|text| {
        *text = text::escape(text.as_bytes());
        bounded(text);
    });
    Ok(snapshot)
}

/// The parser's words; they may repeat a part of the text.
fn what(error: &serde_json::Error) -> String {
    let mut words = text::escape(error.to_string().as_bytes());
    bounded(&mut words);
    words
}
