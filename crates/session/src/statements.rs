//! Named statements: shared by all clients by their text, counted per server connection (reference 3.7).

use std::borrow::Borrow;
use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::effects::{self, Extent, Form, Marks};
use crate::image::{Bytes, COUNT_MAX, ImageError, Packing, StatementImage, Unpacking};

/// A named statement as all clients share it.
#[derive(Debug)]
pub struct Statement {
    /// Unique.
    pub id: u64,
    /// Its name on server connections.
    pub name: Box<str>,
    /// Query text, zero, parameter types: the Parse message after its name.
    pub text_and_types: Box<[u8]>,
    /// The values by which the server reads the text (see `Params::reading`).
    pub(crate) reading: Box<str>,
    /// A table it reads has changed so that PostgreSQL refuses to go on with it. Only ever goes from false to true.
    outdated: AtomicBool,
    /// What it does to the session ([`Statement::effect`]); zero while nobody has looked.
    effect: AtomicU32,
    /// See [`Statement::shape`].
    shape: AtomicU64,
}

/// Somebody has looked at a statement.
const LOOKED: u32 = 1 << 31;

/// It begins or ends a transaction.
const BOUNDARY: u32 = 1 << 16;

/// What a statement does to the session, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Does(u32);

impl Does {
    /// It leaves nothing behind, clears nothing away, and is no transaction's beginning or end.
    #[inline]
    pub(crate) fn is_nothing(self) -> bool {
        self.0 == LOOKED
    }

    pub(crate) fn adds(self) -> Marks {
        Marks::from_bits(self.0.to_le_bytes()[0])
    }

    pub(crate) fn removes(self) -> Marks {
        Marks::from_bits(self.0.to_le_bytes()[1])
    }

    pub(crate) fn form(self) -> Form {
        if self.0 & BOUNDARY == 0 { Form::One } else { Form::Several }
    }
}

impl Statement {
    /// Its text alone.
    pub fn text(&self) -> &[u8] {
        let end = memchr::memchr(0, &self.text_and_types);
        &self.text_and_types[..end.unwrap_or(self.text_and_types.len())]
    }

    /// A number that the ledger keeps with it; zero until it has.
    pub fn shape(&self) -> u64 {
        self.shape.load(Ordering::Relaxed)
    }

    /// See [`Statement::shape`].
    pub fn set_shape(&self, shape: u64) {
        self.shape.store(shape, Ordering::Relaxed);
    }

    /// What it does to the session when it is executed. Its text is looked at once.
    #[inline]
    pub(crate) fn effect(&self) -> Does {
        match self.effect.load(Ordering::Relaxed) {
            0 => self.look(),
            known => Does(known),
        }
    }

    #[cold]
    fn look(&self) -> Does {
        let effect = effects::of(self.text(), Extent::Whole);
        let form = if effect.form == Form::Several { BOUNDARY } else { 0 };
        let (adds, removes) = (u32::from(effect.ever.bits()), u32::from(effect.removes.bits()));
        let does = LOOKED | form | removes << 8 | adds;
        self.effect.store(does, Ordering::Relaxed);
        Does(does)
    }

    /// As plain values.
    pub(crate) fn image(&self) -> StatementImage {
        StatementImage {
            id: self.id,
            name: self.name.clone(),
            text_and_types: Bytes(self.text_and_types.clone()),
            reading: self.reading.clone(),
            outdated: self.outdated.load(Ordering::Relaxed),
        }
    }

    /// PostgreSQL has refused it for good (0A000, "cached plan must not change result type"). Drivers help themselves
    /// by preparing the same text again, which must then really be prepared, on every server connection: under a new
    /// name.
    pub(crate) fn mark_outdated(&self) {
        self.outdated.store(true, Ordering::Relaxed);
    }
}

impl PartialEq for Statement {
    /// Ids are unique.
    fn eq(&self, other: &Statement) -> bool {
        self.id == other.id
    }
}

impl Eq for Statement {}

/// Where statements are looked up; asked only when a client sends a named Parse.
pub trait Statements {
    /// The statement with this text for clients with these values, new or known: a date or a time without a zone in the
    /// text is read when it is prepared, and so is each character.
    fn intern(&self, text_and_types: &[u8], reading: &str) -> Arc<Statement>;
}

/// A statement found by its text.
#[derive(Debug)]
struct ByText(Arc<Statement>);

impl Borrow<[u8]> for ByText {
    fn borrow(&self) -> &[u8] {
        &self.0.text_and_types
    }
}

impl Hash for ByText {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.text_and_types.hash(state);
    }
}

impl PartialEq for ByText {
    fn eq(&self, other: &ByText) -> bool {
        self.0.text_and_types == other.0.text_and_types
    }
}

impl Eq for ByText {}

/// How many statements there may be before those that nobody has any more are looked for.
const SWEEP_MIN: usize = 1024;

/// All statements some client or server connection knows. The shell puts a lock around it.
#[derive(Debug)]
pub struct StatementTable {
    prefix: &'static str,
    /// By the values their texts are read with; of these there are few.
    known: HashMap<Box<str>, HashSet<ByText>>,
    len: usize,
    next_id: u64,
    sweep_at: usize,
}

impl StatementTable {
    /// Names will be `prefix` and a number.
    pub fn new(prefix: &'static str) -> StatementTable {
        StatementTable { prefix, known: HashMap::new(), len: 0, next_id: 1, sweep_at: SWEEP_MIN }
    }

    /// See [`Statements::intern`]. Forgets, now and then (amortised), those that nobody has any more.
    pub fn intern(&mut self, text_and_types: &[u8], reading: &str) -> Arc<Statement> {
        if let Some(known) = self.known.get(reading).and_then(|known| known.get(text_and_types))
            && !known.0.outdated.load(Ordering::Relaxed)
        {
            return known.0.clone();
        }
        if self.len >= self.sweep_at {
            self.sweep();
        }
        let id = self.next_id;
        self.next_id += 1;
        let statement = Arc::new(Statement {
            id,
            name: format!("{}{id}", self.prefix).into(),
            text_and_types: text_and_types.into(),
            reading: reading.into(),
            outdated: AtomicBool::new(false),
            effect: AtomicU32::new(0),
            shape: AtomicU64::new(0),
        });
        // In the place of an outdated one with this text, if there is one.
        let replaced = self.known.entry(reading.into()).or_default().replace(ByText(statement.clone()));
        self.len += usize::from(replaced.is_none());
        statement
    }

    /// All statements of it.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Statement>> {
        self.known.values().flatten().map(|known| &known.0)
    }

    /// The number that the next new one gets.
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id
    }

    /// New ones get no number below this.
    pub(crate) fn count_from(&mut self, id: u64) {
        self.next_id = self.next_id.max(id);
    }

    /// A statement that another process has named: it keeps its number and its name, and new ones get others.
    pub(crate) fn adopt(&mut self, image: StatementImage) -> Result<Arc<Statement>, ImageError> {
        image.check()?;
        let StatementImage { id, name, text_and_types, reading, outdated } = image;
        self.next_id = self.next_id.max(id + 1);
        let statement = Arc::new(Statement {
            id,
            name,
            text_and_types: text_and_types.0,
            reading: reading.clone(),
            outdated: AtomicBool::new(outdated),
            effect: AtomicU32::new(0),
            shape: AtomicU64::new(0),
        });
        let is_known =
            self.known.get(&reading).is_some_and(|known| known.contains(&*statement.text_and_types));
        // Who prepares an outdated one again wants the new one.
        if !outdated || !is_known {
            let replaced = self.known.entry(reading).or_default().replace(ByText(statement.clone()));
            self.len += usize::from(replaced.is_none());
        }
        Ok(statement)
    }

    fn sweep(&mut self) {
        self.known.retain(|_, known| {
            known.retain(|statement| Arc::strong_count(&statement.0) > 1);
            !known.is_empty()
        });
        self.len = self.known.values().map(HashSet::len).sum();
        self.sweep_at = (self.len * 2).max(SWEEP_MIN);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// Names that begin like ours must not be reached by a client that never prepared them.
pub(crate) fn is_reserved(name: &[u8]) -> bool {
    name.starts_with(b"PLIMSOLL_") || name.starts_with(b"PGBOUNCER_")
}

/// A client's name for a statement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Named<S = Arc<Statement>> {
    pub(crate) statement: S,
    /// Which Parse made it: a failed Parse takes back what it made and nothing else.
    pub(crate) serial: u32,
    /// How often the client has bound it.
    pub(crate) executions: Cell<u32>,
}

impl<S> Named<S> {
    /// The same, with the statement named in another way.
    pub(crate) fn map<T>(&self, name: impl FnOnce(&S) -> T) -> Named<T> {
        Named { statement: name(&self.statement), serial: self.serial, executions: self.executions.clone() }
    }

    /// See [`Named::map`].
    pub(crate) fn try_map<T>(
        &self,
        name: impl FnOnce(&S) -> Result<T, ImageError>,
    ) -> Result<Named<T>, ImageError> {
        let statement = name(&self.statement)?;
        Ok(Named { statement, serial: self.serial, executions: self.executions.clone() })
    }
}

impl Named {
    /// How often it was executed before.
    pub(crate) fn count_execution(&self) -> u32 {
        let before = self.executions.get();
        self.executions.set(before.saturating_add(1));
        before
    }
}

/// A name that a client closed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Closed<S = Arc<Statement>> {
    pub(crate) name: Bytes,
    pub(crate) named: Named<S>,
}

/// A client's names. Most clients have none, so the map is made when it is needed.
#[derive(Debug, Default)]
#[expect(clippy::box_collection, reason = "an idle client pays for a pointer, not for a map")]
pub(crate) struct Names(Option<Box<HashMap<Box<[u8]>, Named>>>);

impl Names {
    pub(crate) fn find(&self, name: &[u8]) -> Option<&Named> {
        self.0.as_ref()?.get(name)
    }

    pub(crate) fn insert(&mut self, name: &[u8], named: Named) {
        self.0.get_or_insert_default().insert(name.into(), named);
    }

    /// The name stands for another statement from now on.
    pub(crate) fn mean(&mut self, name: &[u8], statement: &Arc<Statement>) {
        if let Some(named) = self.0.as_mut().and_then(|map| map.get_mut(name)) {
            named.statement = statement.clone();
        }
    }

    pub(crate) fn remove(&mut self, name: &[u8]) -> Option<Named> {
        self.0.as_mut()?.remove(name)
    }

    /// Keeps those whose Parse fits.
    pub(crate) fn retain(&mut self, fits: impl Fn(u32) -> bool) {
        if let Some(map) = &mut self.0 {
            map.retain(|_, named| fits(named.serial));
            if map.is_empty() {
                self.0 = None;
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |map| map.len())
    }

    /// All of them, as plain values.
    pub(crate) fn map_all<T>(&self, mut each: impl FnMut(&Named) -> T) -> Vec<(Bytes, T)> {
        let all = self.0.iter().flat_map(|map| map.iter());
        all.map(|(name, named)| (Bytes(name.clone()), each(named))).collect()
    }
}

/// The statements prepared on one server connection.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    map: HashMap<u64, There>,
    clock: u64,
}

/// A statement that a server connection has.
#[derive(Debug)]
struct There {
    statement: Arc<Statement>,
    /// When it was last used, on [`Prepared::clock`].
    used: u64,
    /// Number of the last answer on which it depends that it is there, or that a client's name for it is.
    depends_on: u64,
}

impl Prepared {
    /// The number of the answer on which it depends that this statement is there; `None` if it is not.
    pub(crate) fn depends_on(&self, id: u64) -> Option<u64> {
        self.map.get(&id).map(|there| there.depends_on)
    }

    /// Whether it is there; if so it has been used now.
    pub(crate) fn touch(&mut self, id: u64) -> bool {
        self.clock += 1;
        match self.map.get_mut(&id) {
            Some(there) => {
                there.used = self.clock;
                true
            }
            None => false,
        }
    }

    /// Adds one, or says that more depends on it.
    pub(crate) fn insert(&mut self, statement: Arc<Statement>, depends_on: u64) {
        self.clock += 1;
        self.map.insert(statement.id, There { statement, used: self.clock, depends_on });
    }

    /// The least recently used one, if there is no room for one more; with what its being there depends on.
    pub(crate) fn oldest(&self, max: u32) -> Option<(&Arc<Statement>, u64)> {
        if self.map.len() < max as usize {
            return None;
        }
        self.map.values().min_by_key(|there| there.used).map(|there| (&there.statement, there.depends_on))
    }

    pub(crate) fn remove(&mut self, id: u64) {
        self.map.remove(&id);
    }

    pub(crate) fn clear(&mut self) {
        self.map.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }
}

/// [`Prepared`] as plain values: number, when it was last used, on which answer it depends.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PreparedImage {
    there: Vec<(u64, u64, u64)>,
    clock: u64,
}

impl Prepared {
    /// As plain values.
    pub(crate) fn image(&self, packing: &mut Packing) -> PreparedImage {
        let one = |there: &There| (packing.statement(&there.statement), there.used, there.depends_on);
        PreparedImage { there: self.map.values().map(one).collect(), clock: self.clock }
    }
}

impl PreparedImage {
    /// The statements again.
    pub(crate) fn unpack(self, unpacking: &Unpacking) -> Result<Prepared, ImageError> {
        let mut prepared = Prepared { map: HashMap::new(), clock: self.clock };
        for (id, used, depends_on) in self.there {
            if used > self.clock || self.clock >= COUNT_MAX || depends_on >= COUNT_MAX {
                return Err(ImageError("a statement from the future"));
            }
            prepared.map.insert(id, There { statement: unpacking.statement(id)?, used, depends_on });
        }
        Ok(prepared)
    }
}
