//! What every command needs: the API, and the way from names to ids and back.

use std::collections::HashMap;
use std::num::NonZeroUsize;

use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use plimsoll_types::Secret;
use serde_json::{Map, Value};

use super::args::ApiArgs;
use super::fault::{Fault, Problem};
use super::http::{Answer, ApiTls, ApiUrl, Client, Method, Request, Scheme};
use super::look::{Clock, Names};
use super::noun::Noun;
use super::random;
use super::tend::tell;
use crate::place::World;
use crate::text::harmless;

/// Where the API is when nothing is said (default of `http_listen`).
const API: &str = "http://127.0.0.1:6433";
/// Most of a list in one answer.
const PAGE_ITEMS: usize = 200;
/// So many names are asked for one table; where there are more, the ids are shown.
const NAMES_MAX: usize = 100;
/// What is not escaped in a path or a query (RFC 3986, section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What https needs: made of the file that names who is trusted, if one is named.
pub type MakeTls = fn(Option<&std::path::Path>) -> Result<ApiTls, String>;

/// A query: names and values.
pub(crate) type Query = Vec<(&'static str, String)>;

/// A thing, and its version.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) item: Value,
    pub(crate) etag: Option<String>,
}

/// A part of a list.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) items: Vec<Value>,
    /// Whether there is more of it.
    pub(crate) more: More,
}

/// Whether there is more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum More {
    Yes,
    No,
}

/// The API.
#[derive(Debug)]
pub(crate) struct Desk {
    client: Client,
    /// Names that were asked for; `None`: it has none, or it is not ours to know.
    names: HashMap<String, Option<String>>,
    pub(crate) clock: Clock,
    pub(crate) now: Timestamp,
}

impl Desk {
    /// Of the command line and the environment. Nothing is connected yet.
    ///
    /// # Errors
    /// There is no key, or the URL is none.
    pub(crate) fn open(args: &ApiArgs, world: &dyn World, tls: MakeTls) -> Result<Desk, Fault> {
        if args.key_in_the_open.is_some() {
            return Err(Fault::Usage(
                "a key is not taken from the command line, which everybody on the machine can read: export \
                 PLIMSOLL_KEY, or name a file with --key-file"
                    .to_string(),
            ));
        }
        let text = args.api.clone().or_else(|| world.var("PLIMSOLL_API"));
        let url = ApiUrl::parse(text.as_deref().unwrap_or(API))?;
        let tls = match url.scheme {
            Scheme::Https => Some(tls(args.ca_file.as_deref()).map_err(Fault::Tls)?),
            Scheme::Http => None,
        };
        let client = Client::new(url, key(args, world)?, tls);
        Ok(Desk { client, names: HashMap::new(), clock: Clock::here(), now: Timestamp::now() })
    }

    /// Where the API is.
    pub(crate) fn url(&self) -> String {
        self.client.url().to_string()
    }

    /// Sends a request.
    ///
    /// # Errors
    /// The API says no, or does not answer.
    pub(crate) fn send(&mut self, request: &Request<'_>) -> Result<Found, Fault> {
        let answer = self.client.send(request)?;
        let item = serde_json::from_slice::<Value>(&answer.body);
        match (answer.status, item) {
            (200..300, Ok(item)) => {
                let etag = answer.header("etag").map(str::to_string);
                Ok(Found { item, etag })
            }
            (200..300, Err(_)) if answer.body.is_empty() => Ok(Found { item: Value::Null, etag: None }),
            (400.., Ok(Value::Object(body))) if is_problem(&answer) => {
                Err(Fault::Problem(Box::new(problem(&answer, &body))))
            }
            (status, _) => Err(Fault::NoApi { url: self.url(), status }),
        }
    }

    /// Asks.
    ///
    /// # Errors
    /// As [`Desk::send`].
    pub(crate) fn get(&mut self, path: &str) -> Result<Found, Fault> {
        self.send(&Request { method: Method::Get, path, if_match: None, once: None, body: None })
    }

    /// Sends something new. It is made once, also when it arrives twice.
    ///
    /// # Errors
    /// As [`Desk::send`].
    pub(crate) fn post(&mut self, path: &str, body: &Value) -> Result<Value, Fault> {
        let once = random::word()?;
        let body = Some(body.to_string());
        let request = Request { method: Method::Post, path, if_match: None, once: Some(&once), body };
        Ok(self.send(&request)?.item)
    }

    /// A thing by its id.
    ///
    /// # Errors
    /// As [`Desk::send`].
    pub(crate) fn find(&mut self, noun: Noun, id: &str) -> Result<Found, Fault> {
        self.get(&path_of(noun, id))
    }

    /// A list, up to so many; `None`: all of it.
    ///
    /// # Errors
    /// As [`Desk::send`].
    pub(crate) fn list(
        &mut self,
        path: &str,
        query: &Query,
        limit: Option<NonZeroUsize>,
    ) -> Result<Listed, Fault> {
        let mut items = Vec::new();
        let mut after = None;
        loop {
            let wanted = limit.map_or(PAGE_ITEMS, |limit| limit.get().saturating_sub(items.len()));
            let (page, next) = self.page(path, query, after.as_deref(), wanted.min(PAGE_ITEMS))?;
            items.extend(page);
            let is_full = limit.is_some_and(|limit| items.len() >= limit.get());
            match next {
                None => return Ok(Listed { items, more: More::No }),
                Some(_) if is_full => return Ok(Listed { items, more: More::Yes }),
                Some(next) => after = Some(next),
            }
        }
    }

    /// A page of a list, and where the next one begins.
    ///
    /// # Errors
    /// As [`Desk::send`].
    pub(crate) fn page(
        &mut self,
        path: &str,
        query: &Query,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Value>, Option<String>), Fault> {
        let mut pairs = vec![format!("limit={limit}")];
        pairs.extend(query.iter().map(|(name, value)| format!("{name}={}", escaped(value))));
        pairs.extend(after.map(|after| format!("after={}", escaped(after))));
        let mut page = self.get(&format!("{path}?{}", pairs.join("&")))?.item;
        let next = page.get("next").and_then(Value::as_str).map(str::to_string);
        match page.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => Ok((items, next)),
            Some(_) | None => Err(Fault::NoApi { url: self.url(), status: 200 }),
        }
    }

    /// How many there are, in words: no more than a page is counted.
    ///
    /// # Errors
    /// As [`Desk::send`].
    pub(crate) fn count(&mut self, noun: Noun, query: &Query) -> Result<Count, Fault> {
        let (items, next) = self.page(noun.path(), query, None, PAGE_ITEMS)?;
        let more = if next.is_some() { More::Yes } else { More::No };
        Ok(Count { noun, seen: items.len(), more })
    }

    /// The id of something that is called by its id or its name.
    ///
    /// # Errors
    /// There is nothing of that name, or several; else as [`Desk::send`].
    pub(crate) fn id(&mut self, noun: Noun, which: &str) -> Result<String, Fault> {
        if let Some(id) = noun.id_in(which) {
            // A key may be called by any word; its id goes first.
            match noun {
                Noun::Key if self.find(noun, id).is_err_and(|fault| is_missing(&fault)) => {}
                _ => return Ok(id.to_string()),
            }
        }
        let unknown = || Fault::Unknown { noun: noun.one(), name: which.to_string() };
        let field = noun.name_field().ok_or_else(unknown)?;
        let query = vec![(field, which.to_string())];
        let (found, _) = self.page(noun.path(), &query, None, PAGE_ITEMS)?;
        match found.as_slice() {
            [] => Err(unknown()),
            [one] => Ok(id_of(noun, one)),
            several => {
                let found = several.iter().map(|item| self.called(noun, item)).collect();
                Err(Fault::Several { noun: noun.many(), name: which.to_string(), found })
            }
        }
    }

    /// The id, and whose it is.
    fn called(&mut self, noun: Noun, item: &Value) -> String {
        let id = id_of(noun, item);
        let owner = ["org", "app"].iter().find_map(|field| item.get(*field)?.as_str().map(str::to_string));
        match owner.map(|owner| self.name(&owner).unwrap_or(owner)) {
            Some(owner) => format!("{id} (of {owner})"),
            None => id,
        }
    }
}

impl Names for Desk {
    fn name(&mut self, id: &str) -> Option<String> {
        if let Some(known) = self.names.get(id) {
            return known.clone();
        }
        let noun = Noun::of_id(id).filter(|_| self.names.len() < NAMES_MAX)?;
        let field = noun.name_field()?;
        // Without the name the id is shown, which says as much.
        let item = self.find(noun, id).ok().map(|found| found.item);
        let name = item.and_then(|item| item.get(field)?.as_str().map(str::to_string));
        self.names.insert(id.to_string(), name.clone());
        name
    }
}

/// How many there are of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count {
    noun: Noun,
    seen: usize,
    more: More,
}

impl Count {
    /// A number, or a text when there are more than were counted.
    pub(crate) fn json(self) -> Value {
        match self.more {
            More::No => Value::from(self.seen),
            More::Yes => Value::from(format!("more than {}", self.seen)),
        }
    }

    /// `3 keys`, `more than 199 keys`; nothing when there are none.
    pub(crate) fn words(self) -> Option<String> {
        match (self.seen, self.more) {
            (0, More::No) => None,
            (1, More::No) => Some(format!("1 {}", self.noun.one())),
            (seen, More::No) => Some(format!("{seen} {}", self.noun.many())),
            (seen, More::Yes) => Some(format!("more than {seen} {}", self.noun.many())),
        }
    }
}

/// The path of one thing.
pub(crate) fn path_of(noun: Noun, id: &str) -> String {
    format!("{}/{}", noun.path(), escaped(id))
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// The id of a thing that the API gave.
pub(crate) fn id_of(noun: Noun, item: &Value) -> String {
    item.get(noun.id_field()).and_then(Value::as_str).unwrap_or_default().to_string()
}

fn is_missing(fault: &Fault) -> bool {
    matches!(fault, Fault::Problem(problem) if problem.status == 404)
}

/// RFC 9457, section 3.
fn is_problem(answer: &Answer) -> bool {
    answer.header("content-type").is_some_and(|kind| kind.starts_with("application/problem+json"))
}

fn problem(answer: &Answer, body: &Map<String, Value>) -> Problem {
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_string();
    let fields = body.get("errors").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let field = |error: &Value| {
        let part = |name: &str| error.get(name).and_then(Value::as_str).map(str::to_string);
        Some((part("field")?, part("why")?))
    };
    Problem {
        status: answer.status,
        title: text("title"),
        detail: text("detail"),
        fields: fields.iter().filter_map(field).collect(),
        retry_after_s: answer.header("retry-after").and_then(|seconds| seconds.parse().ok()),
    }
}

/// The key: of the file that is named, else of the environment.
fn key(args: &ApiArgs, world: &dyn World) -> Result<Secret, Fault> {
    let text = match &args.key_file {
        Some(path) => {
            let text = world.read(path).map_err(|error| Fault::KeyFile { path: path.clone(), error })?;
            if !world.is_private(path) {
                tell(&format!(
                    "plimsoll: warning: others may read {} (chmod 600)",
                    harmless(&path.display().to_string())
                ));
            }
            text
        }
        None => world.var("PLIMSOLL_KEY").ok_or(Fault::NoKey)?,
    };
    let key = text.trim();
    if key.is_empty() {
        return Err(Fault::NoKey);
    }
    // It becomes a part of a header.
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Fault::Usage(
            "what should be the key has blanks or other characters that are in no key".to_string(),
        ));
    }
    Ok(Secret::from_text(key))
}
