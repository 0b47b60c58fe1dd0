//! Tables that every login looks into.
//!
//! The standard library's hasher withstands whoever chooses the keys and sees the hashes; it costs about 250
//! instructions for a name, ten times in a login. This one costs a tenth, and its seed is random for each process; what
//! strangers can put into these tables is bounded by max_client_conn.

use std::collections::{HashMap, HashSet};

use foldhash::quality::RandomState;

/// A table by key.
pub(crate) type Map<K, V> = HashMap<K, V, RandomState>;

/// A set.
pub(crate) type Set<T> = HashSet<T, RandomState>;
