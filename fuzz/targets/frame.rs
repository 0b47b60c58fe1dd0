//! Message boundaries and every decoder of `plimsoll-wire`.
//!
//! Input: one byte that chooses the longest message allowed, then what a peer sends. Besides not panicking: a header
//! does not depend on what follows it, and what a decoder accepts is written again as the same bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use plimsoll_wire::back::Authentication;
use plimsoll_wire::front::Subject;
use plimsoll_wire::{HEADER_BYTES, MESSAGE_BYTES_MAX, back, encode, front, header};

fuzz_target!(|data: &[u8]| {
    let Some((&choice, mut input)) = data.split_first() else { return };
    let total_max = if choice < 128 { MESSAGE_BYTES_MAX } else { u32::from(choice) };
    loop {
        // Decoders get whole messages from us; they must not rely on it.
        decode(input);
        let found = header(input, total_max);
        for end in 0..input.len().min(HEADER_BYTES + 1) {
            let expected = if end < HEADER_BYTES { Ok(None) } else { found };
            assert_eq!(header(&input[..end], total_max), expected);
        }
        let Ok(Some(found)) = found else { return };
        assert!(
            found.total >= HEADER_BYTES && u32::try_from(found.total).is_ok_and(|total| total <= total_max)
        );
        check_bind_names(input, found.total);
        let Some(message) = input.get(..found.total) else { return };
        decode(message);
        check_front(message);
        check_back(message);
        input = &input[found.total..];
    }
});

/// All decoders, for their panics only.
fn decode(message: &[u8]) {
    let _ = front::parse(message);
    let _ = front::subject(message);
    let _ = front::password(message);
    let _ = front::sasl_response(message);
    let _ = front::sasl_initial(message);
    let _ = front::query(message);
    let _ = back::authentication(message);
    let _ = back::parameter_status(message);
    let _ = back::command_tag(message);
    let _ = back::backend_key(message);
    assert!(back::error_fields(message).count() <= message.len());
}

/// The names of a Bind are the same from any beginning of it that holds them.
fn check_bind_names(input: &[u8], total: usize) {
    let found = front::bind_names(input, total);
    if let Ok(Some(names)) = found {
        assert!(names.end <= total && names.end <= input.len());
        assert_eq!(names.end, HEADER_BYTES + names.portal.len() + names.statement.len() + 2);
        assert_eq!(front::bind_names(&input[..names.end - 1], total), Ok(None));
        assert_eq!(front::bind_names(&input[..names.end], total), found);
    }
    if found == Ok(None) {
        assert!(input.len() < total);
    }
}

/// What a decoder of client messages accepts is written again as the same bytes.
fn check_front(message: &[u8]) {
    match message[0] {
        front::QUERY => {
            if let Ok(text) = front::query(message) {
                assert_written(message, |out| encode::query(out, text));
            }
        }
        front::PARSE => {
            if let Ok(parse) = front::parse(message) {
                assert_written(message, |out| encode::parse(out, parse.name, parse.text_and_types));
            }
        }
        front::BIND => {
            if let Ok(Some(names)) = front::bind_names(message, message.len()) {
                assert_written(&message[..names.end], |out| {
                    encode::bind_head(out, message.len(), names.portal, names.statement);
                });
            }
        }
        front::DESCRIBE => {
            if let Ok(Subject::Statement(name)) = front::subject(message) {
                assert_written(message, |out| encode::describe_statement(out, name));
            }
        }
        front::CLOSE => {
            if let Ok(Subject::Statement(name)) = front::subject(message) {
                assert_written(message, |out| encode::close_statement(out, name));
            }
        }
        front::PASSWORD => {
            if let Ok(text) = front::password(message) {
                assert_written(message, |out| encode::password(out, text));
            }
            if let Ok(data) = front::sasl_response(message) {
                assert_written(message, |out| encode::sasl_response(out, data));
            }
        }
        _ => {}
    }
}

/// The same for what servers send.
fn check_back(message: &[u8]) {
    match message[0] {
        back::AUTHENTICATION => {
            let Ok(asked) = back::authentication(message) else { return };
            match asked {
                Authentication::Ok => assert_written(message, encode::authentication_ok),
                Authentication::Cleartext => assert_written(message, encode::authentication_cleartext),
                Authentication::Md5 { salt } => {
                    assert_written(message, |out| encode::authentication_md5(out, salt));
                }
                Authentication::SaslContinue { data } => {
                    assert_written(message, |out| encode::authentication_sasl_continue(out, data));
                }
                Authentication::SaslFinal { data } => {
                    assert_written(message, |out| encode::authentication_sasl_final(out, data));
                }
                Authentication::Sasl { mechanisms } => {
                    assert!(mechanisms.is_empty() || mechanisms.ends_with(b"\0"))
                }
                Authentication::Other(_) => {}
            }
        }
        back::PARAMETER_STATUS => {
            if let Ok((name, value)) = back::parameter_status(message) {
                assert_written(message, |out| encode::parameter_status(out, name, value));
            }
        }
        back::COMMAND_COMPLETE => {
            if let Ok(Ok(tag)) = back::command_tag(message).map(str::from_utf8) {
                assert_written(message, |out| encode::command_complete(out, tag));
            }
        }
        back::BACKEND_KEY_DATA => {
            if let Ok(Ok(key)) = back::backend_key(message).map(<[u8; 8]>::try_from) {
                assert_written(message, |out| encode::backend_key_data(out, key));
            }
        }
        _ => {}
    }
}

#[track_caller]
fn assert_written(message: &[u8], encode: impl FnOnce(&mut Vec<u8>)) {
    let mut out = Vec::new();
    encode(&mut out);
    assert_eq!(out, message);
}
