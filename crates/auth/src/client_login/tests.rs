use super::*;

const USER: &str = "someone";
const CLIENT_FIRST: &[u8] = b"n,,n=,r=clientnonce";

fn policy() -> Policy {
    Policy { mock_secret: Secret::from_text("mock"), scram_iterations: 2 }
}

fn begin(method: Method, stored: Option<&Stored>) -> ClientLogin {
    ClientLogin::start(method, USER, stored, &policy(), Random { bytes: [7; 40] }).0
}

fn plain() -> Stored {
    Stored::parse("right")
}

fn initial(mechanism: &str, data: &[u8]) -> Vec<u8> {
    let length = i32::try_from(data.len()).expect("short");
    [mechanism.as_bytes(), &[0], &length.to_be_bytes(), data].concat()
}

/// The cause and the log line of a refusal.
type Refusal = (Cause, Option<&'static str>);

fn refusal(reply: ClientReply) -> Refusal {
    match reply {
        ClientReply::Refuse { cause, log } => (cause, log),
        ClientReply::Ask(_) | ClientReply::Compute(_) | ClientReply::Accept { .. } => {
            panic!("not refused: {reply:?}")
        }
    }
}

#[test]
fn password_messages_are_held_to_their_shape() {
    let long = [vec![b'x'; CLIENT_MESSAGE_BYTES_MAX], vec![0]].concat();
    let table: [(&[u8], Cause); 6] = [
        (b"", Cause::BadLoginPacket),
        (b"right", Cause::BadLoginPacket),
        (b"right\0x", Cause::BadLoginPacket),
        (b"right\0\0", Cause::BadLoginPacket),
        (b"\0", Cause::EmptyPassword),
        (&long, Cause::BadLoginPacket),
    ];
    for method in [Method::Plain, Method::Md5] {
        for (body, cause) in &table {
            let mut login = begin(method, Some(&plain()));
            assert_eq!(
                refusal(login.handle_message(body)),
                (cause.clone(), None),
                "{method:?} {}",
                body.len()
            );
        }
    }
}

#[test]
fn the_longest_password_is_still_read() {
    let password = "x".repeat(CLIENT_MESSAGE_BYTES_MAX - 1);
    let mut login = begin(Method::Plain, Some(&Stored::parse(&password)));
    let reply = login.handle_message(&[password.as_bytes(), &[0]].concat());
    assert!(matches!(reply, ClientReply::Accept { .. }), "{reply:?}");
}

#[test]
fn initial_responses_are_held_to_their_shape() {
    let sasl = |log| (Cause::SaslFailed, Some(log));
    let table: [(Vec<u8>, Refusal); 12] = [
        (b"".to_vec(), sasl(LOG_MALFORMED)),
        (b"SCRAM-SHA-256".to_vec(), sasl(LOG_MALFORMED)),
        (b"SCRAM-SHA-256\0".to_vec(), sasl(LOG_MALFORMED)),
        (b"SCRAM-SHA-256\0\0\0\0".to_vec(), sasl(LOG_MALFORMED)),
        (b"SCRAM-SHA-256\0\0\0\0\x09abc".to_vec(), sasl(LOG_MALFORMED)),
        (b"SCRAM-SHA-256\0\0\0\0\x01abc".to_vec(), sasl(LOG_MALFORMED)),
        (b"SCRAM-SHA-256\0\x7f\xff\xff\xffabc".to_vec(), sasl(LOG_MALFORMED)),
        (b"SCRAM-SHA-256\0\xff\xff\xff\xff".to_vec(), sasl(LOG_NO_DATA)),
        (b"SCRAM-SHA-256\0\x80\0\0\0".to_vec(), sasl(LOG_NO_DATA)),
        (initial("SCRAM-SHA-256-PLUS", CLIENT_FIRST), (Cause::BadSaslMechanism, None)),
        (initial("", CLIENT_FIRST), (Cause::BadSaslMechanism, None)),
        (initial("OAUTHBEARER", CLIENT_FIRST), (Cause::BadSaslMechanism, None)),
    ];
    for (body, expected) in table {
        assert_eq!(refusal(begin(Method::Scram, Some(&plain())).handle_message(&body)), expected, "{body:?}");
    }
}

#[test]
fn what_scram_does_not_support_is_named_in_the_log() {
    let table = [
        ("p=tls-server-end-point,,n=,r=a", "client requires SCRAM channel binding, but it is not supported"),
        ("n,a=admin,n=,r=a", "client uses authorization identity, but it is not supported"),
        ("garbage", "malformed SCRAM message"),
    ];
    for (message, log) in table {
        let reply = begin(Method::Scram, None).handle_message(&initial("SCRAM-SHA-256", message.as_bytes()));
        assert_eq!(refusal(reply), (Cause::SaslFailed, Some(log)), "{message}");
    }
}

#[test]
fn an_md5_secret_fails_after_client_first() {
    let stored = Stored::Md5(md5::secret_of(b"right", USER));
    let mut login = begin(Method::Scram, Some(&stored));
    let reply = login.handle_message(&initial("SCRAM-SHA-256", CLIENT_FIRST));
    assert_eq!(refusal(reply), (Cause::SaslFailed, Some("SCRAM authentication failed: user has MD5 secret")));
}

#[test]
fn a_final_message_that_does_not_fit_is_refused() {
    let mut login = begin(Method::Scram, Some(&plain()));
    let reply = login.handle_message(&initial("SCRAM-SHA-256", CLIENT_FIRST));
    assert!(matches!(reply, ClientReply::Ask(Ask::SaslContinue(_))), "{reply:?}");
    let (cause, log) = refusal(login.handle_message(b"c=biws,r=clientnonce,p=AAAA"));
    assert_eq!((cause, log), (Cause::SaslFailed, Some("invalid SCRAM response (nonce does not match)")));
}

#[test]
fn messages_out_of_turn_are_refused() {
    // After the end.
    let mut login = begin(Method::Trust, Some(&plain()));
    assert_eq!(refusal(login.handle_message(b"right\0")).0, Cause::BadLoginPacket);
    let mut login = begin(Method::Md5, Some(&plain()));
    refusal(login.handle_message(b"wrong\0"));
    assert_eq!(refusal(login.handle_message(b"right\0")).0, Cause::BadLoginPacket);
    // While a job is out; the job's result is then too late.
    let mut login = begin(Method::Plain, Some(&plain()));
    let ClientReply::Compute(job) = login.handle_message(b"wrong\0") else { panic!("no job") };
    assert_eq!(refusal(login.handle_message(b"right\0")).0, Cause::BadLoginPacket);
    assert_eq!(refusal(login.handle_done(job.run())).0, Cause::BadLoginPacket);
    // A result nobody waits for.
    let mut login = begin(Method::Plain, Some(&plain()));
    assert_eq!(refusal(login.handle_done(Job::new(b"x", [1].into(), 1).run())).0, Cause::BadLoginPacket);
}

#[test]
fn a_verifier_with_absurd_rounds_is_never_computed() {
    let Stored::Scram(verifier) = Stored::parse(&crate::scram_verifier("right", b"salt", 2)) else {
        panic!("not a verifier")
    };
    let stored = Stored::Scram(Verifier { iterations: u32::MAX, ..verifier });
    let mut login = begin(Method::Plain, Some(&stored));
    let ClientReply::Compute(job) = login.handle_message(b"right\0") else { panic!("no job") };
    assert!(format!("{job:?}").contains("iterations: 2"), "{job:?}");
    assert_eq!(refusal(login.handle_done(job.run())).0, Cause::PasswordFailed);
}

#[test]
fn debug_shows_no_secret() {
    let mut login = begin(Method::Plain, Some(&Stored::parse("hunter2")));
    let job = login.handle_message(b"hunter3\0");
    for shown in
        [format!("{login:?}"), format!("{job:?}"), format!("{:?}", policy()), format!("{:?}", login.random)]
    {
        assert!(!shown.contains("hunter") && !shown.contains("104, 117"), "{shown}");
    }
}

#[test]
fn jobs_and_results_can_go_to_another_thread() {
    fn sent<T: Send + 'static>() {}
    sent::<Job>();
    sent::<Done>();
    sent::<ClientLogin>();
}
