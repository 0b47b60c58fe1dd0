//! Options of LDAP, and what LDAP servers say.
//!
//! Input: a line of options, then what the server sends, as a stream. Besides not panicking: a password is in no message
//! and shown by nothing, what is sent is LDAP, lengths are bounded, a dialogue ends, and nobody is let in before the
//! server has said so to a bind with the password.

#![no_main]

use std::sync::Arc;

use ldap_parser::FromBer;
use ldap_parser::ldap::{AuthenticationChoice, LdapMessage, ProtocolOp};
use libfuzzer_sys::fuzz_target;
use plimsoll_auth::ldap::{LDAP_MESSAGE_BYTES_MAX, LdapCheck, LdapOptions, LdapStep, ldap_message_bytes};
use plimsoll_types::Secret;

/// More than any dialogue has.
const STEPS_MAX: usize = 100;

const PASSWORD: &str = "hunter2-hunter2";
const BIND_PASSWORD: &str = "s3arch-s3arch";

fuzz_target!(|data: &[u8]| {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let text = String::from_utf8_lossy(&data[..end]);
    let stream = data.get(end + 1..).unwrap_or_default();
    if text.contains(PASSWORD) || text.contains(BIND_PASSWORD) {
        return;
    }
    let text = format!("{text} ldapbindpasswd=\"{BIND_PASSWORD}\"");
    for options in [LdapOptions::parse(&text), LdapOptions::parse(&String::from_utf8_lossy(&data[..end]))] {
        match options {
            Err(fault) => {
                let said = fault.to_string();
                assert!(said.len() < 400 && !said.contains(BIND_PASSWORD) && !said.contains('\n'), "{said}");
            }
            Ok(options) => {
                assert!(!options.servers.to_string().is_empty());
                assert!(!format!("{options:?}").contains(BIND_PASSWORD));
                talk(Arc::new(options), stream);
            }
        }
    }
});

fn talk(options: Arc<LdapOptions>, mut stream: &[u8]) {
    let mut check = LdapCheck::new(options, "jo*)(uid=\\,\u{e9}", Secret::from_text(PASSWORD));
    let mut step = check.begin();
    let mut has_proved = false;
    for _ in 0..STEPS_MAX {
        match &step {
            LdapStep::Send(message) => has_proved = is_sent(message),
            LdapStep::Wait => {}
            LdapStep::StartTls => {
                step = check.handle_tls();
                continue;
            }
            LdapStep::Accept => {
                assert!(has_proved);
                return;
            }
            LdapStep::Refuse(why) => {
                assert!(!why.contains(PASSWORD) && why.len() < 1000, "{why}");
                return;
            }
        }
        let length = match ldap_message_bytes(stream) {
            Ok(Some(length)) => length,
            Ok(None) => return,
            Err(_) => return,
        };
        assert!(length <= LDAP_MESSAGE_BYTES_MAX);
        let Some((message, rest)) = stream.split_at_checked(length) else { return };
        stream = rest;
        step = match check.handle_message(message) {
            Ok(step) => step,
            Err(problem) => {
                assert!(!problem.to_string().contains(PASSWORD), "{problem}");
                return;
            }
        };
    }
    panic!("it goes on for ever");
}

/// Whether the password is in it, and then as a bind's.
fn is_sent(message: &Secret) -> bool {
    let bytes = message.expose();
    let (rest, read) = LdapMessage::from_ber(bytes).expect("we speak LDAP");
    assert!(rest.is_empty());
    assert_eq!(ldap_message_bytes(bytes).ok().flatten(), Some(bytes.len()));
    let is_in = bytes.windows(PASSWORD.len()).any(|part| part == PASSWORD.as_bytes());
    match read.protocol_op {
        ProtocolOp::BindRequest(bind) => {
            let AuthenticationChoice::Simple(password) = bind.authentication else { panic!("not simple") };
            let is_ours = &*password == PASSWORD.as_bytes();
            assert_eq!(is_ours, is_in);
            assert!(!is_ours || !bind.name.0.is_empty(), "nobody is bound as by an empty name");
            is_ours
        }
        ProtocolOp::SearchRequest(_) | ProtocolOp::ExtendedRequest(_) => {
            assert!(!is_in);
            false
        }
        other => panic!("{other:?}"),
    }
}
