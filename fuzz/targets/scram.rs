//! Both login dialogues of `plimsoll-auth`.
//!
//! Input: one byte that chooses the dialogue and what it starts with, then the peer's messages, one a line. Besides
//! not panicking: nobody who does not exist is let in, and a dialogue ends.

#![no_main]

use libfuzzer_sys::fuzz_target;
use plimsoll_auth::{
    Challenge, ClientLogin, ClientReply, Credential, Method, Policy, Random, ScramKeys, ServerLogin,
    ServerReply, Stored,
};
use plimsoll_types::Secret;

/// More messages than any login has.
const MESSAGES_MAX: usize = 8;

/// Rounds beyond which a job is not run: the work asked for is bounded elsewhere, and here it would only be slow.
const ROUNDS_MAX: u32 = 64;

/// The same each time, so that seeds can hold whole exchanges.
const RANDOM: Random = Random { bytes: [7; 40] };

/// The password "secret" of bob as SCRAM secret: 2 rounds, salt "saltsaltsaltsalt".
const SCRAM_SECRET: &str = "SCRAM-SHA-256$2:c2FsdHNhbHRzYWx0c2FsdA==$m6X8vLhbfttjN3c0+3vn3C+PRpZ+FH6wpd5t4Bq2ncI=:HVdEx6bsq04AgBbXlwW+pRJQENM2rfeSuQ9xFeJANb8=";

/// The same as MD5 secret.
const MD5_SECRET: &str = "md521f3163f8f86fa10bdefbfbd502a8f06";

fuzz_target!(|data: &[u8]| {
    let Some((&choice, messages)) = data.split_first() else { return };
    let messages = messages.split(|byte| *byte == b'\n').take(MESSAGES_MAX);
    match choice {
        b'A'..=b'Y' => client_login(choice - b'A', messages),
        _ => server_login(choice, messages),
    }
});

/// The pooler's side towards a client. `choice`: five methods times five kinds of secret.
fn client_login<'a>(choice: u8, messages: impl Iterator<Item = &'a [u8]>) {
    let method = match choice / 5 {
        0 => Method::Plain,
        1 => Method::Md5,
        2 => Method::Scram,
        3 => Method::Trust,
        _ => Method::Any,
    };
    let stored = match choice % 5 {
        0 => None,
        1 => Some(Stored::impossible()),
        2 => Some(Stored::parse("secret")),
        3 => Some(Stored::parse(MD5_SECRET)),
        _ => Some(Stored::parse(SCRAM_SECRET)),
    };
    let can_enter = match method {
        Method::Plain | Method::Md5 | Method::Scram => choice % 5 >= 2,
        Method::Trust => stored.is_some(),
        Method::Any => true,
    };
    let policy = Policy { mock_secret: Secret::from_text("mock"), scram_iterations: 1 };
    let (mut login, mut reply) = ClientLogin::start(method, "bob", stored.as_ref(), &policy, RANDOM);
    for message in messages {
        reply = match reply {
            ClientReply::Ask(_) => login.handle_message(message),
            ClientReply::Compute(_) | ClientReply::Accept { .. } | ClientReply::Refuse { .. } => break,
        };
        if let ClientReply::Compute(job) = reply {
            reply = login.handle_done(job.run());
        }
    }
    match reply {
        ClientReply::Ask(_) => return,
        ClientReply::Compute(_) => panic!("one job leads to another"),
        ClientReply::Accept { .. } => assert!(can_enter, "let in without a secret that can match"),
        ClientReply::Refuse { .. } => {}
    }
    assert!(matches!(login.handle_message(b"secret\0"), ClientReply::Refuse { .. }), "goes on after its end");
}

/// The pooler's side at a server. Each message begins with a byte for its kind.
fn server_login<'a>(choice: u8, messages: impl Iterator<Item = &'a [u8]>) {
    let key = || Secret::new([7; 32]);
    let credential = match choice {
        b'p' => Credential::Stored(Stored::parse("secret")),
        b'm' => Credential::Stored(Stored::parse(MD5_SECRET)),
        b's' => Credential::Stored(Stored::parse(SCRAM_SECRET)),
        b'k' => Credential::Keys(ScramKeys { client_key: key(), server_key: key() }),
        _ => Credential::None,
    };
    let mut login = ServerLogin::new("bob", credential, RANDOM);
    for message in messages {
        let mut reply = login.handle_challenge(challenge(message));
        if let ServerReply::Compute(job) = reply {
            if rounds(message) > ROUNDS_MAX {
                return;
            }
            reply = login.handle_done(job.run());
        }
        match reply {
            ServerReply::Password(_)
            | ServerReply::SaslInitial(_)
            | ServerReply::SaslResponse(_)
            | ServerReply::Wait => {}
            ServerReply::Compute(_) => panic!("one job leads to another"),
            ServerReply::Accepted | ServerReply::Refuse(_) => {
                let more = login.handle_challenge(Challenge::Ok);
                assert!(matches!(more, ServerReply::Refuse(_)), "goes on after its end");
                return;
            }
        }
    }
}

fn challenge(message: &[u8]) -> Challenge<'_> {
    match message {
        [b'o', ..] => Challenge::Ok,
        [b'p', ..] => Challenge::Cleartext,
        [b'm', a, b, c, d] => Challenge::Md5([*a, *b, *c, *d]),
        [b's', mechanisms @ ..] => Challenge::Sasl(mechanisms),
        [b'c', data @ ..] => Challenge::SaslContinue(data),
        [b'f', data @ ..] => Challenge::SaslFinal(data),
        _ => Challenge::Other,
    }
}

/// The rounds that a server-first message asks for; the most there are if it cannot be told.
fn rounds(message: &[u8]) -> u32 {
    let written = message.split(|byte| *byte == b',').filter_map(|part| part.strip_prefix(b"i="));
    let numbers = written.map(|text| str::from_utf8(text).ok()?.parse().ok());
    numbers.max().flatten().unwrap_or(u32::MAX)
}
