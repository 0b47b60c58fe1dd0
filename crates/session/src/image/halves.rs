//! The two halves of the machine, and the way back.

use std::sync::Arc;

use plimsoll_types::{Cause, Moment, SqlState, TxState};
use serde::{Deserialize, Serialize};

use super::{Bytes, COUNT_MAX, ImageError, Packing, Unpacking};
use crate::expect::ExpectedImage;
use crate::left::Left;
use crate::link::{Batch, CopyIn, Count, Doubt, Has, Link, Settling, Unnamed, Use};
use crate::revoke::Aftermath;
use crate::session::{Attached, Session};
use crate::statements::{Named, PreparedImage};
use crate::steps::Settings;

/// [`Session`] as plain values.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SessionImage {
    params: u32,
    names: Vec<(Bytes, Named<u64>)>,
    attached: Attached,
    drop_left: u64,
    serial: u32,
    query_began: u64,
    xact_began: u64,
    ready_at: u64,
    requested: u64,
    aftermath: Option<Aftermath>,
}

/// [`Link`] as plain values.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LinkImage {
    /// As in ReadyForQuery.
    tx: u8,
    batch: Batch,
    copy: CopyIn,
    count: Count,
    expected: ExpectedImage,
    prepared: PreparedImage,
    unnamed: Unnamed,
    last_holder: u64,
    params: u32,
    to_server_left: u64,
    to_client_left: u64,
    settling: Settling,
    half_since: u64,
    /// SQLSTATE and message.
    farewell: Option<(Bytes, Box<str>)>,
    left: Left,
    has_named: Has,
    params_before: Option<u32>,
    doubt: Doubt,
    #[serde(default)]
    purpose: Use,
}

/// A message's rest: no message is longer than a 32-bit number says.
fn rest(bytes: u64) -> Result<usize, ImageError> {
    let bytes = u32::try_from(bytes).map_err(|_| ImageError("the rest of a message is too long"))?;
    usize::try_from(bytes).map_err(|_| ImageError("the rest of a message is too long"))
}

fn moment(at: u64) -> Result<Moment, ImageError> {
    if at < COUNT_MAX { Ok(Moment(at)) } else { Err(ImageError("a moment that never comes")) }
}

impl SessionImage {
    /// Whether a server connection belongs to it.
    pub fn is_attached(&self) -> bool {
        match self.attached {
            Attached::No => false,
            Attached::Settling | Attached::Yes | Attached::Busy => true,
        }
    }

    /// Whether its parameters are being set.
    pub fn is_settling(&self) -> bool {
        self.attached == Attached::Settling
    }
}

impl Session {
    /// As plain values. Its settings, its number and its noting are the caller's to give again.
    pub fn image(&self, packing: &mut Packing) -> SessionImage {
        SessionImage {
            params: packing.params(&self.params),
            names: self.names.map_all(|named| named.map(|statement| packing.statement(statement))),
            attached: self.attached,
            drop_left: self.drop_left as u64,
            serial: self.serial,
            query_began: self.query_began.0,
            xact_began: self.xact_began.0,
            ready_at: self.ready_at.0,
            requested: self.requested.0,
            aftermath: self.aftermath.as_deref().cloned(),
        }
    }

    /// The session again.
    ///
    /// # Errors
    /// The image is none of ours.
    pub fn from_image(
        image: SessionImage,
        settings: Arc<Settings>,
        unpacking: &Unpacking,
    ) -> Result<Session, ImageError> {
        let mut session = Session::new(settings, unpacking.params(image.params)?, moment(image.ready_at)?);
        for (name, named) in image.names {
            let named = named.try_map(|id| unpacking.statement(*id))?;
            session.names.insert(&name, named);
        }
        session.attached = image.attached;
        session.drop_left = rest(image.drop_left)?;
        session.serial = image.serial;
        session.query_began = moment(image.query_began)?;
        session.xact_began = moment(image.xact_began)?;
        session.requested = moment(image.requested)?;
        session.aftermath = image.aftermath.map(Box::new);
        Ok(session)
    }
}

impl Link {
    /// As plain values.
    pub fn image(&self, packing: &mut Packing) -> LinkImage {
        let farewell = match self.farewell.as_deref() {
            Some(Cause::ServerEnded { sqlstate, message }) => {
                Some((Bytes::from(sqlstate.as_str().as_bytes()), message.clone()))
            }
            Some(other) => Some((Bytes::from(other.sqlstate().as_str().as_bytes()), other.message().into())),
            None => None,
        };
        LinkImage {
            tx: match self.tx {
                TxState::Idle => b'I',
                TxState::Open => b'T',
                TxState::Failed => b'E',
            },
            batch: self.batch,
            copy: self.copy,
            count: self.count,
            expected: self.expected.image(packing),
            prepared: self.prepared.image(packing),
            unnamed: self.unnamed,
            last_holder: self.last_holder,
            params: packing.params(&self.params),
            to_server_left: self.to_server_left as u64,
            to_client_left: self.to_client_left as u64,
            settling: self.settling,
            half_since: self.half_since.0,
            farewell,
            left: self.left.clone(),
            has_named: self.has_named,
            params_before: self.params_before.as_ref().map(|params| packing.params(params)),
            doubt: self.doubt,
            purpose: self.purpose,
        }
    }

    /// The connection's half again.
    ///
    /// # Errors
    /// The image is none of ours.
    pub fn from_image(image: LinkImage, unpacking: &Unpacking) -> Result<Link, ImageError> {
        let mut link = Link::new(unpacking.params(image.params)?);
        link.tx = TxState::from_byte(image.tx).ok_or(ImageError("an unknown transaction state"))?;
        link.batch = image.batch;
        link.copy = image.copy;
        link.count = image.count;
        link.expected = image.expected.unpack(unpacking)?;
        link.prepared = image.prepared.unpack(unpacking)?;
        link.unnamed = image.unnamed;
        link.last_holder = image.last_holder;
        link.to_server_left = rest(image.to_server_left)?;
        link.to_client_left = rest(image.to_client_left)?;
        link.settling = image.settling;
        link.half_since = moment(image.half_since)?;
        link.farewell = match image.farewell {
            None => None,
            Some((sqlstate, message)) => {
                let sqlstate = SqlState::parse(&sqlstate).ok_or(ImageError("an impossible SQLSTATE"))?;
                Some(Box::new(Cause::ServerEnded { sqlstate, message }))
            }
        };
        link.left = image.left;
        link.has_named = image.has_named;
        link.params_before = image.params_before.map(|number| unpacking.params(number)).transpose()?;
        link.doubt = image.doubt;
        link.purpose = image.purpose;
        Ok(link)
    }
}
