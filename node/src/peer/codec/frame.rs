//! A frame: its length, checksum, layout and kind, and what each kind holds.

use bytes::{BufMut, Bytes, BytesMut};
use crc_fast::{CrcAlgorithm, Digest};
use thiserror::Error;

use super::fields::Fields;
use super::message::read_messages;
use super::{Hello, PeerMessage, Refusal};

/// The protocol that this build speaks, and the only one.
pub const PROTOCOL: u16 = 2;
/// Bytes of the length in front of each frame; the length does not count them.
pub const LENGTH_LEN: usize = 4;
/// The longest frame, its length apart: room for the longest record batch.
pub const MAX_FRAME: usize = 128 << 20;
/// The longest record batch that a topic takes, whatever its settings say: a longer one could not be replicated.
pub const MAX_BATCH: usize = 100 << 20;
const _: () = assert!(MAX_BATCH + (1 << 20) < MAX_FRAME, "a response with the longest batch fits in a frame");
/// The most messages in a frame: what they take in memory is a multiple of what they take in the frame.
pub const MAX_MESSAGES: usize = 65_536;
/// The longest first frame of a connection: who speaks is not known yet.
pub const MAX_GREETING: usize = 4 << 10;

/// Version of the layout of frames; hello and refusal keep version 1 for ever.
const LAYOUT: u8 = 1;
/// Checksum, layout and kind.
const HEADER_LEN: usize = 6;
pub(super) const CRC_END: usize = LENGTH_LEN + 4;

/// What brokers tell each other.
#[derive(Debug, Clone)]
pub enum PeerFrame {
    /// The first frame of a connection, and the answer to it.
    Hello(Hello),
    /// The answer to a hello that is not accepted; the connection ends with it.
    HelloRefused(Refusal),
    /// The sender lives.
    Keepalive {
        /// Grows as the sender's threads go on; what it counts is the sender's matter.
        tick: u64,
    },
    /// Messages of replicas.
    Messages(Messages),
    /// Something that is not of a partition.
    Plane(PlaneMessage),
}

/// What a message that is not of a partition is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Plane {
    /// The metadata log: what its cores say.
    Metadata,
    /// Who leads: hints.
    Leaders,
}

/// A message that is not of a partition. It goes by the control connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaneMessage {
    /// What it is about.
    pub plane: Plane,
    /// What it says, in the form of its plane.
    pub body: Bytes,
}

impl PlaneMessage {
    fn read(fields: &mut Fields) -> Result<Self, PeerWireError> {
        let plane = match fields.u8("the plane")? {
            1 => Plane::Metadata,
            2 => Plane::Leaders,
            kind => return Err(PeerWireError::Kind { what: "a plane", kind }),
        };
        let length = fields.rest().len();
        Ok(Self { plane, body: fields.take(length, "the body")? })
    }

    /// The frame, its length included.
    #[must_use]
    pub fn frame(&self) -> Bytes {
        let mut out = begin(Kind::PLANE);
        out.put_u8(match self.plane {
            Plane::Metadata => 1,
            Plane::Leaders => 2,
        });
        out.put_slice(&self.body);
        finish(out)
    }
}

/// Messages of many partitions, in the order they were sent.
#[derive(Debug, Clone, Default)]
pub struct Messages {
    /// The last metadata epoch that the sender has applied.
    pub metadata_epoch: u64,
    /// The messages.
    pub messages: Vec<PeerMessage>,
}

/// Why a frame is not taken. The connection it came by is of no use any more.
#[derive(Debug, Clone, Copy, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerWireError {
    /// The length cannot be right.
    #[error("a frame of {length} bytes, where {max} are allowed")]
    Length {
        /// As read.
        length: u64,
        /// The bound that holds here.
        max: usize,
    },
    /// The bytes are not those that were sent.
    #[error("the frame's checksum is {actual:#010x}, it says {expected:#010x}")]
    Crc {
        /// As the frame says.
        expected: u32,
        /// Of the bytes that came.
        actual: u32,
    },
    /// The layout is of another protocol.
    #[error("layout {0} is not known")]
    Layout(u8),
    /// There is no such kind.
    #[error("{what} of kind {kind} is not known")]
    Kind {
        /// Of what.
        what: &'static str,
        /// As read.
        kind: u8,
    },
    /// The frame ends in the middle of a field.
    #[error("the frame ends inside {0}")]
    Truncated(&'static str),
    /// A field has a value that it cannot have.
    #[error("{0} has an impossible value")]
    Impossible(&'static str),
    /// There is something behind the last field.
    #[error("{0} bytes behind the last field")]
    Trailing(usize),
}

/// Bytes to read behind a frame's length; `greeted` is whether the connection has brought a hello already.
///
/// # Errors
/// When no such frame can be.
pub fn frame_size(length: [u8; LENGTH_LEN], greeted: bool) -> Result<usize, PeerWireError> {
    let max = if greeted { MAX_FRAME } else { MAX_GREETING };
    let length = u32::from_be_bytes(length);
    let size = usize::try_from(length).unwrap_or(usize::MAX);
    if (HEADER_LEN..=max).contains(&size) {
        return Ok(size);
    }
    Err(PeerWireError::Length { length: length.into(), max })
}

/// Reads a frame, which begins behind its length.
///
/// # Errors
/// When it is not one, as a whole and to the last byte.
pub fn decode(frame: Bytes) -> Result<PeerFrame, PeerWireError> {
    if frame.len() > MAX_FRAME {
        return Err(PeerWireError::Length { length: frame.len() as u64, max: MAX_FRAME });
    }
    let mut fields = Fields::new(frame);
    let expected = fields.u32("the checksum")?;
    let actual = checksum([fields.rest()]);
    if expected != actual {
        return Err(PeerWireError::Crc { expected, actual });
    }
    let layout = fields.u8("the layout")?;
    if layout != LAYOUT {
        return Err(PeerWireError::Layout(layout));
    }
    let frame = match fields.u8("the kind")? {
        Kind::HELLO => PeerFrame::Hello(Hello::read(&mut fields)?),
        Kind::REFUSED => PeerFrame::HelloRefused(Refusal::read(&mut fields)?),
        Kind::KEEPALIVE => PeerFrame::Keepalive { tick: fields.u64("tick")? },
        Kind::MESSAGES => PeerFrame::Messages(read_messages(&mut fields)?),
        Kind::PLANE => PeerFrame::Plane(PlaneMessage::read(&mut fields)?),
        kind => return Err(PeerWireError::Kind { what: "a frame", kind }),
    };
    match fields.rest().len() {
        0 => Ok(frame),
        left => Err(PeerWireError::Trailing(left)),
    }
}

/// The frame of a hello, its length included.
#[must_use]
pub fn hello_frame(hello: &Hello) -> Bytes {
    let mut out = begin(Kind::HELLO);
    hello.write(&mut out);
    finish(out)
}

/// The frame of a refusal, its length included.
#[must_use]
pub fn refused_frame(refusal: Refusal) -> Bytes {
    let mut out = begin(Kind::REFUSED);
    refusal.write(&mut out);
    finish(out)
}

/// The frame of a keepalive, its length included: for the thread that sends them.
#[must_use]
pub fn keepalive_frame(tick: u64) -> Bytes {
    let mut out = begin(Kind::KEEPALIVE);
    out.put_u64(tick);
    finish(out)
}

/// Numbers of the kinds of frames.
pub(super) struct Kind;

impl Kind {
    const HELLO: u8 = 1;
    const REFUSED: u8 = 2;
    const KEEPALIVE: u8 = 3;
    pub(super) const MESSAGES: u8 = 4;
    const PLANE: u8 = 5;
}

/// A frame with room for its length and checksum.
pub(super) fn begin(kind: u8) -> BytesMut {
    let mut out = BytesMut::with_capacity(128);
    out.put_bytes(0, CRC_END);
    out.put_u8(LAYOUT);
    out.put_u8(kind);
    out
}

/// Writes the length and the checksum of a frame without records.
pub(super) fn finish(mut out: BytesMut) -> Bytes {
    let sum = checksum([out.get(CRC_END..).unwrap_or_default()]);
    let length = out.len() - LENGTH_LEN;
    seal(&mut out, length, sum);
    out.freeze()
}

/// Writes length and checksum where [`begin`] has left room.
pub(super) fn seal(out: &mut [u8], length: usize, sum: u32) {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    for (place, byte) in out.iter_mut().zip(length.to_be_bytes().into_iter().chain(sum.to_be_bytes())) {
        *place = byte;
    }
}

/// CRC-32C of byte strings one after another.
#[allow(clippy::cast_possible_truncation, reason = "the library answers a 32-bit sum in the low half of 64 bits")]
pub(super) fn checksum<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    for part in parts {
        digest.update(part);
    }
    digest.finalize() as u32
}
