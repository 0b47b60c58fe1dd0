//! From files to a [`Plan`]: sections, `%include`, what belongs together, auth_file.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use crate::ini::{Keys, Line, Lines};
use crate::mistake::Mistake;
use crate::place::{Place, SECTIONS, Section};
use crate::plan::{Database, Plan, SetAt};
use crate::table::Field;
use crate::{database, issuer, keepalive, keys, near, own, peer, target, user, userlist};

/// Reads a file for the parser.
pub type ReadFile<'a> = dyn FnMut(&Path) -> std::io::Result<String> + 'a;

/// How deep `%include` may go; PgBouncer's.
const INCLUDE_DEPTH_MAX: u32 = 10;
/// How many files may be included in all.
const INCLUDE_FILES_MAX: u32 = 1000;
/// How many broken lines of auth_file are named one by one.
const SKIPPED_NAMED_MAX: usize = 20;

/// Reads the ini file at `path` and all it includes, and auth_file.
///
/// A path in the files is handed to `read` as it is written: one that is not absolute is relative to the current
/// folder, as in PgBouncer.
///
/// # Errors
/// All mistakes of all files.
pub fn load(path: &Path, read: &mut ReadFile<'_>) -> Result<Plan, Vec<Mistake>> {
    let main: Arc<Path> = path.into();
    let mut loader = Loader {
        read,
        plan: Plan { shown: keys::shown_defaults(), ..Plan::default() },
        mistakes: Vec::new(),
        section: Section::None,
        had_pgbouncer: None,
        files: 0,
    };
    loader.file(&main, 0, &Place::new(&main, 0));
    loader.finish(&main)
}

struct Loader<'a, 'b> {
    read: &'a mut ReadFile<'b>,
    plan: Plan,
    mistakes: Vec<Mistake>,
    section: Section,
    /// Where `[pgbouncer]` stood first.
    had_pgbouncer: Option<Place>,
    files: u32,
}

impl Loader<'_, '_> {
    /// Reads one file; `from` is the line that asks for it.
    fn file(&mut self, path: &Arc<Path>, depth: u32, from: &Place) {
        let text = match (self.read)(path) {
            Ok(text) => text,
            Err(error) => {
                let message = format!("could not load file \"{}\": {error}", path.display());
                self.mistakes.push(from.mistake(message));
                return;
            }
        };
        let mut lines = Lines::new(&text);
        // The section can change with every line, in an included file too.
        while let Some((number, line)) = lines.next(self.keys()) {
            let place = Place::new(path, number);
            match line {
                Line::Section(name) => self.section(name, place),
                Line::Include(name) => self.include(name, depth, &place),
                Line::Pair { key, value } => self.pair(&key, value, place),
                Line::Broken(why) => {
                    let words = format!("syntax error in configuration ({place}), stopping loading: {why}");
                    self.mistakes.push(place.mistake(words));
                }
            }
        }
    }

    /// How the names of this section are written.
    fn keys(&self) -> Keys {
        match self.section {
            Section::Targets => Keys::Targets,
            Section::None
            | Section::Pgbouncer
            | Section::Plimsoll
            | Section::Databases
            | Section::Users
            | Section::Peers
            | Section::Issuers
            | Section::Unknown => Keys::Names,
        }
    }

    fn include(&mut self, name: &str, depth: u32, place: &Place) {
        self.files += 1;
        if depth >= INCLUDE_DEPTH_MAX || self.files > INCLUDE_FILES_MAX {
            let limits = format!("max depth is {INCLUDE_DEPTH_MAX}, {INCLUDE_FILES_MAX} files in all");
            // Once is enough: a file that includes itself twice would say it a thousand times.
            if self.files <= INCLUDE_FILES_MAX + 1 {
                self.mistakes
                    .push(place.mistake(format!("include nesting level too deep ({place}), {limits}")));
            }
            return;
        }
        self.file(&Path::new(name).into(), depth + 1, place);
    }

    fn section(&mut self, name: &str, place: Place) {
        let known = SECTIONS.into_iter().find(|(known, _)| *known == name);
        self.section = known.map_or(Section::Unknown, |(_, section)| section);
        match self.section {
            Section::Unknown => {
                let hint = near::hint(name, SECTIONS.into_iter().map(|(known, _)| known));
                let message = format!("invalid section \"{name}\" in configuration ({place}){hint}");
                self.mistakes.push(place.mistake(message));
            }
            Section::Pgbouncer => match &self.had_pgbouncer {
                Some(first) => self.plan.warnings.push(format!(
                    "{place}: [pgbouncer] begins again (first at line {}): PgBouncer would set its keys back to \
                     their defaults here, Plimsoll keeps them",
                    first.line
                )),
                None => self.had_pgbouncer = Some(place),
            },
            Section::None
            | Section::Plimsoll
            | Section::Databases
            | Section::Users
            | Section::Peers
            | Section::Targets
            | Section::Issuers => {}
        }
    }

    fn pair(&mut self, key: &str, value: &str, place: Place) {
        let taken = match self.section {
            Section::None => Err(vec![place.mistake(format!("value without section: {key}"))]),
            Section::Pgbouncer => self.pgbouncer(key, value, &place),
            Section::Plimsoll => self.plimsoll(key, value, &place),
            Section::Databases => self.database(key, value, &place),
            Section::Users => self.user(key, value, &place),
            Section::Peers => self.peer(key, value, &place),
            // May not be there twice.
            Section::Targets => return self.target(key, value, place),
            Section::Issuers => return self.issuer(key, value, place),
            Section::Unknown => return,
        };
        match taken {
            Ok(()) => self.note_twice(key, place),
            Err(mistakes) => self.mistakes.extend(mistakes),
        }
    }

    /// The later line wins, as in PgBouncer; it is worth a warning.
    fn note_twice(&mut self, key: &str, place: Place) {
        if let Some(before) = self.plan.places.note(self.section, key, place.clone()) {
            let warning = format!("{place}: \"{key}\" was set before at {before}; this line counts");
            self.plan.warnings.push(warning);
        }
    }

    fn pgbouncer(&mut self, key: &str, value: &str, place: &Place) -> Result<(), Vec<Mistake>> {
        let Some(row) = keys::find(key) else {
            return Err(vec![place.mistake(keys::unknown(key))]);
        };
        match keys::assign(&mut self.plan, row, value) {
            Ok(taken) => {
                self.plan.explicit.insert(row.name);
                match row.field {
                    Field::Hidden(_) => self.set_at(row.name, &taken.shown, place),
                    _ => self.set_at(row.name, value, place),
                }
                let warning =
                    taken.warning.map(|why| format!("{place}: {key} = {value} has no effect: {why}"));
                self.plan.warnings.extend(warning);
                Ok(())
            }
            Err(fault) => Err(vec![place.mistake(fault.message(key, value, Some(place)))]),
        }
    }

    fn set_at(&mut self, key: &'static str, value: &str, place: &Place) {
        let at = SetAt { value: value.to_string(), place: place.to_string() };
        self.plan.set_at.insert(key, at);
    }

    fn plimsoll(&mut self, key: &str, value: &str, place: &Place) -> Result<(), Vec<Mistake>> {
        let Some(row) = own::find(key) else {
            return Err(vec![place.mistake(own::unknown(key))]);
        };
        let taken = row.assign(&mut self.plan.own, value);
        self.set_at(row.name, value, place);
        taken.map_err(|fault| vec![place.mistake(fault.message(key, value, Some(place)))])
    }

    fn database(&mut self, name: &str, value: &str, place: &Place) -> Result<(), Vec<Mistake>> {
        let database = database::parse(name, value, place)?;
        if name == "*" {
            self.plan.auto_database = Some(database);
            return Ok(());
        }
        match self.plan.databases.iter_mut().find(|known| known.name == name) {
            Some(known) => *known = database,
            None => self.plan.databases.push(database),
        }
        Ok(())
    }

    fn peer(&mut self, id: &str, value: &str, place: &Place) -> Result<(), Vec<Mistake>> {
        let peer = peer::parse(id, value, place)?;
        self.plan.peers.insert(peer.id, peer);
        Ok(())
    }

    fn target(&mut self, name: &str, value: &str, place: Place) {
        let line = match target::parse(name, value, &place) {
            Ok(line) => line,
            Err(mistakes) => return self.mistakes.extend(mistakes),
        };
        let name = line.to_string();
        match self.plan.places.find(Section::Targets, &name) {
            // Which of two budgets was meant is not ours to guess.
            Some(before) => {
                let message = format!("target {name} was set before at {before}: one line for each");
                self.mistakes.push(place.mistake(message));
            }
            None => {
                self.plan.places.note(Section::Targets, &name, place);
                self.plan.targets.push(line);
            }
        }
    }

    fn issuer(&mut self, name: &str, value: &str, place: Place) {
        let line = match issuer::parse(name, value, &place) {
            Ok(line) => line,
            Err(mistakes) => return self.mistakes.extend(mistakes),
        };
        // Which of two is to be believed is not ours to guess.
        let twice = self.plan.places.find(Section::Issuers, name);
        let wrong = match twice {
            Some(before) => Some(format!("issuer {name} was set before at {before}: one line for each")),
            None => issuer::conflict(&line, &self.plan.issuers),
        };
        match wrong {
            Some(message) => self.mistakes.push(place.mistake(message)),
            None => {
                self.plan.places.note(Section::Issuers, name, place);
                self.plan.issuers.push(line);
            }
        }
    }

    /// Our own tokens are verified by our own keys, whatever a line says.
    fn check_own_issuer(&mut self, whole: &Place) {
        let Some(own) = self.plan.own.identity.issuer.as_deref() else { return };
        let same = |url: &str| url.trim_end_matches('/') == own.trim_end_matches('/');
        if let Some(line) = self.plan.issuers.iter().find(|line| same(&line.url)) {
            let message = format!("issuer {} is our own (identity_issuer): it needs no line", line.name);
            let place = self.place_of(Section::Issuers, &line.name, whole);
            self.mistakes.push(place.mistake(message));
        }
    }

    fn user(&mut self, name: &str, value: &str, place: &Place) -> Result<(), Vec<Mistake>> {
        let settings = user::parse(value, place)?;
        self.plan.users.insert(name.to_string(), settings);
        Ok(())
    }

    /// What can only be said when all lines are read.
    fn finish(mut self, main: &Arc<Path>) -> Result<Plan, Vec<Mistake>> {
        let whole = Place::new(main, 0);
        if self.had_pgbouncer.is_none() && self.mistakes.is_empty() {
            self.mistakes
                .push(whole.mistake("main section missing from config file: there is no [pgbouncer]"));
        }
        self.fill_hosts(&whole);
        let general = &self.plan.general;
        if general.listen_addr.is_empty() && general.unix_socket_dir.is_none() {
            let message = "nowhere to listen on: listen_addr and unix_socket_dir are both empty";
            self.mistakes.push(whole.mistake(message));
        }
        for (key, message) in own::contradictions(&self.plan.own) {
            let place = self.place_of(Section::Plimsoll, key, &whole);
            self.mistakes.push(place.mistake(message));
        }
        self.check_own_issuer(&whole);
        // Their order says nothing, and a line that was moved is no change.
        self.plan.issuers.sort_by(|a, b| a.name.cmp(&b.name));
        self.plan.targets.sort_by(|a, b| (&a.host, a.port).cmp(&(&b.host, b.port)));
        self.plan.warnings.extend(keepalive::warnings(&self.plan));
        if let Some(line) = self.plan.shown.iter_mut().find(|line| line.key == "conffile") {
            line.value = Some(main.display().to_string());
        }
        if !self.mistakes.is_empty() {
            // A file that is included twice makes the same mistake twice.
            let mut said = HashSet::new();
            self.mistakes.retain(|mistake| said.insert(mistake.clone()));
            return Err(self.mistakes);
        }
        self.auth_file();
        Ok(self.plan)
    }

    fn place_of(&self, section: Section, key: &str, otherwise: &Place) -> Place {
        self.plan.places.find(section, key).unwrap_or(otherwise).clone()
    }

    /// A database without `host=` is reached through the folder of our own socket, as in PgBouncer.
    fn fill_hosts(&mut self, whole: &Place) {
        let dir = self.plan.general.unix_socket_dir.clone();
        let unreachable = |database: &mut Database| {
            (!database::fill_host(database, dir.as_deref())).then(|| database.name.clone())
        };
        let names: Vec<String> = self
            .plan
            .databases
            .iter_mut()
            .chain(&mut self.plan.auto_database)
            .filter_map(unreachable)
            .collect();
        for name in names {
            let message =
                format!("database \"{name}\" has no host and unix_socket_dir is empty: it has no server");
            let place = self.place_of(Section::Databases, &name, whole);
            self.mistakes.push(place.mistake(message));
        }
    }

    /// Reads the secrets. PgBouncer starts without them, so nothing here is a mistake.
    fn auth_file(&mut self) {
        let Some(path) = self.plan.general.auth_file.clone() else { return };
        let text = match (self.read)(&path) {
            Ok(text) => text,
            Err(error) => {
                let warning = format!("could not open auth_file {}: {error}", path.display());
                self.plan.warnings.push(warning);
                return;
            }
        };
        let (logins, skipped) = userlist::parse(&text);
        self.plan.logins = logins;
        self.plan.warnings.extend(skipped_warnings(&path, &skipped));
    }
}

fn skipped_warnings(path: &Path, skipped: &[(u32, &'static str)]) -> Vec<String> {
    let named = skipped.iter().take(SKIPPED_NAMED_MAX);
    let mut warnings: Vec<String> = named
        .map(|(line, why)| format!("{}:{line}: broken auth file: {why}; the line is skipped", path.display()))
        .collect();
    if skipped.len() > SKIPPED_NAMED_MAX {
        let more = skipped.len() - SKIPPED_NAMED_MAX;
        warnings.push(format!("{}: broken auth file: {more} more lines are skipped", path.display()));
    }
    warnings
}
