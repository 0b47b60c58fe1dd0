use super::*;
use crate::scram::{Keys, prepare, salted_password};

const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";

fn opening() -> Opening {
    Opening { nonce: NONCE.to_owned(), bare: format!("n=user,r={NONCE}") }
}

fn error_of(message: &str) -> &'static str {
    match opening().read_server_first(message.as_bytes()) {
        Ok(_) => panic!("accepted {message:?}"),
        Err(what) => what,
    }
}

/// RFC 7677, section 3.
#[test]
fn rfc_7677_example_from_the_client() {
    let opening = opening();
    assert_eq!(opening.message(), b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    let first = opening
        .read_server_first(
            b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        )
        .expect("a sound message");
    let keys = Keys::of(&salted_password(prepare(b"pencil").expose(), &first.salt, first.iterations));
    let (message, expected) = first.answer(&keys.client_key, &keys.server_key);
    assert_eq!(
        String::from_utf8_lossy(&message),
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
         p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    );
    let signature =
        read_server_final(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").expect("a signature");
    assert!(expected.matches(&signature));
}

#[test]
fn the_user_name_is_left_out() {
    assert_eq!(Opening::new("abc".to_owned()).message(), b"n,,n=,r=abc");
}

#[test]
fn server_first_is_held_to_its_shape() {
    assert_eq!(error_of(""), MALFORMED);
    assert_eq!(error_of("s=AAAA,r=rOprNGfwEbeRWgbNEkqOx,i=4096"), MALFORMED);
    assert_eq!(error_of("m=x,r=rOprNGfwEbeRWgbNEkqOx,s=AAAA,i=4096"), MALFORMED);
    assert_eq!(error_of("r=rOprNGfwEbeRWgbNEkqOx,s=AAAA,i=4096,x=y"), MALFORMED);
    assert_eq!(error_of("r=rOprNGfwEbeRWgbNEkqOx,s=AAAA"), MALFORMED);
    assert_eq!(error_of(&format!("r={NONCE}{},s=AAAA,i=1", "x".repeat(MESSAGE_BYTES_MAX))), TOO_LONG);
}

#[test]
fn a_nonce_must_extend_ours() {
    assert_eq!(error_of("r=other,s=AAAA,i=4096"), OTHER_NONCE);
    assert_eq!(error_of("r=rOprNGfwEbeRWgbNEkqO,s=AAAA,i=4096"), OTHER_NONCE);
    assert_eq!(error_of("r=rOprNGfwEbeRWgbNEkq,s=AAAA,i=4096"), OTHER_NONCE);
    assert_eq!(error_of("r=rOprNGfwEbeRWgbNEkqO\u{1},s=AAAA,i=4096"), OTHER_NONCE);
}

#[test]
fn absurd_salts_and_rounds_are_refused() {
    let long = STANDARD.encode([1; SALT_BYTES_MAX + 1]);
    for salt in ["", "A", "AAA", "####", &long] {
        assert_eq!(error_of(&format!("r={NONCE}x,s={salt},i=4096")), BAD_SALT, "{salt:?}");
    }
    for rounds in ["0", "", "-1", "4096x", "10000001", "99999999999999999999"] {
        assert_eq!(error_of(&format!("r={NONCE}x,s=AAAA,i={rounds}")), BAD_ITERATIONS, "{rounds:?}");
    }
}

#[test]
fn server_final_is_a_signature_or_an_error() {
    assert_eq!(read_server_final(b"e=invalid-proof"), Err(ERROR));
    for bad in ["", "v=", "v=AAAA", "v", "x=AAAA", "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=,x=y"] {
        assert_eq!(read_server_final(bad.as_bytes()), Err(MALFORMED), "{bad:?}");
    }
}
