//! HBA files and ident maps: a model of what a line means, texts of all sorts, and what reading costs.

use std::net::IpAddr;
use std::time::Duration;

use plimsoll_auth::hba::{Asker, Hba, Replication, Tls, Way};
use plimsoll_auth::ident::{IdentMaps, IdentVerdict};
use plimsoll_auth::{Effect, LineFault};
use proptest::prelude::*;

/// An entry of a column.
#[derive(Clone, Debug)]
enum Entry {
    Word(&'static str),
    Quoted(&'static str),
}

/// A line as it is meant.
#[derive(Clone, Debug)]
struct Meant {
    kind: &'static str,
    databases: Vec<Entry>,
    users: Vec<Entry>,
    ip: IpAddr,
    bits: usize,
}

impl Meant {
    fn text(&self) -> String {
        let column = |entries: &[Entry]| {
            let entries: Vec<String> = entries
                .iter()
                .map(|entry| match entry {
                    Entry::Word(word) => (*word).to_owned(),
                    Entry::Quoted(name) => format!("\"{}\"", name.replace('"', "\"\"")),
                })
                .collect();
            entries.join(" , ")
        };
        let address = match self.kind {
            "local" => String::new(),
            _ => format!("{}/{}", self.ip, self.bits),
        };
        format!("{}\t{} {} {address} md5", self.kind, column(&self.databases), column(&self.users))
    }

    fn means(&self, asker: &Asker<'_>) -> bool {
        let way = match (self.kind, asker.way) {
            ("local", Way::Local) => true,
            ("host", Way::Tcp { ip, .. })
            | ("hostssl", Way::Tcp { ip, tls: Tls::Yes })
            | ("hostnossl", Way::Tcp { ip, tls: Tls::No }) => self.near(ip) || self.near(ip.to_canonical()),
            _ => false,
        };
        let database = self.databases.iter().any(|entry| match (entry, asker.replication) {
            (Entry::Word("replication"), replication) => replication == Replication::Physical,
            (_, Replication::Physical) => false,
            (Entry::Word("all"), _) => true,
            (Entry::Word("sameuser"), _) => asker.database == asker.user,
            (Entry::Word(name) | Entry::Quoted(name), _) => *name == asker.database,
        });
        let user = self.users.iter().any(|entry| match entry {
            Entry::Word("all") => true,
            Entry::Word("sameuser") => asker.database == asker.user,
            Entry::Word(name) | Entry::Quoted(name) => *name == asker.user,
        });
        way && database && user
    }

    /// Bit by bit; what the address has beyond the mask, no client has.
    fn near(&self, ip: IpAddr) -> bool {
        let (mine, its) = (digits(self.ip), digits(ip));
        mine.len() == its.len()
            && mine[..self.bits] == its[..self.bits]
            && mine[self.bits..].chars().all(|digit| digit == '0')
    }
}

/// An address in binary digits.
fn digits(ip: IpAddr) -> String {
    let bytes = match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    bytes.iter().map(|byte| format!("{byte:08b}")).collect()
}

const NAMES: [&str; 6] = ["a", "b", "all", "sameuser", "replication", "q\"#, q"];

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let entry = prop_oneof![
        prop::sample::select(&NAMES[..5]).prop_map(Entry::Word),
        prop::sample::select(&NAMES[..]).prop_map(Entry::Quoted),
    ];
    prop::collection::vec(entry, 1..4)
}

/// Addresses that are near each other, so that masks make a difference.
fn ips() -> impl Strategy<Value = IpAddr> {
    let texts = ["10.0.0.0", "10.0.0.1", "10.128.0.0", "0.0.0.0", "::", "::1", "fd00::", "fd00::8000:0:0:1"];
    let mapped = ["::ffff:10.0.0.0", "::ffff:10.0.0.1"];
    let all: Vec<IpAddr> =
        texts.iter().chain(&mapped).map(|text| text.parse().expect("an address")).collect();
    prop::sample::select(all)
}

fn lines() -> impl Strategy<Value = Meant> {
    let kind = prop::sample::select(&["local", "host", "hostssl", "hostnossl"][..]);
    (kind, entries(), entries(), ips(), 0_usize..=128).prop_map(|(kind, databases, users, ip, bits)| {
        let bits = if ip.is_ipv4() { bits / 4 } else { bits };
        Meant { kind, databases, users, ip, bits }
    })
}

fn ways() -> impl Strategy<Value = Way> {
    let tls = prop_oneof![Just(Tls::Yes), Just(Tls::No)];
    prop_oneof![Just(Way::Local), (ips(), tls).prop_map(|(ip, tls)| Way::Tcp { ip, tls })]
}

fn replications() -> impl Strategy<Value = Replication> {
    prop_oneof![Just(Replication::No), Just(Replication::Physical), Just(Replication::Logical)]
}

/// Texts of all sorts, most of them nearly a file.
fn texts() -> impl Strategy<Value = String> {
    let words = "local|host|hostssl|all|sameuser|replication|samerole|\\+r|@f|@|10\\.0\\.0\\.0(/[0-9]{0,3})?|::1/128|\
                 255\\.0\\.0\\.0|trust|md5|peer|ldap|map=m|map|,|\"|\"\"|#|\\\\|\r|\n|\t|[a-z\"]{1,4}|\\PC";
    let nearly = prop::collection::vec(words, 0..30).prop_map(|words| words.join(" "));
    prop_oneof![nearly, "(local|host) all all( (all|::/0))? (trust|peer map=m)\n?", "\\PC*", any::<String>()]
}

/// That faults are in order, name lines there are, and say something.
fn check_faults(text: &str, kind: &str, faults: &[LineFault]) -> Result<(), TestCaseError> {
    let lines = text.split('\n').count();
    prop_assert!(faults.is_sorted_by_key(|fault| fault.line));
    for fault in faults {
        prop_assert!((1..=lines).contains(&(fault.line as usize)), "{fault:?}");
        let start = format!("{kind} line {}: ", fault.line);
        prop_assert!(fault.message.len() > start.len() && fault.message.starts_with(&start), "{fault:?}");
    }
    Ok(())
}

proptest! {
    #[test]
    fn the_rule_that_is_found_is_the_first_that_is_meant(
        meant in prop::collection::vec(lines(), 0..12), way in ways(), replication in replications(),
        database in prop::sample::select(&NAMES[..]), user in prop::sample::select(&NAMES[..]),
    ) {
        let text = meant.iter().map(|line| line.text() + "\n").collect::<String>();
        let (hba, faults) = Hba::parse(&text, &mut |_| Err(std::io::ErrorKind::NotFound.into()));
        prop_assert!(faults.iter().all(|fault| fault.effect == Effect::Kept), "{:?}", faults);
        let asker = Asker { way, database, user, replication };
        let expected = (1..).zip(&meant).find(|(_, line)| line.means(&asker)).map(|(number, _)| number);
        prop_assert_eq!(hba.find(&asker).map(|rule| rule.line), expected, "{}", text);
    }

    #[test]
    fn no_text_panics(text in texts(), file in texts(), way in ways(), replication in replications()) {
        let (mut hba, faults) = Hba::parse(&text, &mut |_| Ok(file.clone()));
        check_faults(&text, "hba", &faults)?;
        prop_assert!(hba.rules().is_sorted_by_key(|rule| rule.line));
        let asker = Asker { way, database: "a", user: "a", replication };
        if let Some(found) = hba.find(&asker) {
            // The line alone says the same.
            let line = text.split('\n').nth(found.line as usize - 1).expect("a line of the text");
            let (alone, _) = Hba::parse(line, &mut |_| Ok(file.clone()));
            prop_assert!(alone.find(&asker).is_some(), "{}", line);
        }
        let (maps, faults) = IdentMaps::parse(&text);
        check_faults(&text, "ident", &faults)?;
        hba.retain_known_maps(&maps);
        for rule in hba.rules() {
            if let Some(map) = &rule.map {
                prop_assert_ne!(maps.check(map, "a", "a"), IdentVerdict::NoSuchMap);
            }
        }
    }

    #[test]
    fn maps_allow_what_is_written_and_nothing_else(
        written in prop::collection::vec((0..3_usize, 0..NAMES.len(), 0..NAMES.len()), 0..10),
        map in 0..3_usize, system in 0..NAMES.len(), login in 0..NAMES.len(),
    ) {
        const MAPS: [&str; 3] = ["m", "n", "o"];
        let quoted = |i: usize| NAMES[i].replace('"', "\"\"");
        let text: String = written
            .iter()
            .map(|(map, system, login)| format!("{} \"{}\" \"{}\"\n", MAPS[*map], quoted(*system), quoted(*login)))
            .collect();
        let (maps, faults) = IdentMaps::parse(&text);
        prop_assert_eq!(faults, []);
        let expected = if written.contains(&(map, system, login)) {
            IdentVerdict::Allowed
        } else if written.iter().any(|(there, ..)| *there == map) {
            IdentVerdict::NoMatch
        } else {
            IdentVerdict::NoSuchMap
        };
        prop_assert_eq!(maps.check(MAPS[map], NAMES[system], NAMES[login]), expected, "{}", text);
    }
}

/// The shortest of some runs.
fn shortest(mut run: impl FnMut()) -> Duration {
    (0..5)
        .map(|_| {
            let begin = cpu_time();
            run();
            cpu_time() - begin
        })
        .min()
        .expect("five runs")
}

/// What this thread has had of a processor: others on the machine are not in it.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("a time since the thread began")
}

/// Sixteen times the text may cost 64 times as much on a busy machine; were a line to look at all others, it would
/// cost 256 times as much.
#[test]
fn reading_costs_as_much_as_there_is_to_read() {
    let lines = |count: usize| -> String {
        (0..count)
            .map(|i| format!("host db{i},db{i}x \"u{i}\" 10.{}.{}.0/24 md5\n", i / 250 % 250, i % 250))
            .collect()
    };
    let list = |count: usize| (0..count).map(|i| format!("u{i}")).collect::<Vec<_>>().join(",");
    let maps = |count: usize| (0..count).map(|i| format!("m sys{i} u{i}\n")).collect::<String>();
    let parse = |text: &str| {
        let (hba, faults) = Hba::parse(text, &mut |_| Err(std::io::ErrorKind::NotFound.into()));
        assert_eq!((hba.rules().is_empty(), faults.len()), (false, 0));
    };
    let ratio = |few: Duration, many: Duration| many.as_secs_f64() / few.as_secs_f64().max(1e-6);
    let cost = |text: String| shortest(|| parse(&text));
    let ratios = [
        ratio(cost(lines(1_000)), cost(lines(16_000))),
        ratio(
            cost(format!("local all {} md5", list(1_000))),
            cost(format!("local all {} md5", list(16_000))),
        ),
        {
            let cost = |text: String| shortest(|| assert_eq!(IdentMaps::parse(&text).1, []));
            ratio(cost(maps(1_000)), cost(maps(16_000)))
        },
    ];
    assert!(ratios.iter().all(|ratio| *ratio < 64.0), "{ratios:?}");
}

/// The examples of `docs/hba.md` are read as they stand, and fit each other.
#[test]
fn the_documented_examples_are_read() {
    let page = include_str!("../../../docs/hba.md");
    let examples: Vec<&str> = page.split("```").skip(1).step_by(2).collect();
    let [hba, ident] = examples[..] else { panic!("two examples, not {}", examples.len()) };
    let (maps, faults) = IdentMaps::parse(ident);
    assert_eq!(faults, []);
    assert_eq!(maps.check("admins", "root", "postgres"), IdentVerdict::Allowed);
    let (mut hba, faults) = Hba::parse(hba, &mut |path| match path {
        "certusers" => Ok("app".to_owned()),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    });
    assert_eq!(faults, []);
    assert_eq!(hba.retain_known_maps(&maps), []);
    assert_eq!(hba.rules().len(), 6);
}
