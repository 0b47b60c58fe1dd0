//! `SHOW SOCKETS` and `SHOW ACTIVE_SOCKETS`: the rows of `SHOW CLIENTS` and `SHOW SERVERS` with the buffers of each.

use std::collections::HashMap;

use plimsoll_config::Compat;
use plimsoll_pool::SlotState;
use plimsoll_proxy::{ClientState, ClientView, LifeView, ServerView};

use super::Scene;
use super::clients::{self, client_row, server_row};
use super::holds::us;
use crate::table::{Cell, Column, Row, big, cell, int, text};

/// Of what is read from a socket nothing stays in a buffer of its own: bytes go on from the worker's. Only what the
/// other side does not take is kept.
const BUFFERS: [Column; 7] = [
    int("recv_pos"),
    int("pkt_pos"),
    int("pkt_remain"),
    int("send_pos"),
    int("send_remain"),
    int("pkt_avail"),
    int("send_avail"),
];

const WITH_BUFFERS: [Column; clients::COLUMNS.len() + BUFFERS.len()] = {
    let mut all = [int(""); clients::COLUMNS.len() + BUFFERS.len()];
    let mut at = 0;
    while at < all.len() {
        let own = clients::COLUMNS.len();
        all[at] = if at < own { clients::COLUMNS[at] } else { BUFFERS[at - own] };
        at += 1;
    }
    all
};

pub(super) const COLUMNS: &[Column] = &WITH_BUFFERS;

/// Whether the other side is there; nothing of Unix sockets.
pub(super) const APPENDED: &[Column] = &[
    text("life"),
    int("retransmits"),
    int("probes"),
    big("unacked_bytes"),
    big("unacked_us"),
    big("unsent_bytes"),
    big("last_ack_us"),
    big("last_data_us"),
    big("window_closed_us"),
];

fn life(view: Option<&LifeView>) -> Vec<Cell> {
    let Some(view) = view else { return vec![None; APPENDED.len()] };
    vec![
        cell(view.state),
        cell(view.retransmits),
        cell(view.probes),
        cell(view.unacked_bytes),
        view.unacked_for.and_then(us),
        cell(view.unsent_bytes),
        us(view.last_ack),
        us(view.last_data),
        us(view.window_closed),
    ]
}

/// Every socket.
pub(super) fn rows(scene: &Scene<'_>) -> Vec<Row> {
    sockets(scene).into_iter().map(|socket| socket.row).collect()
}

/// Sockets with something in a buffer: clients that wait, with their query, or do not take their answer; and the console
/// client that asks.
pub(super) fn active_rows(scene: &Scene<'_>) -> Vec<Row> {
    let sockets = sockets(scene).into_iter();
    sockets.filter(|socket| socket.buffer != Buffer::Empty).map(|socket| socket.row).collect()
}

/// Whether something is kept for a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Buffer {
    Empty,
    Used,
}

struct Socket {
    row: Row,
    buffer: Buffer,
}

fn sockets(scene: &Scene<'_>) -> Vec<Socket> {
    let holds = scene.pooler.holds();
    let mut unread: HashMap<u64, u64> = holds
        .iter()
        .filter(|hold| hold.unread_bytes > 0)
        .map(|hold| (hold.who.client, hold.unread_bytes))
        .collect();
    unread.extend(
        scene.pooler.spills().iter().map(|spill| (spill.who.client, (spill.memory + spill.disk).max(1))),
    );
    let clients = scene.pooler.clients();
    let servers = scene.pooler.servers();
    let compat = scene.plan.own.compat;
    let lives = scene.pooler.lives();
    let with_life = |mut socket: Socket, ptr: u64| {
        socket.row.extend(life(lives.get(&ptr)));
        socket
    };
    let clients = clients
        .iter()
        .map(|client| with_life(of_client(scene, client, unread.get(&client.id).copied()), client.ptr));
    let servers = servers
        .iter()
        .filter_map(|server| of_server(scene, server, compat).map(|socket| with_life(socket, server.ptr)));
    clients.chain(servers).collect()
}

fn of_client(scene: &Scene<'_>, client: &ClientView, unread: Option<u64>) -> Socket {
    let (state, waits) = match client.state {
        ClientState::Login => ("cl_login", Buffer::Used),
        ClientState::Waiting => ("cl_waiting", Buffer::Used),
        ClientState::Active if &*client.database == super::CONSOLE => ("cl_active", Buffer::Used),
        ClientState::Active => ("cl_active", Buffer::Empty),
    };
    let mut row = client_row(scene, client, state);
    row.extend(buffers(unread.unwrap_or(0)));
    Socket { row, buffer: if unread.is_some() { Buffer::Used } else { waits } }
}

fn of_server(scene: &Scene<'_>, server: &ServerView, compat: Compat) -> Option<Socket> {
    let state = match server.state {
        SlotState::Opening => "sv_login",
        SlotState::Idle if server.check_due => "sv_used",
        SlotState::Idle => "sv_idle",
        SlotState::Held => "sv_active",
        SlotState::BeingCanceled => "sv_being_canceled",
        SlotState::Cleaning | SlotState::Checking => "sv_tested",
        SlotState::Closing => clients::own_only("sv_closing", compat)?,
        SlotState::Lost => clients::own_only("sv_lost", compat)?,
    };
    let mut row = server_row(scene, server, state);
    row.extend(buffers(0));
    Some(Socket { row, buffer: Buffer::Empty })
}

/// The values of [`BUFFERS`] when so many bytes wait to be taken.
fn buffers(send_avail: u64) -> [Cell; BUFFERS.len()] {
    let taken = || cell(0);
    [taken(), taken(), taken(), taken(), taken(), taken(), cell(send_avail)]
}
