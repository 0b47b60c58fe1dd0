//! Both sides of a login against each other: [`ServerLogin`] plays the client of a [`ClientLogin`].

use plimsoll_auth::{
    Ask, Challenge, ClientLogin, ClientReply, Credential, Method, Policy, Random, ScramKeys, ServerLogin,
    ServerReply, Stored, scram_verifier,
};
use plimsoll_types::{Cause, Secret};
use proptest::prelude::*;

const USER: &str = "someone";
const RIGHT: &str = "right p\u{e4}ssword";
const ITERATIONS: u32 = 3;

const PASSWORD_LOG: Option<&str> = Some("password authentication failed");
const MD5_LOG: Option<&str> = Some("SCRAM authentication failed: user has MD5 secret");

/// How a login ended.
#[derive(Debug)]
enum Outcome {
    Accepted(Option<ScramKeys>),
    Refused(Cause, Option<&'static str>),
    /// The client had no answer, or did not believe the pooler.
    ClientGaveUp(Cause),
}

impl Outcome {
    fn keys(self) -> Option<ScramKeys> {
        match self {
            Outcome::Accepted(keys) => keys,
            Outcome::Refused(..) | Outcome::ClientGaveUp(_) => panic!("not accepted: {self:?}"),
        }
    }
}

fn policy() -> Policy {
    Policy { mock_secret: Secret::from_text("drawn at start"), scram_iterations: ITERATIONS }
}

fn random(seed: u8) -> Random {
    Random { bytes: std::array::from_fn(|i| seed.wrapping_mul(31).wrapping_add(i as u8)) }
}

fn scram(password: &str) -> Stored {
    Stored::parse(&scram_verifier(password, b"0123456789abcdef", ITERATIONS))
}

/// The md5 secret of [`RIGHT`] for [`USER`], computed with coreutils' md5sum.
fn md5() -> Stored {
    Stored::parse("md58664560bad892e5c97108f274fcc7d49")
}

fn password(text: &str) -> Credential {
    Credential::Stored(Stored::Plain(Secret::from_text(text)))
}

/// A login as both sides live through it, and as the wire and the workers see it.
struct Dialogue {
    client: ServerLogin,
    pooler: ClientLogin,
    trace: Vec<String>,
}

/// Plays a login to its end. The trace holds the kind and length of every message and every job.
fn play(method: Method, stored: Option<&Stored>, credential: Credential, seed: u8) -> (Outcome, Vec<String>) {
    let (pooler, mut reply) = ClientLogin::start(method, USER, stored, &policy(), random(seed));
    let client = ServerLogin::new(USER, credential, random(seed.wrapping_add(100)));
    let mut dialogue = Dialogue { client, pooler, trace: Vec::new() };
    for _ in 0..10 {
        reply = match dialogue.step(reply) {
            Ok(reply) => reply,
            Err(outcome) => return (outcome, dialogue.trace),
        };
    }
    panic!("no end: {:?}", dialogue.trace);
}

impl Dialogue {
    fn step(&mut self, reply: ClientReply) -> Result<ClientReply, Outcome> {
        match reply {
            ClientReply::Ask(ask) => {
                let body = self.answer(&ask)?;
                Ok(self.pooler.handle_message(&body))
            }
            ClientReply::Compute(job) => {
                self.trace.push(format!("{job:?}"));
                Ok(self.pooler.handle_done(job.run()))
            }
            ClientReply::Accept { last, keys } => {
                self.trace.push("accept".to_owned());
                if let Some(Ask::SaslFinal(data)) = &last {
                    match self.client.handle_challenge(Challenge::SaslFinal(data)) {
                        ServerReply::Wait => {}
                        other => panic!("after SASLFinal: {other:?}"),
                    }
                }
                match self.client.handle_challenge(Challenge::Ok) {
                    ServerReply::Accepted => Err(Outcome::Accepted(keys)),
                    ServerReply::Refuse(cause) => Err(Outcome::ClientGaveUp(cause)),
                    other => panic!("after AuthenticationOk: {other:?}"),
                }
            }
            ClientReply::Refuse { cause, log } => {
                self.trace.push(format!("refuse {cause:?} {log:?}"));
                Err(Outcome::Refused(cause, log))
            }
        }
    }

    fn answer(&mut self, ask: &Ask) -> Result<Vec<u8>, Outcome> {
        let mut reply = match ask {
            Ask::Cleartext => self.client.handle_challenge(Challenge::Cleartext),
            Ask::Md5(salt) => self.client.handle_challenge(Challenge::Md5(*salt)),
            Ask::Sasl => self.client.handle_challenge(Challenge::Sasl(b"SCRAM-SHA-256\0")),
            Ask::SaslContinue(data) => self.client.handle_challenge(Challenge::SaslContinue(data)),
            Ask::SaslFinal(_) => panic!("SASLFinal comes with the acceptance"),
        };
        self.trace.push(kind_of(ask));
        if let ServerReply::Compute(job) = reply {
            reply = self.client.handle_done(job.run());
        }
        match reply {
            ServerReply::Password(text) => Ok([&text[..], &[0]].concat()),
            ServerReply::SaslInitial(data) => {
                let length = i32::try_from(data.len()).expect("short");
                Ok([b"SCRAM-SHA-256\0", &length.to_be_bytes()[..], &data].concat())
            }
            ServerReply::SaslResponse(data) => Ok(data),
            ServerReply::Refuse(cause) => Err(Outcome::ClientGaveUp(cause)),
            ServerReply::Compute(_) | ServerReply::Wait | ServerReply::Accepted => {
                panic!("no answer: {reply:?}")
            }
        }
    }
}

fn kind_of(ask: &Ask) -> String {
    match ask {
        Ask::Cleartext => "clear text".to_owned(),
        Ask::Md5(_) => "md5".to_owned(),
        Ask::Sasl => "sasl".to_owned(),
        Ask::SaslContinue(data) => {
            let text = String::from_utf8_lossy(data);
            let lengths: Vec<usize> = text.split(',').map(str::len).collect();
            format!("continue {lengths:?} {:?}", text.rsplit(',').next())
        }
        Ask::SaslFinal(data) => format!("final {}", data.len()),
    }
}

/// What a row of the table expects.
#[derive(Clone, Copy, Debug)]
enum Expected {
    In,
    InWithKeys,
    Trust,
    Password,
    Empty,
    Sasl,
    Md5Secret,
}

fn check(row: &str, expected: Expected, outcome: Outcome) {
    let fits = match (expected, &outcome) {
        (Expected::In, Outcome::Accepted(keys)) => keys.is_none(),
        (Expected::InWithKeys, Outcome::Accepted(keys)) => keys.is_some(),
        (Expected::Trust, Outcome::Refused(cause, log)) => (cause, *log) == (&Cause::TrustFailed, None),
        (Expected::Password, Outcome::Refused(cause, log)) => (cause, *log) == (&Cause::PasswordFailed, None),
        (Expected::Empty, Outcome::Refused(cause, log)) => (cause, *log) == (&Cause::EmptyPassword, None),
        (Expected::Sasl, Outcome::Refused(cause, log)) => (cause, *log) == (&Cause::SaslFailed, PASSWORD_LOG),
        (Expected::Md5Secret, Outcome::Refused(cause, log)) => (cause, *log) == (&Cause::SaslFailed, MD5_LOG),
        (_, Outcome::Accepted(_) | Outcome::Refused(..) | Outcome::ClientGaveUp(_)) => false,
    };
    assert!(fits, "{row}: expected {expected:?}, got {outcome:?}");
}

/// Every method with every kind of secret, answered with the right, a wrong and an empty password.
#[test]
fn every_method_with_every_secret() {
    use Expected::{Empty, In, InWithKeys, Md5Secret, Password, Sasl, Trust};
    let nobody = None;
    let plain = Some(Stored::parse(RIGHT));
    let empty = Some(Stored::parse(""));
    let null = Some(Stored::impossible());
    let (md5, scram) = (Some(md5()), Some(scram(RIGHT)));
    // (method, stored, [right, wrong, empty])
    let table = [
        (Method::Trust, &nobody, [Trust; 3]),
        (Method::Trust, &plain, [In; 3]),
        (Method::Trust, &empty, [In; 3]),
        (Method::Trust, &null, [In; 3]),
        (Method::Trust, &md5, [In; 3]),
        (Method::Trust, &scram, [In; 3]),
        (Method::Any, &nobody, [In; 3]),
        (Method::Any, &plain, [In; 3]),
        (Method::Any, &empty, [In; 3]),
        (Method::Any, &md5, [In; 3]),
        (Method::Any, &scram, [In; 3]),
        (Method::Plain, &nobody, [Password, Password, Empty]),
        (Method::Plain, &plain, [In, Password, Empty]),
        (Method::Plain, &empty, [Password, Password, Empty]),
        (Method::Plain, &null, [Password, Password, Empty]),
        (Method::Plain, &md5, [In, Password, Empty]),
        (Method::Plain, &scram, [In, Password, Empty]),
        (Method::Md5, &nobody, [Password; 3]),
        (Method::Md5, &plain, [In, Password, Password]),
        (Method::Md5, &empty, [Password; 3]),
        (Method::Md5, &null, [Password; 3]),
        (Method::Md5, &md5, [In, Password, Password]),
        (Method::Md5, &scram, [InWithKeys, Sasl, Sasl]),
        (Method::Scram, &nobody, [Sasl; 3]),
        (Method::Scram, &plain, [In, Sasl, Sasl]),
        (Method::Scram, &empty, [Sasl; 3]),
        (Method::Scram, &null, [Sasl; 3]),
        (Method::Scram, &md5, [Md5Secret; 3]),
        (Method::Scram, &scram, [InWithKeys, Sasl, Sasl]),
    ];
    for (method, stored, expected) in table {
        for (text, expected) in [RIGHT, "wrong", ""].into_iter().zip(expected) {
            let (outcome, _) = play(method, stored.as_ref(), password(text), 1);
            check(&format!("{method:?} {stored:?} {text:?}"), expected, outcome);
        }
    }
}

#[test]
fn captured_keys_log_in_again_and_need_no_password() {
    let stored = scram(RIGHT);
    let (outcome, _) = play(Method::Scram, Some(&stored), password(RIGHT), 1);
    let keys = outcome.keys().expect("keys of a stored verifier");
    let (outcome, _) = play(Method::Scram, Some(&stored), Credential::Keys(keys.clone()), 2);
    let again = outcome.keys().expect("the same keys");
    assert!(again.client_key.matches(keys.client_key.expose()));
    assert!(again.server_key.matches(keys.server_key.expose()));
    // Of another password, or another salt, they open nothing.
    let other_salt = Stored::parse(&scram_verifier(RIGHT, b"another salt", ITERATIONS));
    for other in [scram("other"), other_salt] {
        let (outcome, _) = play(Method::Scram, Some(&other), Credential::Keys(keys.clone()), 3);
        check("other verifier", Expected::Sasl, outcome);
    }
}

#[test]
fn keys_of_an_ad_hoc_verifier_are_not_handed_out_and_open_nothing() {
    let stored = Stored::parse(RIGHT);
    let (outcome, _) = play(Method::Scram, Some(&stored), password(RIGHT), 1);
    assert!(outcome.keys().is_none());
    // The keys that fitted that login, as an eavesdropper who knows the password would compute them …
    let salt = &random(1).bytes[18..34];
    let verifier = Stored::parse(&scram_verifier(RIGHT, salt, ITERATIONS));
    let keys = play(Method::Scram, Some(&verifier), password(RIGHT), 2).0.keys().expect("keys");
    check("same salt", Expected::In, play(Method::Scram, Some(&stored), Credential::Keys(keys.clone()), 1).0);
    // … do not fit the next one, whose salt is another.
    check("next salt", Expected::Sasl, play(Method::Scram, Some(&stored), Credential::Keys(keys), 2).0);
}

#[test]
fn a_client_that_knows_only_the_verifier_cannot_enter() {
    let stored = scram(RIGHT);
    let (outcome, _) = play(Method::Scram, Some(&stored), Credential::Stored(stored.clone()), 1);
    assert!(matches!(outcome, Outcome::ClientGaveUp(Cause::WrongPasswordType)), "{outcome:?}");
}

/// Messages, their lengths, jobs and their rounds are the same whether a user exists or not.
#[test]
fn who_does_not_exist_looks_like_who_does() {
    let cases = [
        (Method::Plain, Stored::parse(RIGHT)),
        (Method::Plain, Stored::parse("")),
        (Method::Plain, Stored::impossible()),
        (Method::Plain, md5()),
        (Method::Plain, scram(RIGHT)),
        (Method::Md5, Stored::parse(RIGHT)),
        (Method::Md5, Stored::parse("")),
        (Method::Md5, Stored::impossible()),
        (Method::Md5, md5()),
        (Method::Scram, Stored::parse(RIGHT)),
        (Method::Scram, Stored::parse("")),
        (Method::Scram, Stored::impossible()),
        (Method::Scram, scram(RIGHT)),
    ];
    for (method, stored) in cases {
        let (_, real) = play(method, Some(&stored), password("wrong"), 1);
        let (_, mock) = play(method, None, password("wrong"), 1);
        assert_eq!(real, mock, "{method:?} {stored:?}");
        let jobs = real.iter().filter(|entry| entry.starts_with("Job")).count();
        assert_eq!(jobs, usize::from(method != Method::Md5), "{method:?}: {real:?}");
    }
}

/// The server-first message of a SCRAM login by this user.
fn server_first(user: &str, stored: Option<&Stored>, policy: &Policy, seed: u8) -> String {
    let (mut pooler, _) = ClientLogin::start(Method::Scram, user, stored, policy, random(seed));
    match pooler.handle_message(b"SCRAM-SHA-256\0\0\0\0\x0an,,n=,r=ab") {
        ClientReply::Ask(Ask::SaslContinue(data)) => String::from_utf8(data).expect("text"),
        other => panic!("no server-first: {other:?}"),
    }
}

#[test]
fn mock_salts_stay_the_same_for_one_name_in_one_process() {
    let salt = |user: &str, policy: &Policy, seed| {
        let message = server_first(user, None, policy, seed);
        let salt = message.split(',').nth(1).expect("a salt").to_owned();
        assert!(message.ends_with(&format!(",i={ITERATIONS}")), "{message}");
        salt
    };
    let here = policy();
    let there = Policy { mock_secret: Secret::from_text("another process"), ..policy() };
    assert_eq!(salt("a", &here, 1), salt("a", &here, 2));
    assert_ne!(salt("a", &here, 1), salt("b", &here, 1));
    assert_ne!(salt("a", &here, 1), salt("a", &there, 1));
    assert_ne!(server_first("a", None, &here, 1), server_first("a", None, &here, 2), "nonces differ");
}

#[test]
fn the_mock_of_md5_is_not_answered_by_an_empty_password() {
    let (outcome, _) = play(Method::Md5, None, password(""), 1);
    check("mock", Expected::Password, outcome);
}

fn methods() -> impl Strategy<Value = Method> {
    prop_oneof![Just(Method::Plain), Just(Method::Md5), Just(Method::Scram)]
}

fn kinds() -> impl Strategy<Value = Option<Stored>> {
    prop_oneof![Just(None), Just(Some(Stored::parse(RIGHT))), Just(Some(md5())), Just(Some(scram(RIGHT)))]
}

/// Bytes of all sorts, some of them nearly right.
fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let attribute = "[nyp]?,?(a=x)?,?(n=[a-z*]{0,3})?,?(r=[ -~]{0,9})?(,[a-z]=[A-Za-z0-9+/=]{0,50})*";
    let nearly = attribute.prop_map(|text| {
        let length = u32::try_from(text.len()).expect("short").to_be_bytes();
        [&b"SCRAM-SHA-256\0"[..], &length, text.as_bytes()].concat()
    });
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..80),
        nearly,
        attribute.prop_map(String::into_bytes),
        "(c=(biws|eSws))?,r=[ -~]{0,40},p=[A-Za-z0-9+/]{43}=".prop_map(String::into_bytes),
    ]
}

proptest! {
    #[test]
    fn no_client_bytes_panic_or_enter(
        method in methods(), stored in kinds(), bodies in proptest::collection::vec(bodies(), 1..4),
    ) {
        let (mut pooler, _) = ClientLogin::start(method, USER, stored.as_ref(), &policy(), random(1));
        for body in bodies {
            let mut reply = pooler.handle_message(&body);
            if let ClientReply::Compute(job) = reply {
                reply = pooler.handle_done(job.run());
            }
            let accepted = matches!(reply, ClientReply::Accept { .. });
            prop_assert!(!accepted);
        }
    }

    #[test]
    fn no_server_bytes_panic_or_are_believed(
        kinds in proptest::collection::vec((0_u8..5, bodies()), 1..5), seed in any::<u8>(),
    ) {
        let mut client = ServerLogin::new(USER, password(RIGHT), random(seed));
        let mut asked_for_proof = false;
        for (kind, data) in kinds {
            let challenge = match kind {
                0 => { asked_for_proof = true; Challenge::Sasl(b"SCRAM-SHA-256\0") }
                1 => Challenge::Sasl(&data),
                2 => Challenge::SaslContinue(&data),
                3 => Challenge::SaslFinal(&data),
                _ => Challenge::Ok,
            };
            let reply = client.handle_challenge(challenge);
            let accepted = matches!(reply, ServerReply::Accepted);
            prop_assert!(!(accepted && asked_for_proof), "{:?}", reply);
        }
    }

    #[test]
    fn no_stored_text_panics_or_is_lost(text in "(SCRAM-SHA-256\\$)?[ -~]{0,60}|md5[0-9a-f]{30,34}|\\PC*") {
        match Stored::parse(&text) {
            Stored::Plain(secret) | Stored::Md5(secret) => prop_assert!(secret.matches(text.as_bytes())),
            Stored::Scram(verifier) => prop_assert!(verifier.iterations > 0),
        }
    }

    #[test]
    fn any_password_enters_where_it_is_stored(text in "[^\\x00]{1,40}", wrong in "[ -~]{1,40}", seed in any::<u8>()) {
        for stored in [Stored::Plain(Secret::from_text(&text)), scram(&text)] {
            for method in [Method::Plain, Method::Md5, Method::Scram] {
                let (outcome, _) = play(method, Some(&stored), password(&text), seed);
                prop_assert!(matches!(outcome, Outcome::Accepted(_)), "{method:?} {outcome:?}");
            }
        }
        prop_assume!(wrong != text);
        let (outcome, _) = play(Method::Plain, Some(&Stored::Plain(Secret::from_text(&text))), password(&wrong), seed);
        prop_assert!(matches!(outcome, Outcome::Refused(Cause::PasswordFailed, None)), "{outcome:?}");
    }
}
