use std::sync::Arc;

use plimsoll_wire::{back, header};

use super::*;

const KEY: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

/// Tags and, for ParameterStatus, name and value.
fn read(mut bytes: &[u8]) -> Vec<String> {
    let mut out = Vec::new();
    while let Ok(Some(head)) = header(bytes, 1 << 20) {
        let (message, rest) = bytes.split_at(head.total);
        out.push(match back::parameter_status(message) {
            Ok((name, value)) if head.tag == back::PARAMETER_STATUS => {
                format!("{}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
            }
            _ => char::from(head.tag).to_string(),
        });
        bytes = rest;
    }
    assert!(bytes.is_empty(), "whole messages only");
    out
}

fn params(tracked: &Tracked, values: &[(&str, &str)]) -> Params {
    let mut params = Params::none(tracked);
    for (name, value) in values {
        let index = tracked.index(name.as_bytes()).expect("a tracked name");
        params.values[index] = Some((*value).into());
    }
    params
}

#[test]
fn untracked_ones_first_then_the_tracked_under_their_own_names() {
    let tracked = Tracked::new(&["intervalstyle".to_string(), "search_path".to_string()]);
    let base =
        params(&tracked, &[("TimeZone", "UTC"), ("DateStyle", "ISO, MDY"), ("IntervalStyle", "postgres")]);
    let mut untracked = Vec::new();
    encode::parameter_status(&mut untracked, b"server_version", b"15.8");
    encode::parameter_status(&mut untracked, b"is_superuser", b"off");
    let welcome = Welcome { params: Arc::new(base.clone()), untracked: untracked.into() };
    let client_values = params(&tracked, &[("timezone", "CET"), ("application_name", "psql")]).or(&base);
    let mut out = Vec::new();
    client(&mut out, &tracked, &welcome, &client_values, &End { key: KEY, notice: "" });
    let expected = [
        "R",
        "server_version=15.8",
        "is_superuser=off",
        "DateStyle=ISO, MDY",
        "TimeZone=CET",
        "application_name=psql",
        "intervalstyle=postgres",
        "K",
        "Z",
    ];
    assert_eq!(read(&out), expected);
    assert_eq!(out[..9], [b'R', 0, 0, 0, 8, 0, 0, 0, 0]);
    assert_eq!(out[out.len() - 6..], [b'Z', 0, 0, 0, 5, b'I']);
    assert_eq!(out[out.len() - 14..out.len() - 6], KEY);
}

#[test]
fn the_notice_stands_between_key_and_ready() {
    let mut out = Vec::new();
    let parameters = [("server_version", "1.25.2/bouncer".to_string())];
    console(&mut out, &parameters, &End { key: KEY, notice: "You are now connected" });
    assert_eq!(read(&out), ["R", "server_version=1.25.2/bouncer", "K", "N", "Z"]);
    let notice = &b"SNOTICE\0C00000\0MYou are now connected\0\0"[..];
    assert!(out.windows(notice.len()).any(|window| window == notice));
}
