use super::*;
use crate::scram::server::{ClientFirst, Exchange};
use crate::stored::scram_verifier;

const USER: &str = "someone";
const MECHANISMS: &[u8] = b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0";

fn login(credential: Credential) -> ServerLogin {
    ServerLogin::new(USER, credential, Random { bytes: [9; 40] })
}

fn plain() -> Credential {
    Credential::Stored(Stored::parse("right"))
}

fn refusal(reply: ServerReply) -> Cause {
    match reply {
        ServerReply::Refuse(cause) => cause,
        reply => panic!("not refused: {reply:?}"),
    }
}

fn initial(reply: ServerReply) -> Vec<u8> {
    match reply {
        ServerReply::SaslInitial(data) => data,
        reply => panic!("no client-first: {reply:?}"),
    }
}

/// Goes on until the proof is out, and returns it with the exchange as the server sees it.
fn proved(login: &mut ServerLogin) -> (Exchange, Vec<u8>) {
    let data = initial(login.handle_challenge(Challenge::Sasl(MECHANISMS)));
    let first = ClientFirst::read(&data).expect("sound");
    let (exchange, message) = Exchange::begin(first, "servernonce", b"salt", 2);
    let reply = match login.handle_challenge(Challenge::SaslContinue(&message)) {
        ServerReply::Compute(job) => login.handle_done(job.run()),
        reply => reply,
    };
    match reply {
        ServerReply::SaslResponse(data) => (exchange, data),
        reply => panic!("no proof: {reply:?}"),
    }
}

fn verifier() -> crate::Verifier {
    match Stored::parse(&scram_verifier("right", b"salt", 2)) {
        Stored::Scram(verifier) => verifier,
        stored => panic!("not a verifier: {stored:?}"),
    }
}

fn server_final(exchange: Exchange, proof: &[u8]) -> Vec<u8> {
    exchange.read_final(proof).expect("sound").server_final(verifier().server_key.expose())
}

#[test]
fn a_whole_exchange_ends_accepted() {
    let mut login = login(plain());
    let (exchange, proof) = proved(&mut login);
    let last = server_final(exchange, &proof);
    assert!(matches!(login.handle_challenge(Challenge::SaslFinal(&last)), ServerReply::Wait));
    assert!(matches!(login.handle_challenge(Challenge::Ok), ServerReply::Accepted));
}

#[test]
fn a_false_signature_is_refused() {
    let mut login = login(plain());
    proved(&mut login);
    let false_one = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
    assert_eq!(refusal(login.handle_challenge(Challenge::SaslFinal(false_one))), Cause::BadServerSignature);
    // And that is the end.
    let cause = refusal(login.handle_challenge(Challenge::Ok));
    assert!(matches!(cause, Cause::ServerProtocol { .. }), "{cause:?}");
}

#[test]
fn acceptance_before_the_servers_proof_is_refused() {
    let mut opened = login(plain());
    initial(opened.handle_challenge(Challenge::Sasl(MECHANISMS)));
    assert_eq!(refusal(opened.handle_challenge(Challenge::Ok)), Cause::BadServerSignature);

    let mut hashing = login(plain());
    let data = initial(hashing.handle_challenge(Challenge::Sasl(MECHANISMS)));
    let (_, message) = Exchange::begin(ClientFirst::read(&data).expect("sound"), "x", b"salt", 2);
    assert!(matches!(hashing.handle_challenge(Challenge::SaslContinue(&message)), ServerReply::Compute(_)));
    assert_eq!(refusal(hashing.handle_challenge(Challenge::Ok)), Cause::BadServerSignature);

    let mut waiting = login(plain());
    proved(&mut waiting);
    assert_eq!(refusal(waiting.handle_challenge(Challenge::Ok)), Cause::BadServerSignature);
}

#[test]
fn a_server_cannot_fall_back_to_a_weaker_method() {
    for weaker in [Challenge::Cleartext, Challenge::Md5([1; 4]), Challenge::Sasl(MECHANISMS)] {
        let mut opened = login(plain());
        initial(opened.handle_challenge(Challenge::Sasl(MECHANISMS)));
        let mut waiting = login(plain());
        proved(&mut waiting);
        let mut answered = login(plain());
        assert!(matches!(answered.handle_challenge(Challenge::Cleartext), ServerReply::Password(_)));
        for mut login in [opened, waiting, answered] {
            let cause = refusal(login.handle_challenge(weaker));
            assert!(matches!(cause, Cause::ServerProtocol { .. }), "{weaker:?}: {cause:?}");
        }
    }
}

#[test]
fn unknown_requests_are_refused() {
    let cause = refusal(login(plain()).handle_challenge(Challenge::Other));
    assert_eq!(cause, Cause::ServerProtocol { what: "unsupported authentication request" });
    for mechanisms in [&b""[..], b"\0", b"SCRAM-SHA-256-PLUS\0", b"SCRAM-SHA-1\0", b"XSCRAM-SHA-256\0"] {
        let cause = refusal(login(plain()).handle_challenge(Challenge::Sasl(mechanisms)));
        assert_eq!(cause, Cause::NoServerMechanism, "{mechanisms:?}");
    }
}

#[test]
fn what_the_server_says_wrong_is_named() {
    let mut first = login(plain());
    let data = initial(first.handle_challenge(Challenge::Sasl(MECHANISMS)));
    let nonce = String::from_utf8(data).expect("text").replace("n,,n=,r=", "");
    let absurd = format!("r={nonce}x,s=c2FsdA==,i=10000001");
    assert_eq!(
        refusal(first.handle_challenge(Challenge::SaslContinue(absurd.as_bytes()))),
        Cause::ServerProtocol { what: "SCRAM iteration count out of range" }
    );
    let mut last = login(plain());
    proved(&mut last);
    assert_eq!(
        refusal(last.handle_challenge(Challenge::SaslFinal(b"e=other-error"))),
        Cause::ServerProtocol { what: "error reported in SCRAM exchange" }
    );
}

#[test]
fn results_out_of_turn_are_refused() {
    let cause = refusal(login(plain()).handle_done(Job::new(b"x", [1].into(), 1).run()));
    assert!(matches!(cause, Cause::ServerProtocol { .. }), "{cause:?}");
}

#[test]
fn keys_need_no_hashing_and_a_password_needs_it_once() {
    let keys = Keys::of(&scram::salted_password(b"right", b"salt", 2));
    let keys =
        ScramKeys { client_key: Secret::new(keys.client_key), server_key: Secret::new(keys.server_key) };
    let mut by_keys = login(Credential::Keys(keys));
    let data = initial(by_keys.handle_challenge(Challenge::Sasl(MECHANISMS)));
    let (exchange, message) = Exchange::begin(ClientFirst::read(&data).expect("sound"), "x", b"salt", 2);
    let ServerReply::SaslResponse(proof) = by_keys.handle_challenge(Challenge::SaslContinue(&message)) else {
        panic!("no proof at once")
    };
    let read = exchange.read_final(&proof).expect("sound");
    assert!(read.client_key(verifier().stored_key.expose()).is_some());
}

#[test]
fn each_credential_answers_what_it_can() {
    let keys = ScramKeys { client_key: Secret::new([1; 32]), server_key: Secret::new([2; 32]) };
    let short = ScramKeys { client_key: Secret::new([1; 31]), server_key: Secret::new([2; 32]) };
    let md5 = Stored::Md5(md5::secret_of(b"right", USER));
    // (credential, answers clear text, answers md5, answers SCRAM)
    let table = [
        (plain(), true, true, true),
        (Credential::Stored(Stored::parse("")), true, true, true),
        (Credential::Stored(md5), false, true, false),
        (Credential::Stored(Stored::Scram(verifier())), false, false, false),
        (Credential::Keys(keys), false, false, true),
        (Credential::Keys(short), false, false, false),
        (Credential::None, false, false, false),
    ];
    for (credential, clear, md5, scram) in table {
        let asked = [
            (Challenge::Cleartext, clear),
            (Challenge::Md5([1; 4]), md5),
            (Challenge::Sasl(MECHANISMS), scram),
        ];
        for (challenge, answers) in asked {
            let reply = login(credential.clone()).handle_challenge(challenge);
            match reply {
                ServerReply::Refuse(cause) => {
                    assert!(!answers, "{credential:?} {challenge:?}");
                    assert_eq!(cause, Cause::WrongPasswordType);
                }
                ServerReply::Password(_) | ServerReply::SaslInitial(_) => {
                    assert!(answers, "{credential:?} {challenge:?}");
                }
                other => panic!("{credential:?} {challenge:?}: {other:?}"),
            }
        }
        // A server that asks for nothing lets everybody in.
        assert!(matches!(login(credential).handle_challenge(Challenge::Ok), ServerReply::Accepted));
    }
}

/// The same figures as PostgreSQL: `md5 || md5(md5(password || user) || salt)`, computed with coreutils' md5sum.
#[test]
fn md5_answers_are_the_same_from_password_and_secret() {
    let secret = Stored::parse("md5416fad93b00c2aaefef39f65f8c4bb69");
    for credential in [plain(), Credential::Stored(secret)] {
        match login(credential).handle_challenge(Challenge::Md5([1, 2, 3, 4])) {
            ServerReply::Password(text) => {
                assert_eq!(String::from_utf8_lossy(&text), "md5c33781056ec2c488fb4c6f95baa1e854")
            }
            reply => panic!("no answer: {reply:?}"),
        }
    }
}

#[test]
fn password_and_md5_secret_win_over_keys_and_keys_over_a_verifier() {
    let keys = ScramKeys { client_key: Secret::new([1; 32]), server_key: Secret::new([2; 32]) };
    let (plain, md5) = (Stored::parse("right"), Stored::Md5(md5::secret_of(b"right", USER)));
    let scram = Stored::Scram(verifier());
    let kind = |stored: Option<&Stored>, keys: Option<&ScramKeys>| match credential_for(stored, keys) {
        Credential::None => "none",
        Credential::Stored(Stored::Plain(_)) => "plain",
        Credential::Stored(Stored::Md5(_)) => "md5",
        Credential::Stored(Stored::Scram(_)) => "scram",
        Credential::Keys(_) => "keys",
    };
    assert_eq!(kind(Some(&plain), Some(&keys)), "plain");
    assert_eq!(kind(Some(&md5), Some(&keys)), "md5");
    assert_eq!(kind(Some(&scram), Some(&keys)), "keys");
    assert_eq!(kind(None, Some(&keys)), "keys");
    assert_eq!(kind(Some(&plain), None), "plain");
    assert_eq!(kind(Some(&scram), None), "scram");
    assert_eq!(kind(None, None), "none");
}

#[test]
fn debug_shows_no_secret() {
    let mut login = login(Credential::Stored(Stored::parse("hunter2")));
    let shown = format!("{login:?} {:?} {login:?}", login.handle_challenge(Challenge::Cleartext));
    assert!(!shown.contains("hunter2") && !shown.contains("104, 117"), "{shown}");
}
