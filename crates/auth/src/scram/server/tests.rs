use super::*;
use crate::scram::{Keys, prepare, salted_password};

const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const PROOF: &str = "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

fn begin(client_first: &str) -> (Exchange, String) {
    let first = ClientFirst::read(client_first.as_bytes()).expect("a sound client-first");
    let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64");
    let (exchange, message) = Exchange::begin(first, SERVER_NONCE, &salt, 4096);
    (exchange, String::from_utf8(message).expect("text"))
}

fn final_error(message: &str) -> &'static str {
    let (exchange, _) = begin("n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    match exchange.read_final(message.as_bytes()) {
        Ok(_) => panic!("accepted {message:?}"),
        Err(log) => log,
    }
}

/// RFC 7677, section 3.
#[test]
fn rfc_7677_example_from_the_server() {
    let (exchange, message) = begin("n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    assert_eq!(
        message,
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    );
    let proof = exchange
        .read_final(format!("c=biws,r=rOprNGfwEbeRWgbNEkqO{SERVER_NONCE},{PROOF}").as_bytes())
        .expect("a sound client-final");
    let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64");
    let keys = Keys::of(&salted_password(prepare(b"pencil").expose(), &salt, 4096));
    let stored_key = sha256(&keys.client_key);
    assert_eq!(proof.client_key(&stored_key), Some(keys.client_key));
    assert_eq!(proof.client_key(&[0; 32]), None);
    assert_eq!(proof.server_final(&keys.server_key), b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
}

#[test]
fn client_first_is_held_to_its_shape() {
    let long = format!("n,,n=,r={}", "x".repeat(MESSAGE_BYTES_MAX));
    let table = [
        ("", MALFORMED),
        ("n", MALFORMED),
        ("n,", MALFORMED),
        ("n,,", MALFORMED),
        ("x,,n=,r=a", MALFORMED),
        ("p=tls-server-end-point,,n=,r=a", CHANNEL_BINDING),
        ("n,a=admin,n=,r=a", AUTHZID),
        ("n,x=y,n=,r=a", MALFORMED),
        ("n,,m=x,n=,r=a", EXTENSION),
        ("n,,r=a,n=", MALFORMED),
        ("n,,n=", MALFORMED),
        ("n,,n=,r=", MALFORMED),
        ("n,,n=,r=a b", MALFORMED),
        ("n,,n=,r=\u{e9}", MALFORMED),
        ("n,,n=,r=a,", MALFORMED),
        ("n,,n=,r=a,x", MALFORMED),
        (&long, TOO_LONG),
    ];
    for (message, log) in table {
        assert_eq!(ClientFirst::read(message.as_bytes()).err(), Some(log), "{message:?}");
    }
}

#[test]
fn user_names_and_optional_extensions_are_passed_over() {
    for message in ["n,,n=,r=a", "y,,n=,r=a", "n,,n=somebody,r=a", "n,,n=*,r=a,x=y,z="] {
        assert!(ClientFirst::read(message.as_bytes()).is_ok(), "{message:?}");
    }
    assert!(ClientFirst::read(b"n,,n=caf\xe9,r=a").is_ok(), "a name in whatever encoding");
}

#[test]
fn client_final_is_held_to_its_shape() {
    let nonce = format!("r=rOprNGfwEbeRWgbNEkqO{SERVER_NONCE}");
    let long = format!("c=biws,{nonce},x={},{PROOF}", "x".repeat(MESSAGE_BYTES_MAX));
    let table = [
        (String::new(), MALFORMED),
        (format!("c=biws,{nonce}"), MALFORMED),
        (format!("{nonce},c=biws,{PROOF}"), OTHER_BINDING),
        (format!("c=eSws,{nonce},{PROOF}"), OTHER_BINDING),
        (format!("c=biwsAAAA,{nonce},{PROOF}"), OTHER_BINDING),
        (format!("c=biws,{PROOF}"), MALFORMED),
        (format!("c=biws,r=rOprNGfwEbeRWgbNEkqO,{PROOF}"), OTHER_NONCE),
        (format!("c=biws,{nonce}x,{PROOF}"), OTHER_NONCE),
        (format!("c=biws,r=,{PROOF}"), OTHER_NONCE),
        (format!("c=biws,{nonce},,{PROOF}"), MALFORMED),
        (format!("c=biws,{nonce},p="), BAD_PROOF),
        (format!("c=biws,{nonce},p=AAAA"), BAD_PROOF),
        (format!("c=biws,{nonce},{PROOF},x=y"), BAD_PROOF),
        (format!("c=biws,{nonce},{PROOF},{PROOF}"), BAD_PROOF),
        (long, TOO_LONG),
    ];
    for (message, log) in table {
        assert_eq!(final_error(&message), log, "{message:?}");
    }
}

#[test]
fn binding_must_be_said_twice_alike() {
    let nonce = format!("r=rOprNGfwEbeRWgbNEkqO{SERVER_NONCE}");
    let (exchange, _) = begin("y,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    assert!(exchange.read_final(format!("c=eSws,{nonce},{PROOF}").as_bytes()).is_ok());
    let (exchange, _) = begin("y,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    assert_eq!(exchange.read_final(format!("c=biws,{nonce},{PROOF}").as_bytes()).err(), Some(OTHER_BINDING));
}
