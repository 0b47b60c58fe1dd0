use super::*;

#[test]
fn a_map_says_who_may_log_in_as_whom() {
    let text =
        "# maps\nm alice app\nm bob \"all\"\nm carol all\nother alice \"a b\"\n\nbroken\nm x,y z\nm a b c";
    let (maps, faults) = IdentMaps::parse(text);
    let lines: Vec<u32> = faults.iter().map(|fault| fault.line).collect();
    assert_eq!(lines, [7, 8, 9], "{faults:?}");
    let cases = [
        ("m", "alice", "app", IdentVerdict::Allowed),
        ("m", "alice", "all", IdentVerdict::NoMatch),
        // In quotes it is a name.
        ("m", "bob", "all", IdentVerdict::Allowed),
        ("m", "bob", "app", IdentVerdict::NoMatch),
        ("m", "carol", "anybody", IdentVerdict::Allowed),
        ("other", "alice", "a b", IdentVerdict::Allowed),
        ("other", "alice", "app", IdentVerdict::NoMatch),
        ("none", "alice", "app", IdentVerdict::NoSuchMap),
    ];
    for (map, system_user, login, verdict) in cases {
        assert_eq!(maps.check(map, system_user, login), verdict, "{map} {system_user} {login}");
    }
}
