//! `SHOW FDS`: for PgBouncer's online restart, which hands its sockets on over the console.

use super::Scene;
use crate::table::{Column, Row, big, bytes, int, text};

pub(super) const COLUMNS: &[Column] = &[
    int("fd"),
    text("task"),
    text("user"),
    text("database"),
    text("addr"),
    int("port"),
    big("cancel"),
    int("link"),
    text("client_encoding"),
    text("std_strings"),
    text("datestyle"),
    text("timezone"),
    text("password"),
    bytes("scram_client_key"),
    bytes("scram_server_key"),
];

/// Sockets are not handed on this way, and so neither cancel keys nor secrets are ever shown.
pub(super) fn rows(_: &Scene<'_>) -> Vec<Row> {
    Vec::new()
}
