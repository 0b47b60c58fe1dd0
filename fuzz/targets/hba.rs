//! HBA files and ident maps.
//!
//! Input: files one after the other, with a byte 1 between them: the HBA file, the ident map, and files of names, which
//! are called "0" to "9". Besides not panicking: faults name lines there are, a line means the same whatever stands
//! around it, and no line asks for a map that is not there.

#![no_main]

use std::io::{Error, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;
use plimsoll_auth::LineFault;
use plimsoll_auth::hba::{Asker, Hba, Replication, Tls, Way};
use plimsoll_auth::ident::{IdentMaps, IdentVerdict};

const NAMES: [&str; 4] = ["a", "b", "all", "replication"];

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let mut files = text.split('\u{1}');
    let (hba_text, ident_text) = (files.next().unwrap_or_default(), files.next().unwrap_or_default());
    let names: Vec<&str> = files.collect();
    let (mut hba, faults) = parse(hba_text, &names);
    check_faults("hba", hba_text, &faults);
    for way in ways() {
        check_found(&hba, hba_text, &names, way);
    }
    let (maps, faults) = IdentMaps::parse(ident_text);
    check_faults("ident", ident_text, &faults);
    let before = hba.rules().len();
    assert_eq!(hba.retain_known_maps(&maps).len(), before - hba.rules().len());
    for map in hba.rules().iter().filter_map(|rule| rule.map.as_deref()) {
        assert_ne!(maps.check(map, "a", "a"), IdentVerdict::NoSuchMap);
    }
    assert!(!format!("{hba:?}{maps:?}").is_empty());
});

fn parse(text: &str, names: &[&str]) -> (Hba, Vec<LineFault>) {
    Hba::parse(text, &mut |path| {
        let file = path.parse().ok().and_then(|number: usize| names.get(number));
        file.map(|text| (*text).to_string()).ok_or_else(|| Error::from(ErrorKind::NotFound))
    })
}

fn ways() -> [Way; 5] {
    let tcp = |ip: IpAddr, tls| Way::Tcp { ip, tls };
    let four = Ipv4Addr::new(10, 0, 0, 1);
    [
        Way::Local,
        tcp(four.into(), Tls::No),
        tcp(four.to_ipv6_mapped().into(), Tls::No),
        tcp(Ipv6Addr::LOCALHOST.into(), Tls::No),
        tcp(four.into(), Tls::Yes),
    ]
}

fn check_faults(kind: &str, text: &str, faults: &[LineFault]) {
    let lines = text.split('\n').count();
    // An address and the options behind it.
    assert!(faults.len() <= 2 * lines);
    assert!(faults.is_sorted_by_key(|fault| fault.line));
    for fault in faults {
        assert!((1..=lines).contains(&(fault.line as usize)), "{fault}");
        assert!(fault.message.starts_with(&format!("{kind} line {}: ", fault.line)), "{fault}");
        assert!(fault.message.len() < 1000 && !fault.message.contains('\n'), "{fault}");
    }
}

/// Who is found by the whole file is found by that line alone, and by no line before it.
fn check_found(hba: &Hba, text: &str, names: &[&str], way: Way) {
    for database in NAMES {
        for replication in [Replication::No, Replication::Physical, Replication::Logical] {
            let asker = Asker { way, database, user: "a", replication };
            let Some(found) = hba.find(&asker) else { continue };
            let index = found.line as usize - 1;
            let line = text.split('\n').nth(index).expect("a rule stands on a line of its file");
            assert!(parse(line, names).0.find(&asker).is_some(), "{line}");
            let before: Vec<&str> = text.split('\n').take(index).collect();
            assert!(parse(&before.join("\n"), names).0.find(&asker).is_none(), "{line}");
        }
    }
}
