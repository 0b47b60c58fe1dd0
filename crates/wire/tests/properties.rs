//! What holds for any bytes: no decoder panics, what is encoded is read back, and where the network cuts the input
//! makes no difference.

use plimsoll_wire::encode::{self, Fields};
use plimsoll_wire::startup::{self, Packet, StartupError};
use plimsoll_wire::{HEADER_BYTES, MESSAGE_BYTES_MAX, WireError, back, front, header};
use proptest::collection::vec;
use proptest::prelude::*;

/// Something that appends a message.
type Encode<'a> = &'a dyn Fn(&mut Vec<u8>);

/// Bytes that are often zeros, small counts and the letters that mean something.
fn bytes(len_max: usize) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![3 => 0_u8..=12, 2 => b'A'..=b'z', 1 => any::<u8>()];
    vec(byte, 0..=len_max)
}

/// A string of the protocol: no zero inside.
fn text() -> impl Strategy<Value = Vec<u8>> {
    vec(1_u8..=255, 0..40)
}

/// A name in a startup packet: not empty either.
fn name() -> impl Strategy<Value = Vec<u8>> {
    vec(1_u8..=255, 1..20)
}

fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out);
    out
}

/// A first packet, well-formed up to its length, which is right.
fn first_packet() -> impl Strategy<Value = Vec<u8>> {
    let code = prop_oneof![
        3 => Just(3_u32 << 16),
        1 => Just((3_u32 << 16) + 2),
        1 => Just(2_u32 << 16),
        3 => 80_877_101_u32..=80_877_105,
        1 => any::<u32>(),
    ];
    let pairs = vec((name(), text()), 0..4).prop_map(|pairs| {
        let mut out: Vec<u8> =
            pairs.iter().flat_map(|(name, value)| [&name[..], b"\0", value, b"\0"].concat()).collect();
        out.push(0);
        out
    });
    let body = prop_oneof![2 => pairs, 1 => bytes(300), 1 => Just(Vec::new()), 1 => Just(vec![7; 8])];
    (code, body).prop_map(|(code, body)| {
        let length = u32::try_from(body.len() + 8).expect("short");
        [&length.to_be_bytes()[..], &code.to_be_bytes(), &body].concat()
    })
}

/// Asserts what [`startup::parse`] promises for every beginning of `input`: `None` up to some point, then the same
/// answer for good.
fn assert_startup_ignores_cuts(input: &[u8]) -> Result<(), TestCaseError> {
    let whole = startup::parse(input);
    let mut decided = false;
    for end in 0..=input.len() {
        match (startup::parse(&input[..end]), &whole) {
            (Ok(None), _) => prop_assert!(!decided, "undecided again at {end}"),
            (Err(StartupError::BadHeader(part)), Err(StartupError::BadHeader(head))) => {
                prop_assert_eq!(&part[..], &input[..end.min(8)]);
                prop_assert!(part.len() >= 4 && head.starts_with(&part));
                decided = true;
            }
            (now, whole) => {
                prop_assert_eq!(&now, whole, "at {}", end);
                prop_assert!(
                    now.as_ref().map_or(true, |found| found.as_ref().is_none_or(|(_, used)| *used <= end))
                );
                decided = true;
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn no_decoder_panics(input in bytes(80), total in 0_usize..100, total_max in any::<u32>()) {
        let _ = header(&input, total_max);
        let _ = front::parse(&input);
        let _ = front::subject(&input);
        let _ = front::password(&input);
        let _ = front::sasl_response(&input);
        let _ = front::sasl_initial(&input);
        let _ = front::query(&input);
        if let Ok(Some(names)) = front::bind_names(&input, total) {
            prop_assert!(names.end <= input.len().min(total));
        }
        let _ = back::authentication(&input);
        let _ = back::parameter_status(&input);
        let _ = back::command_tag(&input);
        let _ = back::backend_key(&input);
        prop_assert!(back::error_fields(&input).count() <= input.len());
        let _ = startup::parse(&input);
    }

    #[test]
    fn a_header_is_the_same_wherever_it_is_cut(input in bytes(12), total_max in any::<u32>()) {
        let whole = header(&input, total_max);
        for end in 0..=input.len() {
            let expected = if end < HEADER_BYTES { Ok(None) } else { whole };
            prop_assert_eq!(header(&input[..end], total_max), expected);
        }
        match whole {
            Ok(Some(found)) => {
                prop_assert!(found.total >= HEADER_BYTES);
                prop_assert!(u32::try_from(found.total).is_ok_and(|total| total <= total_max));
            }
            Ok(None) => prop_assert!(input.len() < HEADER_BYTES),
            Err(error) => prop_assert_ne!(error, WireError::BadBody),
        }
    }

    #[test]
    fn a_first_packet_is_the_same_wherever_it_is_cut(packet in first_packet(), more in bytes(20)) {
        assert_startup_ignores_cuts(&packet)?;
        assert_startup_ignores_cuts(&[packet, more].concat())?;
    }

    #[test]
    fn any_first_bytes_are_the_same_wherever_they_are_cut(input in bytes(40)) {
        assert_startup_ignores_cuts(&input)?;
    }

    #[test]
    fn a_startup_is_read_back(pairs in vec((name(), text()), 0..10)) {
        let borrowed: Vec<_> = pairs.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        let packet = encoded(|out| encode::startup(out, &borrowed));
        match startup::parse(&packet) {
            Ok(Some((Packet::Startup { minor: 0, params }, used))) => {
                prop_assert_eq!(used, packet.len());
                prop_assert_eq!(params.iter().collect::<Vec<_>>(), borrowed);
            }
            other => prop_assert!(false, "no startup: {:?}", other),
        }
    }

    #[test]
    fn a_cancel_is_read_back(key in vec(any::<u8>(), 8..=260)) {
        let packet = encoded(|out| encode::cancel_request(out, &key));
        prop_assert_eq!(startup::parse(&packet), Ok(Some((Packet::Cancel { key: &key }, packet.len()))));
    }

    #[test]
    fn every_message_says_its_own_length(name in text(), body in bytes(50), salt in any::<[u8; 4]>()) {
        let fields = Fields { severity: "ERROR", sqlstate: "08P01", message: "m", detail: Some("d"), hint: None };
        let encoders: [Encode<'_>; 9] = [
            &|out| encode::query(out, &name),
            &|out| encode::password(out, &name),
            &|out| encode::sasl_response(out, &body),
            &|out| encode::parse(out, &name, &body),
            &|out| encode::authentication_md5(out, salt),
            &|out| encode::data_row(out, &[Some(&body), None]),
            &|out| encode::error_response(out, &fields),
            &|out| encode::negotiate_protocol_version(out, &[&name]),
            &|out| encode::parameter_status(out, &name, &name),
        ];
        for encode in encoders {
            let message = encoded(encode);
            let found = header(&message, MESSAGE_BYTES_MAX).map(|found| found.map(|header| header.total));
            prop_assert_eq!(found, Ok(Some(message.len())));
        }
    }

    #[test]
    fn client_messages_are_read_back(name in text(), query in text(), types in vec(any::<u32>(), 0..5)) {
        let count = u16::try_from(types.len()).expect("few");
        let mut rest = [&query[..], b"\0", &count.to_be_bytes()].concat();
        rest.extend(types.iter().flat_map(|oid| oid.to_be_bytes()));
        let message = encoded(|out| encode::parse(out, &name, &rest));
        prop_assert_eq!(front::parse(&message), Ok(front::Parse { name: &name, text_and_types: &rest }));

        let message = encoded(|out| encode::describe_statement(out, &name));
        prop_assert_eq!(front::subject(&message), Ok(front::Subject::Statement(&name)));
        let message = encoded(|out| encode::close_statement(out, &name));
        prop_assert_eq!(front::subject(&message), Ok(front::Subject::Statement(&name)));
        let message = encoded(|out| encode::query(out, &query));
        prop_assert_eq!(front::query(&message), Ok(&query[..]));
        let message = encoded(|out| encode::password(out, &query));
        prop_assert_eq!(front::password(&message), Ok(&query[..]));
    }

    #[test]
    fn a_bind_is_read_back_from_any_beginning(portal in text(), statement in text(), rest in bytes(30)) {
        let end = HEADER_BYTES + portal.len() + statement.len() + 2;
        let total = end + rest.len();
        let mut message = encoded(|out| encode::bind_head(out, total, &portal, &statement));
        message.extend_from_slice(&rest);
        let names = front::BindNames { portal: &portal, statement: &statement, end };
        for cut in 0..=total {
            let expected = if cut < end { None } else { Some(names) };
            prop_assert_eq!(front::bind_names(&message[..cut], total), Ok(expected));
        }
    }

    #[test]
    fn sasl_is_read_back(data in bytes(60), salt in any::<[u8; 4]>()) {
        let message = encoded(|out| encode::sasl_initial_response(out, "SCRAM-SHA-256", &data));
        prop_assert_eq!(front::sasl_initial(&message), Ok((&b"SCRAM-SHA-256"[..], &data[..])));
        let message = encoded(|out| encode::sasl_response(out, &data));
        prop_assert_eq!(front::sasl_response(&message), Ok(&data[..]));

        let authentications = [
            (encoded(encode::authentication_ok), back::Authentication::Ok),
            (encoded(encode::authentication_cleartext), back::Authentication::Cleartext),
            (encoded(|out| encode::authentication_md5(out, salt)), back::Authentication::Md5 { salt }),
            (encoded(encode::authentication_sasl), back::Authentication::Sasl { mechanisms: b"SCRAM-SHA-256\0" }),
            (
                encoded(|out| encode::authentication_sasl_continue(out, &data)),
                back::Authentication::SaslContinue { data: &data },
            ),
            (
                encoded(|out| encode::authentication_sasl_final(out, &data)),
                back::Authentication::SaslFinal { data: &data },
            ),
        ];
        for (message, asked) in &authentications {
            prop_assert_eq!(back::authentication(message), Ok(*asked));
        }
    }

    #[test]
    fn server_messages_are_read_back(name in text(), value in text(), key in any::<[u8; 8]>()) {
        let message = encoded(|out| encode::parameter_status(out, &name, &value));
        prop_assert_eq!(back::parameter_status(&message), Ok((&name[..], &value[..])));
        let message = encoded(|out| encode::backend_key_data(out, key));
        prop_assert_eq!(back::backend_key(&message), Ok(&key[..]));
    }

    #[test]
    fn errors_are_read_back(text in "[^\0]{0,30}", detail in proptest::option::of("[^\0]{1,30}"), tag in "[^\0]{0,20}") {
        let detail = detail.as_deref();
        let fields = Fields { severity: "ERROR", sqlstate: "57P01", message: &text, detail, hint: None };
        let message = encoded(|out| encode::error_response(out, &fields));
        let mut expected = vec![(b'S', &b"ERROR"[..]), (b'C', b"57P01"), (b'M', text.as_bytes())];
        expected.extend(detail.map(|detail| (b'D', detail.as_bytes())));
        prop_assert_eq!(back::error_fields(&message).collect::<Vec<_>>(), expected);

        let message = encoded(|out| encode::command_complete(out, &tag));
        prop_assert_eq!(back::command_tag(&message), Ok(tag.as_bytes()));
    }
}
