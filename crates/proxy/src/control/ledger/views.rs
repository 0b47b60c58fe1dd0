//! One row of each kind.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use plimsoll_config::{Plan, Statements};
use plimsoll_ledger::text::{self, Tags};
use plimsoll_ledger::{HoldCopy, Kept, Level, Past, Provenance, Site, SiteId, Text, Verdict, is_sleeping};
use plimsoll_types::{Moment, Pins, PoolId};

use super::{Judged, escaped, host_of};
use crate::entry::{ClientEntry, ServerEntry};
use crate::hub::Hub;
use crate::ledger::application_of;
use crate::views::{
    HoldView, SiteView, StatementView, TextFrom, VerdictLevel, VerdictView, WhoView, redacted, tags,
};

/// How many hosts of a site are named.
const HOSTS: usize = 5;

pub(super) fn who(hub: &Hub, client: &ClientEntry) -> WhoView {
    WhoView {
        client: client.id.0,
        ptr: client.ptr(),
        user: client.user.clone(),
        database: client.database.clone(),
        host: host_of(&client.peer),
        port: client.peer.port(),
        application: escaped(&application_of(hub, client)),
        remote_pid: client.peer.pid(),
        tls_subject: client.tls.as_ref().and_then(|tls| tls.subject.as_deref().map(escaped)),
        identified: client.identified(),
    }
}

fn level(level: Level) -> VerdictLevel {
    match level {
        Level::Ok => VerdictLevel::Ok,
        Level::Parked => VerdictLevel::Parked,
        Level::Slow => VerdictLevel::Slow,
        Level::Suspect => VerdictLevel::Suspect,
        Level::Leak => VerdictLevel::Leak,
    }
}

pub(super) fn verdict_view(verdict: &Verdict) -> VerdictView {
    VerdictView {
        level: level(verdict.level),
        rule: verdict.rule.as_str(),
        evidence: verdict.evidence.clone(),
    }
}

fn from(provenance: Provenance) -> TextFrom {
    match provenance {
        Provenance::Here => TextFrom::Statement,
        Provenance::Parsed { executions } => TextFrom::Prepared { executions },
        Provenance::None => TextFrom::Unknown,
    }
}

fn tags_of(kept: &Text) -> Tags {
    match (kept.kept, kept.is_cut()) {
        (Kept::Text, false) => text::tags(&kept.bytes),
        (Kept::Text, true) => text::tags_of_ends(&kept.bytes, &kept.tail),
        (Kept::Credentials | Kept::Nothing, _) => Tags::default(),
    }
}

pub(super) fn statement(kept: &Text, plan: &Plan) -> StatementView {
    let found = tags_of(kept);
    let full = (plan.own.ledger_statements == Statements::Full && kept.kept == Kept::Text)
        .then(|| text::full(&kept.bytes));
    StatementView {
        text: redacted(kept),
        full,
        tags: tags(&found),
        traceparent: found.traceparent().map(escaped),
        from: from(kept.provenance),
    }
}

pub(super) fn hold_view(one: &Judged, plan: &Plan, now: Moment) -> HoldView {
    let (hold, server) = (&one.live.hold, &one.server);
    let who = one.client.as_ref().map_or_else(|| nobody(server), |client| client.view.clone());
    HoldView {
        server: server.ptr(),
        role: server.user.clone(),
        target: server.target.peer().to_string(),
        site: one.site.0,
        verdict: one.verdict.clone(),
        client_life: one.client.as_ref().and_then(|client| client.life),
        ..held(hold, who, plan, now)
    }
}

/// What a copy of a record tells; the rest is for the caller to fill in.
fn held(hold: &HoldCopy, who: WhoView, plan: &Plan, now: Moment) -> HoldView {
    let (opening, progress) = (&hold.opening, &hold.progress);
    let since = |at: Moment| (at != Moment(0)).then(|| now.since(at));
    HoldView {
        hold: opening.hold.0,
        role: "".into(),
        server: 0,
        pid: opening.pid,
        target: String::new(),
        server_age: now.since(opening.server_opened),
        state: progress.state.as_str(),
        age: now.since(opening.granted),
        waited: opening.granted.since(opening.asked),
        idle: now.since(progress.used),
        transaction: since(progress.xact_since),
        client_took: now.since(progress.client_took),
        unread_for: since(progress.unread_since),
        unread_bytes: progress.unread_bytes,
        pins: progress.pins,
        unknown_by: hold.unknown_by.as_deref().map(|bytes| text::redact(bytes, text::Cut::Cut)),
        statements: progress.statements,
        rows: progress.rows,
        to_server: progress.to_server,
        to_client: progress.to_client,
        first: hold.first.as_ref().map(|text| statement(text, plan)),
        last: hold.last().map(|text| statement(text, plan)),
        site: hold.site.0,
        verdict: VerdictView::default(),
        client_life: None,
        ended: None,
        ended_ago: Duration::ZERO,
        who,
    }
}

fn nobody(server: &ServerEntry) -> WhoView {
    WhoView {
        client: 0,
        ptr: 0,
        user: server.user.clone(),
        database: server.database.clone(),
        host: String::new(),
        port: 0,
        application: String::new(),
        remote_pid: 0,
        tls_subject: None,
        identified: None,
    }
}

/// A server connection that is being cleaned or closed.
pub(super) fn letting_go(server: &Arc<ServerEntry>, state: &'static str, now: Moment) -> HoldView {
    HoldView {
        hold: 0,
        who: nobody(server),
        role: server.user.clone(),
        server: server.ptr(),
        pid: server.pid(),
        target: server.target.peer().to_string(),
        server_age: now.since(server.opened),
        state,
        age: Duration::ZERO,
        waited: Duration::ZERO,
        idle: Duration::ZERO,
        transaction: None,
        client_took: Duration::ZERO,
        unread_for: None,
        unread_bytes: 0,
        pins: Pins::NONE,
        unknown_by: None,
        statements: 0,
        rows: 0,
        to_server: 0,
        to_client: 0,
        first: None,
        last: None,
        site: 0,
        verdict: VerdictView::default(),
        client_life: None,
        ended: None,
        ended_ago: Duration::ZERO,
    }
}

pub(super) fn past_view(past: &Past, plan: &Plan, now: Moment) -> HoldView {
    let known = &past.who;
    let who = WhoView {
        client: past.hold.opening.client.0,
        ptr: known.ptr,
        user: known.user.as_str().into(),
        database: known.database.as_str().into(),
        host: known.host.clone(),
        port: known.port,
        application: escaped(&known.application),
        remote_pid: known.remote_pid,
        tls_subject: None,
        identified: known.identified.clone(),
    };
    HoldView {
        role: known.role.as_str().into(),
        server: known.server_ptr,
        target: known.target.clone(),
        state: "closed",
        site: past.site.0,
        verdict: VerdictView { level: level(past.level), rule: "", evidence: String::new() },
        ended: Some(past.how.text().to_string()),
        ended_ago: now.since(past.at),
        ..held(&past.hold, who, plan, past.at)
    }
}

/// What is known of the holds of a site now.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) clients: u32,
    held: u32,
    oldest: Option<(Moment, Option<Text>)>,
    idle: Duration,
    held_seconds: f64,
    hosts: HashMap<String, u32>,
    pools: HashMap<PoolId, String>,
    worst: Option<(Level, VerdictView)>,
}

impl Gathered {
    pub(super) fn add(&mut self, one: Judged, now: Moment) {
        let hold = &one.live.hold;
        let granted = hold.opening.granted;
        self.held += 1;
        self.held_seconds += now.since(granted).as_secs_f64();
        if is_sleeping(hold.progress.state) {
            self.idle += now.since(hold.progress.used);
        }
        if self.oldest.as_ref().is_none_or(|(oldest, _)| granted < *oldest) {
            self.oldest = Some((granted, hold.last().cloned()));
        }
        if let Some(client) = &one.client {
            *self.hosts.entry(client.view.host.clone()).or_default() += 1;
        }
        let pool = || format!("{}/{}", one.server.database, one.server.user);
        self.pools.entry(hold.opening.pool).or_insert_with(pool);
        if self.worst.as_ref().is_none_or(|(worst, _)| one.level > *worst) {
            self.worst = Some((one.level, one.verdict));
        }
    }
}

pub(super) fn site_view(
    id: SiteId,
    site: &Site,
    gathered: Option<&Gathered>,
    sizes: &HashMap<PoolId, u32>,
    plan: &Plan,
    now: Moment,
) -> SiteView {
    let empty = Gathered::default();
    let gathered = gathered.unwrap_or(&empty);
    let may_see = plan.own.ledger_statements != Statements::Off;
    let shown = |text: Option<&Text>| text.filter(|_| may_see).map(redacted).unwrap_or_default();
    let mut hosts: Vec<_> = gathered.hosts.iter().map(|(host, count)| (host.clone(), *count)).collect();
    hosts.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    hosts.truncate(HOSTS);
    let mut pools: Vec<_> = gathered.pools.values().cloned().collect();
    pools.sort();
    let percentile = |per_mille| Duration::from_micros(site.times.percentile_us(per_mille));
    SiteView {
        site: id.0,
        application: escaped(&site.application),
        tags: tags(&site.tags),
        tags_from_prepare: site.tags_from_prepare,
        statement: shown(site.statement.as_ref()),
        last_statement: shown(gathered.oldest.as_ref().and_then(|(_, text)| text.as_ref())),
        pools,
        hosts,
        clients: gathered.clients,
        held: gathered.held,
        pool_size: gathered.pools.keys().filter_map(|pool| sizes.get(pool)).sum(),
        oldest: gathered.oldest.as_ref().map_or(Duration::ZERO, |(granted, _)| now.since(*granted)),
        idle: gathered.idle,
        held_seconds: site.held_us as f64 / 1e6 + gathered.held_seconds,
        holds: site.holds,
        p50: percentile(500),
        p99: percentile(990),
        p999: percentile(999),
        floors: site.floors().to_vec(),
        unleaked: site.unleaked,
        verdict: gathered.worst.as_ref().map(|(_, verdict)| verdict.clone()).unwrap_or_default(),
    }
}
