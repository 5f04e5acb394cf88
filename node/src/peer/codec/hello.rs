//! Who speaks on a connection, and why it may not.

use bytes::{BufMut, BytesMut};
use millrace_types::{BrokerId, DirectoryId, Incarnation};

use super::fields::{Fields, put_count};
use super::{PROTOCOL, PeerWireError};

/// The most starts that a hello tells. Hosts tell the eight that the write-ahead store keeps.
pub const MAX_STARTS: usize = 64;
/// The longest cluster id, in bytes.
const MAX_CLUSTER_ID: usize = 255;
const START_LEN: usize = 16;

/// A process start of a data directory: its number, and a number drawn at random that tells copies apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Start {
    /// Its number.
    pub incarnation: Incarnation,
    /// Its random number.
    pub nonce: u64,
}

/// The first frame in both directions. All frames behind it inherit what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Id of the cluster, at most 255 bytes.
    pub cluster_id: String,
    /// The newest protocol that the sender speaks.
    pub protocol: u16,
    /// The sender.
    pub broker: BrokerId,
    /// Whom the sender believes to speak to.
    pub to: BrokerId,
    /// The sender's data directory.
    pub directory: DirectoryId,
    /// The last starts of that directory, the oldest first; the last one is the sender's own.
    pub starts: Vec<Start>,
    /// The last metadata epoch that the sender has applied.
    pub metadata_epoch: u64,
    /// Generation of the metadata log.
    pub generation: u32,
    /// The shard whose messages the connection carries: control is 0, then those of partitions, then the catch-up shard.
    pub shard: u8,
    /// Shards of the session that carry partitions; who dials decides.
    pub shards: u8,
    /// Number of the dial among those of the shard in this incarnation of who dials; the answer repeats it.
    pub attempt: u64,
}

/// Why a hello is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// It is of another cluster.
    Cluster,
    /// It is for another broker, or from another than was dialed.
    Broker,
    /// There is no protocol that both speak.
    Protocol,
    /// It is of another generation of the metadata log.
    Generation,
    /// The process has been started again since.
    Stale {
        /// The newest incarnation known.
        known: Incarnation,
    },
    /// The last known start of the directory is not among those it tells: an older state of the disk was restored, or
    /// the disk was copied.
    History {
        /// The start that is missing.
        known: Incarnation,
    },
    /// Two processes claim to be the same start of the same directory: the disk was copied.
    Cloned,
    /// The broker id is in use by another directory.
    Taken,
    /// The fields contradict each other.
    Malformed,
    /// A reason of a later protocol.
    Other(u8),
}

impl Hello {
    /// The sender's own start.
    #[must_use]
    pub fn start(&self) -> Option<Start> {
        self.starts.last().copied()
    }

    /// Whether the fields fit each other.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let grow = self.starts.is_sorted_by(|one, next| one.incarnation < next.incarnation);
        grow && !self.starts.is_empty() && self.shards > 0 && u16::from(self.shard) <= u16::from(self.shards) + 1
    }

    pub(crate) fn write(&self, out: &mut BytesMut) {
        let id = self.cluster_id.as_bytes();
        let id = id.get(..MAX_CLUSTER_ID).unwrap_or(id);
        out.put_u16(self.protocol);
        out.put_u8(u8::try_from(id.len()).unwrap_or(u8::MAX));
        out.put_slice(id);
        out.put_i32(self.broker.0);
        out.put_i32(self.to.0);
        out.put_slice(self.directory.0.as_bytes());
        let told = self.starts.get(self.starts.len().saturating_sub(MAX_STARTS)..).unwrap_or_default();
        put_count(out, told.len());
        for start in told {
            out.put_u64(start.incarnation);
            out.put_u64(start.nonce);
        }
        out.put_u64(self.metadata_epoch);
        out.put_u32(self.generation);
        out.put_u8(self.shard);
        out.put_u8(self.shards);
        out.put_u64(self.attempt);
    }

    pub(crate) fn read(fields: &mut Fields) -> Result<Self, PeerWireError> {
        let protocol = fields.u16("protocol")?;
        let length = fields.u8("cluster id")?;
        let id = fields.take(length.into(), "cluster id")?;
        let cluster_id = std::str::from_utf8(&id).map_err(|_| PeerWireError::Impossible("cluster id"))?.to_owned();
        let (broker, to) = (BrokerId(fields.i32("broker")?), BrokerId(fields.i32("receiver")?));
        let directory = DirectoryId(fields.uuid("directory")?);
        let count = fields.count(START_LEN, "starts")?;
        if count > MAX_STARTS {
            return Err(PeerWireError::Impossible("starts"));
        }
        let mut start = || Ok(Start { incarnation: fields.u64("start")?, nonce: fields.u64("start")? });
        let starts = (0..count).map(|_| start()).collect::<Result<_, PeerWireError>>()?;
        Ok(Self {
            cluster_id,
            protocol,
            broker,
            to,
            directory,
            starts,
            metadata_epoch: fields.u64("metadata epoch")?,
            generation: fields.u32("generation")?,
            shard: fields.u8("shard")?,
            shards: fields.u8("shards")?,
            attempt: fields.u64("attempt")?,
        })
    }
}

impl Refusal {
    const fn code(self) -> u8 {
        match self {
            Self::Cluster => 1,
            Self::Broker => 2,
            Self::Protocol => 3,
            Self::Generation => 4,
            Self::Stale { .. } => 5,
            Self::History { .. } => 6,
            Self::Cloned => 7,
            Self::Taken => 8,
            Self::Malformed => 9,
            Self::Other(code) => code,
        }
    }

    /// Its name, for metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Broker => "broker",
            Self::Protocol => "protocol",
            Self::Generation => "generation",
            Self::Stale { .. } => "stale",
            Self::History { .. } => "history",
            Self::Cloned => "cloned",
            Self::Taken => "taken",
            Self::Malformed => "malformed",
            Self::Other(_) => "other",
        }
    }

    /// Whether only an operator can end it: it is worth an alarm.
    #[must_use]
    pub const fn is_lasting(self) -> bool {
        !matches!(self, Self::Stale { .. } | Self::Taken)
    }

    pub(crate) fn write(self, out: &mut BytesMut) {
        out.put_u16(PROTOCOL);
        out.put_u8(self.code());
        out.put_u64(match self {
            Self::Stale { known } | Self::History { known } => known,
            _ => 0,
        });
    }

    pub(crate) fn read(fields: &mut Fields) -> Result<Self, PeerWireError> {
        let _protocol = fields.u16("protocol")?;
        let code = fields.u8("reason")?;
        let known = fields.u64("known incarnation")?;
        Ok(match code {
            1 => Self::Cluster,
            2 => Self::Broker,
            3 => Self::Protocol,
            4 => Self::Generation,
            5 => Self::Stale { known },
            6 => Self::History { known },
            7 => Self::Cloned,
            8 => Self::Taken,
            9 => Self::Malformed,
            code => Self::Other(code),
        })
    }
}
