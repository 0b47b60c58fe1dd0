//! Parameters that follow the client from one server connection to the next (reference 3.6).

use std::sync::Arc;

/// The five that are always tracked, under PostgreSQL's names.
const ALWAYS: [&str; 5] =
    ["DateStyle", "client_encoding", "TimeZone", "standard_conforming_strings", "application_name"];

/// Those of the five whose values PostgreSQL compares without case. In any other the case is part of the value:
/// `App` is not `app`.
const CASELESS: [&str; 4] = ["DateStyle", "client_encoding", "TimeZone", "standard_conforming_strings"];

/// Parameters whose value is a list of names: they are written as they are, quoting would make one name of them.
const LISTS: [&str; 6] = [
    "search_path",
    "temp_tablespaces",
    "local_preload_libraries",
    "session_preload_libraries",
    "shared_preload_libraries",
    "unix_socket_directories",
];

/// The names of the parameters that follow the client: DateStyle, client_encoding, TimeZone,
/// standard_conforming_strings, application_name, then `track_extra_parameters` under the names written in the ini.
#[derive(Debug)]
pub struct Tracked {
    names: Vec<Box<str>>,
}

impl Tracked {
    /// The five and the extra ones (duplicates ignored).
    pub fn new(extra: &[String]) -> Tracked {
        let mut names: Vec<Box<str>> = ALWAYS.iter().map(|name| (*name).into()).collect();
        for name in extra {
            if !names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                names.push(name.as_str().into());
            }
        }
        Tracked { names }
    }

    /// Position of a name, compared without case.
    pub fn index(&self, name: &[u8]) -> Option<usize> {
        self.names.iter().position(|known| known.as_bytes().eq_ignore_ascii_case(name))
    }

    /// Names in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }
}

/// One value for each tracked name, or none. Shared and never changed in place: equal pointers are equal values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Params {
    /// In the order of [`Tracked::names`].
    pub values: Box<[Option<Arc<str>>]>,
}

impl Params {
    /// No values.
    pub fn none(tracked: &Tracked) -> Params {
        Params { values: vec![None; tracked.names.len()].into() }
    }

    /// All values but application_name, as one text: what may change the meaning of a statement's text.
    pub(crate) fn reading(&self) -> String {
        let mut reading = String::new();
        for (index, value) in self.values.iter().enumerate() {
            if ALWAYS.get(index) != Some(&"application_name") {
                reading.push_str(value.as_deref().unwrap_or_default());
                reading.push('\0');
            }
        }
        reading
    }

    /// `self`, with gaps filled from `base`.
    pub fn or(&self, base: &Params) -> Params {
        let fill = |(own, base): (&Option<Arc<str>>, &Option<Arc<str>>)| own.clone().or_else(|| base.clone());
        Params { values: self.values.iter().zip(&base.values).map(fill).collect() }
    }

    /// `self` with one value replaced.
    pub(crate) fn with(&self, index: usize, value: &[u8]) -> Params {
        let mut values = self.values.clone();
        if let Some(place) = values.get_mut(index) {
            *place = Some(String::from_utf8_lossy(value).into());
        }
        Params { values }
    }
}

/// The simple query that sets the values which differ; `None` when nothing does.
pub(crate) fn set_query(tracked: &Tracked, client: &Params, server: &Params) -> Option<String> {
    let mut query = String::new();
    for (name, values) in tracked.names.iter().zip(client.values.iter().zip(&server.values)) {
        // What the server does not report cannot be restored and is left alone.
        let (Some(value), Some(theirs)) = values else { continue };
        if same(name, value, theirs) {
            continue;
        }
        query.push_str("SET ");
        query.push_str(name);
        query.push('=');
        if LISTS.iter().any(|list| list.eq_ignore_ascii_case(name)) {
            // An empty list cannot be written, an empty name can.
            query.push_str(if value.is_empty() || &**value == "\"\"" { "''" } else { value });
        } else {
            push_literal(&mut query, value);
        }
        query.push(';');
    }
    (!query.is_empty()).then_some(query)
}

/// Whether two values of a parameter are the same to PostgreSQL.
fn same(name: &str, ours: &str, theirs: &str) -> bool {
    let caseless = CASELESS.iter().any(|caseless| caseless.eq_ignore_ascii_case(name));
    if caseless { ours.eq_ignore_ascii_case(theirs) } else { ours == theirs }
}

/// A literal that means the same whatever `standard_conforming_strings` is at that server.
fn push_literal(query: &mut String, value: &str) {
    if value.contains('\\') {
        query.push('E');
    }
    query.push('\'');
    for c in value.chars() {
        if c == '\'' || c == '\\' {
            query.push(c);
        }
        query.push(c);
    }
    query.push('\'');
}

/// Notes a value the server reported. Both sides keep sharing one allocation if they did before.
pub(crate) fn note_both(client: &mut Arc<Params>, server: &mut Arc<Params>, index: usize, value: &[u8]) {
    let shared = Arc::ptr_eq(client, server);
    note(server, index, value);
    if shared {
        *client = server.clone();
    } else {
        note(client, index, value);
    }
}

/// Notes a value the server reported.
pub(crate) fn note(params: &mut Arc<Params>, index: usize, value: &[u8]) {
    let same = params.values.get(index).is_some_and(|v| v.as_deref().is_some_and(|v| v.as_bytes() == value));
    if !same {
        *params = Arc::new(params.with(index, value));
    }
}
