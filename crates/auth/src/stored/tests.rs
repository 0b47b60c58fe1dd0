use super::*;

const SALT: &str = "W22ZaJ0SNY7soEsUEjb6gQ==";
const KEY: &str = "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

fn kind(text: &str) -> &'static str {
    match Stored::parse(text) {
        Stored::Plain(secret) => {
            assert!(secret.matches(text.as_bytes()), "kept as written: {text:?}");
            "plain"
        }
        Stored::Md5(secret) => {
            assert!(secret.matches(text.as_bytes()), "kept as written: {text:?}");
            "md5"
        }
        Stored::Scram(_) => "scram",
    }
}

#[test]
fn md5_secrets_are_md5_and_32_lower_case_digits() {
    assert_eq!(kind("md5d41d8cd98f00b204e9800998ecf8427e"), "md5");
    for text in [
        "md5",
        "md5d41d8cd98f00b204e9800998ecf8427",
        "md5d41d8cd98f00b204e9800998ecf8427e0",
        "md5D41D8CD98F00B204E9800998ECF8427E",
        "MD5d41d8cd98f00b204e9800998ecf8427e",
        "md5d41d8cd98f00b204e9800998ecf8427g",
        "d41d8cd98f00b204e9800998ecf8427e",
    ] {
        assert_eq!(kind(text), "plain", "{text:?}");
    }
}

#[test]
fn scram_secrets_have_exactly_their_shape() {
    let whole = format!("SCRAM-SHA-256$4096:{SALT}${KEY}:{KEY}");
    let Stored::Scram(verifier) = Stored::parse(&whole) else { panic!("not recognised: {whole}") };
    assert_eq!((verifier.iterations, verifier.salt.len()), (4096, 16));
    assert!(verifier.stored_key.matches(&STANDARD.decode(KEY).expect("base64")));

    let salt_max = STANDARD.encode([1; SALT_BYTES_MAX]);
    let salt_long = STANDARD.encode([1; SALT_BYTES_MAX + 1]);
    assert_eq!(kind(&format!("SCRAM-SHA-256$1:{salt_max}${KEY}:{KEY}")), "scram");
    for text in [
        String::new(),
        "SCRAM-SHA-256".to_owned(),
        "SCRAM-SHA-256$".to_owned(),
        format!("SCRAM-SHA-1$4096:{SALT}${KEY}:{KEY}"),
        format!("scram-sha-256$4096:{SALT}${KEY}:{KEY}"),
        format!("SCRAM-SHA-256$0:{SALT}${KEY}:{KEY}"),
        format!("SCRAM-SHA-256$:{SALT}${KEY}:{KEY}"),
        format!("SCRAM-SHA-256$-1:{SALT}${KEY}:{KEY}"),
        format!("SCRAM-SHA-256$10000001:{SALT}${KEY}:{KEY}"),
        format!("SCRAM-SHA-256$4096:${KEY}:{KEY}"),
        format!("SCRAM-SHA-256$4096:{salt_long}${KEY}:{KEY}"),
        format!("SCRAM-SHA-256$4096:W22${KEY}:{KEY}"),
        format!("SCRAM-SHA-256$4096:{SALT}${KEY}"),
        format!("SCRAM-SHA-256$4096:{SALT}$AAAA:{KEY}"),
        format!("SCRAM-SHA-256$4096:{SALT}${KEY}:AAAA"),
        format!("SCRAM-SHA-256$4096:{SALT}${KEY}:{KEY}$"),
        format!("SCRAM-SHA-256$4096:{SALT}${KEY}:{KEY}:"),
        format!(" SCRAM-SHA-256$4096:{SALT}${KEY}:{KEY}"),
    ] {
        assert_eq!(kind(&text), "plain", "{text:?}");
    }
}

/// Passwords of all sorts, and what pg_authid of PostgreSQL 15 held after `CREATE ROLE … PASSWORD`: salt, StoredKey
/// and ServerKey, after 4096 rounds.
const POSTGRESQL_SECRETS: [(&str, &str); 11] = [
    (
        "pencil",
        "N7GHdcrvuxyP/OyQs6heGQ==$xTVC81SsbPzX742PdX6832CunpahQZb/w8YrWHCJiT4=:rkzpmNrYNOuM1jysq4OQQKfU2DUkBpq2VVh17KjmF/M=",
    ),
    (
        "I\u{ad}X",
        "vzoagyPK+gfk4bVj0WYHFg==$53RIKOY9SZ+/Amsqsj2V4xvVpmzJ11ymAJ/Gw/CHkhg=:dLMKDdTdgkdP1WpLZuFt55h+PrbYGdYspwUzu9ZrNlg=",
    ),
    (
        "a\u{a0}b",
        "uDQ+cPE2aMptf+Nel86J7w==$9KNfZabS1rHWnea4rPAHEdQ8SsSqQOpRkwGXXBh5g40=:HWj9Gw+h8NyR65f1CI4wl2Re0QNsQoABOt1ryJPhhnk=",
    ),
    (
        "\u{1f100}",
        "0rdI743AzyBeZwdn3JCATw==$iR0uRNarURydrxFOI73zrCnSdjLT5S8g8uvX/XKe4tA=:+5Etha7Qt4Ua+bp+5jgRRvKVa5UYOQPsmfNkJKWG/HQ=",
    ),
    (
        "a\u{340}",
        "9UIte97KSJtnnTcdskbPLQ==$udEzdMNjWRiCfURrfFY7LtnQ0JBf76Ykds+c/fQNmdE=:L0f15f3kjMue59jMcWJWUvgOUziu48oQG6nyo76rV94=",
    ),
    (
        "e\u{301}",
        "ZrJxmDK2g6WjELq3sTJa6w==$qu8cWtho738pZuL03hqbNozPmyOZ88ozLw8rDYNgiW4=:Iig72ftoHU4ARgVymXT5JZZBjvOnkCoYKM8kZoT2k8s=",
    ),
    (
        "\u{ad}",
        "4w/YzWxb2BiUFPH/PO517A==$3P9QeW3PO1S1pxTPjbbDpvetjphAJYNZQVcyeYs8+AU=:yVsizuQv4x6CBu0RhpQulJu/ggtpt6xXx0Zj4YPGWmM=",
    ),
    (
        "\u{627}1",
        "pC4QizXTvm7Z8NZznkGiDg==$TM6IK20S2KgdQJqK5kO9YKgj+ultC4r8GQTRPS9BNGc=:9OcfbMkn5csNlyQznAhoyLU16EvDr4X2A+DmR5hY62o=",
    ),
    (
        "\u{2168}",
        "biOpKd+UNLAI32BPABqh/w==$P66eTbGsxbJhuExYd0yeUCzUO1tj0LizQwUYeqXgLnQ=:lsKIBLDyqvjgG086te35/YFAvhlPJavh9r93HGP6PM8=",
    ),
    (
        "p\u{e4}ss\u{1f600}",
        "FK6A/Ro4mEU7kHnDEQiytA==$Ob7B6nx3/fxqhk2kYFRRcYVC2BM1mtEdCeU4FwGDjCY=:0w3OoEc3xOFj2Llp4s7ohitjWW7hl2a6qPzl+d6VxxU=",
    ),
    (
        "\u{1}x",
        "VWPw0ABwgvUQRB65Vb9jrg==$jMatriBjb0TEfwlEM1NGTYYavYFQtUo2k5CaafjK1Qo=:uSqoQ3hsBeufFiA2xLDkL9e6GY9PVEq3nK0v1LdDzFo=",
    ),
];

#[test]
fn verifiers_are_those_of_postgresql() {
    for (password, rest) in POSTGRESQL_SECRETS {
        let secret = format!("SCRAM-SHA-256$4096:{rest}");
        let Stored::Scram(verifier) = Stored::parse(&secret) else { panic!("not recognised: {secret}") };
        assert_eq!(scram_verifier(password, &verifier.salt, verifier.iterations), secret);
    }
}

#[test]
fn impossible_secrets_match_nothing() {
    assert!(!Stored::impossible().can_match());
    assert!(!Stored::parse("").can_match());
    assert!(Stored::parse("x").can_match());
}

#[test]
fn verifiers_made_with_absurd_rounds_are_brought_inside() {
    assert!(scram_verifier("x", b"salt", 0).starts_with("SCRAM-SHA-256$1:"));
}

#[test]
fn debug_shows_no_secret() {
    let scram = format!("SCRAM-SHA-256$4096:{SALT}${KEY}:{KEY}");
    for text in ["hunter2", "md5d41d8cd98f00b204e9800998ecf8427e", scram.as_str()] {
        let shown = format!("{:?}", Stored::parse(text));
        assert!(!shown.contains("hunter2") && !shown.contains("d41d8cd9") && !shown.contains(KEY), "{shown}");
    }
}
