use super::*;

fn chosen(text: &str) -> Vec<&'static str> {
    let suites = tls12(text).expect(text);
    let name = |suite: &SupportedCipherSuite| {
        KNOWN.iter().find(|known| known.suite == *suite).expect("it is of the table").name
    };
    suites.iter().map(name).collect()
}

fn all() -> Vec<&'static str> {
    KNOWN.iter().map(|known| known.name).collect()
}

#[test]
fn words_that_stand_for_everything() {
    for text in [
        "",
        "default",
        "secure",
        "normal",
        "fast",
        "all",
        "compat",
        "legacy",
        "insecure",
        "HIGH:MEDIUM:+3DES:!aNULL",
        "HIGH:!aNULL:!eNULL:!MD5:!RC4:!3DES:!DHE-RSA-AES128-SHA",
        "ECDHE",
        "TLSv1.2+AEAD+ECDHE:TLSv1.2+AEAD+DHE",
        "ALL:!RSA",
        "DEFAULT@SECLEVEL=1",
        "aRSA:ECDSA:-ALL:DEFAULT",
    ] {
        assert_eq!(chosen(text).len(), KNOWN.len(), "{text}");
    }
    assert_eq!(chosen("default"), all());
}

#[test]
fn the_lists_order_is_the_order_of_preference() {
    let text = "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305";
    assert_eq!(chosen(text), ["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"]);
    let text = "AES128+ECDSA:aRSA+AES256";
    assert_eq!(chosen(text), ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384"]);
    assert_eq!(chosen("HIGH:+AES256")[4..], ["ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384"]);
    assert_eq!(chosen("AES128:AES256:@STRENGTH")[0], "ECDHE-ECDSA-AES256-GCM-SHA384");
}

#[test]
fn what_is_killed_stays_away_and_what_is_deleted_may_return() {
    assert_eq!(chosen("!CHACHA20:HIGH").len(), 4);
    assert_eq!(chosen("HIGH:-CHACHA20").len(), 4);
    assert_eq!(chosen("HIGH:-CHACHA20:CHACHA20")[4], "ECDHE-ECDSA-CHACHA20-POLY1305");
    assert_eq!(chosen("AESGCM:!AES128:!ECDSA"), ["ECDHE-RSA-AES256-GCM-SHA384"]);
}

#[test]
fn mistakes_are_named() {
    for (text, word) in [
        ("DHE-RSA-AES256-GCM-SHA384:HIGH", "DHE-RSA-AES256-GCM-SHA384"),
        ("AES128-SHA", "AES128-SHA"),
        ("TLS_AES_256_GCM_SHA384", "tls13_ciphers"),
        ("HIGH:@SECLEVEL=3", "@SECLEVEL=3"),
        ("HIGH:!aNUL", "aNUL"),
        ("HIHG", "HIHG"),
        ("kRSA", "no cipher"),
        ("HIGH:!ALL", "no cipher"),
        (":", "no cipher"),
        ("\u{fc}", "\u{fc}"),
    ] {
        let message = tls12(text).expect_err(text);
        assert!(message.contains(word), "{text}: {message}");
    }
}

#[test]
fn suites_of_tls_13() {
    let all = tls13(None).expect("the default");
    assert_eq!(all.len(), 3);
    assert_eq!(tls13(Some("")).expect("the default"), all);
    let text = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256";
    assert_eq!(
        tls13(Some(text)).expect(text),
        [suite::TLS13_AES_128_GCM_SHA256, suite::TLS13_AES_256_GCM_SHA384]
    );
    let message = tls13(Some("TLS_AES_128_CCM_SHA256")).expect_err("rustls has none");
    assert!(message.contains("TLS_AES_128_CCM_SHA256"), "{message}");
}
