//! For whom a load balancer connects: the PROXY header, which comes before anything else.

use plimsoll_config::{Network, Own, ProxyProtocol};
use plimsoll_types::Cause;

use super::{End, Login};
use crate::entry::Peer;
use crate::proxy_protocol::{self, HeaderError, Origin, Versions};

/// Which versions of the header are taken where the client has come in; `None`: none.
fn versions(own: &Own, local: &Peer) -> Option<Versions> {
    let Peer::Tcp(local) = local else { return None };
    match own.proxy_protocol.at(local.ip()) {
        ProxyProtocol::Off => None,
        ProxyProtocol::V2 => Some(Versions::V2),
        ProxyProtocol::Any => Some(Versions::Any),
    }
}

fn is_in(networks: &[Network], peer: &Peer) -> bool {
    match peer {
        Peer::Tcp(address) => networks.iter().any(|network| network.contains(address.ip())),
        Peer::Unix { .. } => false,
    }
}

impl Login {
    /// Reads the header of a balancer that must send one. From then on the client's own address is the peer's: in the
    /// log, on the console, for the HBA file and in the ledger. Within client_login_timeout, as all of the login.
    pub(super) async fn proxy_header(&mut self) -> Result<(), End> {
        let own = &self.plan.own;
        let Some(versions) =
            versions(own, &self.local).filter(|_| is_in(&own.proxy_protocol_from, &self.peer))
        else {
            return Ok(());
        };
        loop {
            match proxy_protocol::parse(&self.input, versions) {
                Ok(Some((origin, bytes))) => {
                    self.input.drain(..bytes);
                    self.take_origin(origin);
                    return Ok(());
                }
                Ok(None) => self.fill().await?,
                Err(HeaderError::Missing) => return Err(End::Refused(Cause::NoProxyHeader)),
                Err(HeaderError::Bad(why)) => return Err(End::Refused(Cause::BadProxyHeader { why })),
            }
        }
    }

    fn take_origin(&mut self, origin: Origin) {
        let Origin::Client(address) = origin else { return };
        let client = Peer::Tcp(address);
        if self.plan.general.log.connections {
            tracing::info!("{}connects for {client} (PROXY protocol)", self.log_prefix());
        }
        self.peer = client;
    }

    /// What cannot be a startup packet may be the header of somebody who may not send one.
    pub(super) fn stray_header(&self, head: &[u8]) -> Option<Cause> {
        let is_on = !self.plan.own.proxy_protocol.is_off();
        (is_on && proxy_protocol::looks_like(head)).then_some(Cause::UnexpectedProxyHeader)
    }
}
