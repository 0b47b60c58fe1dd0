//! `SHOW DOCTOR`: the one command of a bad night, on one screen.

use std::collections::HashMap;
use std::time::Duration;

use plimsoll_config::{Plan, Shown};
use plimsoll_proxy::{
    HoldView, HouseView, Level, NeedView, ServerFacts, SiteView, TrendView, VerdictLevel, VisitorView,
    WaiterView,
};

use crate::pooler::Pooler;
use crate::show::{Words, hosts, tags, trend_name, words};
use crate::why::age;

/// Most lines of a section.
const TOP: usize = 5;

/// Settings that are shown.
const SETTINGS: usize = 8;

/// Settings that say where the pooler is and not how it behaves.
const PLACES: [&str; 9] = [
    "conffile",
    "listen_addr",
    "listen_port",
    "unix_socket_dir",
    "auth_file",
    "admin_users",
    "stats_users",
    "logfile",
    "pidfile",
];

/// What the doctor looks at.
pub(crate) struct Patient {
    house: HouseView,
    holds: Vec<HoldView>,
    waiters: Vec<WaiterView>,
    sites: Vec<SiteView>,
    visitors: Vec<VisitorView>,
    /// What rises.
    rising: Vec<TrendView>,
    settings: Vec<String>,
    words: Words,
}

/// A line and its section.
pub(crate) type Line = (&'static str, String);

impl Patient {
    /// Everything that can be seen without asking the servers.
    pub(crate) fn of(pooler: &dyn Pooler, level: Level) -> Patient {
        Patient {
            house: pooler.house(),
            holds: pooler.holds(),
            waiters: pooler.waiters(),
            sites: pooler.sites(),
            visitors: pooler.visitors(),
            rising: pooler.trends().into_iter().filter(|trend| trend.is_rising).collect(),
            settings: settings(&pooler.plan(), level),
            words: words(level),
        }
    }

    /// The screen. `facts`: what the servers say.
    pub(crate) fn lines(&self, facts: &[ServerFacts]) -> Vec<Line> {
        let mut out = vec![("verdict", self.verdict())];
        let mut add = |section: &'static str, lines: Vec<String>| {
            out.extend(lines.into_iter().map(|line| (section, in_one_line(line))));
        };
        add("servers", self.servers(facts));
        add("pools", self.pools());
        add("trend", self.trend());
        add("clients", self.clients());
        add("top site", self.top_site());
        add("settings", self.changed());
        add("next", vec![self.next()]);
        out
    }

    /// The worst site, if one is suspected.
    fn worst(&self) -> Option<&SiteView> {
        let bad = self.sites.iter().filter(|site| site.verdict.level >= VerdictLevel::Suspect);
        bad.max_by_key(|site| (site.verdict.level, site.held))
    }

    fn name(&self, site: &SiteView) -> String {
        let application =
            if site.application.is_empty() { "(no application_name)" } else { &site.application };
        let tags = tags(site);
        if !tags.is_empty() {
            return format!("{application} {tags}");
        }
        match self.words {
            Words::None => application.to_string(),
            Words::Redacted | Words::Full => format!("{application} \"{}\"", site.statement),
        }
    }

    fn verdict(&self) -> String {
        let waiting = match self.waiters.iter().map(|waiter| waiter.waiting).max() {
            None => "nobody waits".to_string(),
            Some(oldest) => format!("{} wait, the oldest for {}", self.waiters.len(), age(oldest)),
        };
        let house = &self.house;
        if house.paused {
            return format!("Everything is paused (RESUME ends it); {waiting}.");
        }
        if let Some(site) = self.worst() {
            return format!(
                "{}: {} of {} connections of {} are held by {}, idle for {} together; {waiting}.",
                site.verdict.level.as_str().to_uppercase(),
                site.held,
                site.pool_size,
                site.pools.join(", "),
                self.name(site),
                age(site.idle)
            );
        }
        if house.clients >= house.clients_max {
            return format!(
                "All {} client connections (max_client_conn) are open; {} were refused; {waiting}.",
                house.clients_max, house.clients_refused
            );
        }
        if let Some(pool) = house.pools.iter().find(|pool| pool.waiting > 0 && pool.held >= pool.size) {
            return format!(
                "Pool {}/{} is busy: {} of {} connections work; {waiting}. No leak is seen.",
                pool.database, pool.role, pool.held, pool.size
            );
        }
        if let Some(pool) =
            house.pools.iter().find(|pool| pool.held >= pool.size && pool.sleeping == pool.held)
        {
            return format!(
                "All {} connections of {}/{} are held and none of them works: the next client has to wait; {waiting}.",
                pool.size, pool.database, pool.role
            );
        }
        if self.waiters.is_empty() {
            format!("Nothing wrong is seen: {} connections are held, nobody waits.", self.holds.len())
        } else {
            format!("{waiting}: {}.", self.waiters[0].why)
        }
    }

    fn servers(&self, facts: &[ServerFacts]) -> Vec<String> {
        if facts.is_empty() {
            return vec!["no server connection is open".to_string()];
        }
        facts.iter().take(TOP).flat_map(|server| self.server(server)).collect()
    }

    fn server(&self, server: &ServerFacts) -> Vec<String> {
        let target = &server.target;
        let here: Vec<_> = self.holds.iter().filter(|hold| hold.target == *target).collect();
        let said = match &server.said {
            Err(why) => {
                return vec![format!("{target}: {why}; {} of its connections are held here", here.len())];
            }
            Ok(said) => said,
        };
        let ours = said.backends.iter().filter(|backend| backend.ours).count();
        let foreign = said.backends.len() - ours;
        let asleep = said.backends.iter().filter(|backend| backend.state.starts_with("idle")).count();
        let hidden = said.backends.iter().filter(|backend| backend.hidden).count();
        let unseen = match hidden {
            0 => String::new(),
            hidden => {
                format!("; the state of {hidden} is not visible to {} (pg_read_all_stats)", asked_as(server))
            }
        };
        let mut lines = vec![format!(
            "{target} (PostgreSQL {}): allows {} ({} less {} reserved); {ours} ours, {foreign} foreign, {asleep} \
             idle{unseen}",
            said.version,
            said.max_connections.saturating_sub(said.reserved),
            said.max_connections,
            said.reserved
        )];
        let mut by: HashMap<String, u32> = HashMap::new();
        for backend in said.backends.iter().filter(|backend| !backend.ours) {
            let who = if backend.application.is_empty() { "(no name)" } else { &backend.application };
            let who: String = who.chars().filter(|c| !c.is_control()).take(30).collect();
            *by.entry(format!("{who} as {}", backend.user)).or_default() += 1;
        }
        if !by.is_empty() {
            lines.push(format!("  foreign: {}", largest(by, 3)));
        }
        lines
    }

    fn pools(&self) -> Vec<String> {
        let mut pools: Vec<&NeedView> = self.house.pools.iter().collect();
        pools.sort_by_key(|pool| std::cmp::Reverse((pool.waiting, pool.held, pool.clients)));
        if pools.is_empty() {
            return vec!["none: nobody has logged in yet".to_string()];
        }
        let mut lines: Vec<String> = pools.iter().take(TOP).map(|pool| need(pool)).collect();
        if pools.len() > TOP {
            lines.push(format!("and {} more: SHOW POOLS", pools.len() - TOP));
        }
        let why = |pool: &&&NeedView| format!("{}/{}: {}", pool.database, pool.role, pool.why);
        let reasons: Vec<_> = pools.iter().take(2).collect();
        lines.push(format!("why they exist: {}", reasons.iter().map(why).collect::<Vec<_>>().join("; ")));
        lines
    }

    /// A line for each that rises; nothing where nothing does.
    fn trend(&self) -> Vec<String> {
        let line = |trend: &TrendView| {
            let place = match (trend.site, &trend.pool) {
                (0, _) | (_, None) => String::new(),
                (_, Some(_)) => format!(" in pool {}", trend.pools.join(", ")),
            };
            format!("RISING: {} {}{place}: {}", trend.what, trend_name(trend, self.words), trend.why)
        };
        self.rising.iter().take(TOP).map(line).collect()
    }

    fn clients(&self) -> Vec<String> {
        let house = &self.house;
        let full = match house.clients_full_in {
            Some(time) => format!("; at this rate full in {}", age(time)),
            None => String::new(),
        };
        let logins: Vec<_> =
            house.logins.iter().map(|(how, count)| format!("{count} by auth_type {how}")).collect();
        let mut lines = vec![format!(
            "{} of {} (max_client_conn){full}; refused so far: {}; {}; descriptors {} of {}",
            house.clients,
            house.clients_max,
            house.clients_refused,
            logins.join(", "),
            house.descriptors.0,
            house.descriptors.1
        )];
        let mut groups: HashMap<String, u32> = HashMap::new();
        for visitor in &self.visitors {
            let application = match visitor.who.application.is_empty() {
                true => "(no application_name)",
                false => &visitor.who.application,
            };
            *groups.entry(format!("{application} from {}", visitor.who.host)).or_default() += 1;
        }
        if !groups.is_empty() {
            lines.push(format!("most: {}", largest(groups, TOP)));
        }
        lines
    }

    fn top_site(&self) -> Vec<String> {
        if !self.house.ledger {
            return vec!["the ledger is off ([plimsoll] ledger = on)".to_string()];
        }
        let busiest = || self.sites.iter().find(|site| site.held > 0).or(self.sites.first());
        let Some(site) = self.worst().or_else(busiest) else {
            return vec!["none yet: no hold has been seen".to_string()];
        };
        let holds = match site.held {
            0 => "holds none now".to_string(),
            held => format!("holds {held} of {}, oldest {}", site.pool_size, age(site.oldest)),
        };
        let mut lines = vec![format!(
            "{}: {holds}, {} holds before, p99 {}; {}",
            self.name(site),
            site.holds,
            age(site.p99),
            site.verdict.level.as_str()
        )];
        match (site.verdict.rule, &*site.verdict.evidence) {
            (_, "") => {}
            ("", evidence) => lines.push(format!("  {evidence}")),
            (rule, evidence) => lines.push(format!("  {rule}: {evidence}")),
        }
        if !site.hosts.is_empty() {
            lines.push(format!("  from {}", hosts(site)));
        }
        if self.words != Words::None && !site.last_statement.is_empty() {
            lines.push(format!("  last statement of the oldest: {}", site.last_statement));
        }
        lines
    }

    fn changed(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.settings.iter().take(SETTINGS).cloned().collect();
        if self.settings.len() > SETTINGS {
            lines.push(format!("and {} more: SHOW CONFIG", self.settings.len() - SETTINGS));
        }
        if lines.is_empty() { vec!["all as by default".to_string()] } else { lines }
    }

    fn next(&self) -> String {
        if let Some(site) = self.worst() {
            return format!("plimsoll holds --site {:016x}", site.site);
        }
        if self.house.paused {
            return "RESUME on the console, when you know why it is paused".to_string();
        }
        if self.house.clients * 10 >= self.house.clients_max * 8 {
            return "plimsoll clients --by app,host,site".to_string();
        }
        match self.waiters.first() {
            Some(waiter) => format!("plimsoll why {}", waiter.who.client),
            None if !self.rising.is_empty() => "plimsoll trend; plimsoll diff --since 1h".to_string(),
            None => "plimsoll sites".to_string(),
        }
    }
}

/// Who asked a server.
fn asked_as(server: &ServerFacts) -> &str {
    server.via.as_ref().map_or("the role", |(_, role)| role)
}

fn need(pool: &NeedView) -> String {
    let wait = match pool.waiting {
        0 => String::new(),
        waiting => format!("; {waiting} WAIT, oldest {}", age(pool.oldest_wait)),
    };
    format!(
        "{}/{} ({}): needs {:.1} ({:.0}/s x {}), held {} of {} ({} of them idle), free {}{wait}",
        pool.database,
        pool.role,
        pool.mode.as_str(),
        pool.needed,
        pool.holds_per_second,
        time(pool.hold_mean),
        pool.held,
        pool.size,
        pool.sleeping,
        pool.idle
    )
}

fn time(time: Duration) -> String {
    match time.as_micros() {
        us @ 0..10_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => age(time),
    }
}

fn largest(counts: HashMap<String, u32>, most: usize) -> String {
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by(|(one, few), (other, many)| many.cmp(few).then_with(|| one.cmp(other)));
    let named: Vec<_> = counts.iter().take(most).map(|(name, count)| format!("{count} {name}")).collect();
    named.join(", ")
}

/// Settings that somebody has set to something else than their default; administrators see where.
fn settings(plan: &Plan, level: Level) -> Vec<String> {
    let own = plimsoll_config::own_shown(&plan.own);
    let said = |shown: &Shown| {
        let live = plan.set_live.contains(shown.key);
        let at = plan.set_at.get(shown.key);
        if PLACES.contains(&shown.key) || !(live || at.is_some()) || shown.value.as_deref() == shown.default {
            return None;
        }
        // As it was written, where it was: SHOW CONFIG has its own way with some.
        let (value, place) = match at.filter(|_| !live) {
            Some(at) if shown.default == Some(&at.value) => return None,
            Some(at) => (at.value.as_str(), file(&at.place)),
            None => (shown.value.as_deref().unwrap_or(""), "SET"),
        };
        Some(match level {
            Level::Admin => format!("{} = {value} ({place})", shown.key),
            Level::Stats => format!("{} = {value}", shown.key),
        })
    };
    own.iter().chain(&plan.shown).filter_map(said).collect()
}

/// `file:line` without the folders before it.
fn file(place: &str) -> &str {
    place.rsplit('/').next().unwrap_or(place)
}

/// Claimed text is escaped already; a line end would break the screen all the same.
fn in_one_line(line: String) -> String {
    line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests;
