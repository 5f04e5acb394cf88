//! The bytes of a message: `docs/metadata_protocol.md`.

use millrace_types::{BrokerId, DirectoryId};
use serde::de::DeserializeOwned;

use crate::chain::ChainHash;
use crate::command::Command;
use crate::identity::Proposer;

use super::ballot::{Ballot, Value};
use super::message::Message;

/// Bytes of the largest message.
pub const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

/// Bytes of the largest entry that is proposed: with everything around it, it fits into a message.
pub(super) const MAX_VALUE_BYTES: usize = MAX_MESSAGE_BYTES - 4096;

/// Bytes of the commands that are forwarded; their results fit into a message as well.
const MAX_FORWARD_BYTES: usize = 256 * 1024;

const LAYOUT: u8 = 1;

/// Why bytes are no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// More than [`MAX_MESSAGE_BYTES`].
    #[error("{0} bytes are more than a message may have")]
    TooLong(usize),
    /// Of another layout.
    #[error("layout {0} is unknown")]
    Layout(u8),
    /// Of another kind.
    #[error("kind {0} is unknown")]
    Kind(u8),
    /// The bytes end before the message does.
    #[error("the message is cut off")]
    CutOff,
    /// Bytes follow the last field.
    #[error("{0} bytes follow the last field")]
    Rest(usize),
    /// A flag is neither 0 nor 1, or a text is not what it should be.
    #[error("a field is malformed")]
    Field,
}

/// Whether commands are small enough to be forwarded.
pub(super) fn forward_fits(commands: &[Command]) -> bool {
    serde_json::to_vec(commands).is_ok_and(|bytes| bytes.len() <= MAX_FORWARD_BYTES)
}

impl Message {
    /// The message's bytes: the same for equal messages.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let out = Writer(vec![LAYOUT, self.kind()]);
        let out = match self {
            Self::Prepare { slot, ballot } | Self::Accepted { slot, ballot } => out.slot(*slot).ballot(*ballot),
            Self::Promise { slot, ballot, accepted } => {
                let out = out.slot(*slot).ballot(*ballot).flag(accepted.is_some());
                match accepted {
                    Some((ballot, value)) => out.ballot(*ballot).bytes(value),
                    None => out,
                }
            }
            Self::Nack { slot, ballot, promised } => out.slot(*slot).ballot(*ballot).ballot(*promised),
            Self::Accept { slot, ballot, value } => out.slot(*slot).ballot(*ballot).bytes(value),
            Self::Chosen { first, values, hash } => {
                let out = out.slot(*first).raw(hash.as_bytes()).count(values.len());
                values.iter().fold(out, |out, value| out.bytes(value))
            }
            Self::Behind { slot, applied } => out.slot(*slot).slot(*applied),
            Self::NotAcceptor { slot } => out.slot(*slot),
            Self::Status { applied, hash } => out.slot(*applied).raw(hash.as_bytes()),
            Self::Query { id, slot } => out.slot(*id).slot(*slot),
            Self::Head { id, applied, undecided } => out.slot(*id).slot(*applied).flag(*undecided),
            Self::Fetch { after, snapshot } => {
                let out = out.slot(*after).flag(snapshot.is_some());
                match snapshot {
                    Some((epoch, offset)) => out.slot(*epoch).slot(*offset),
                    None => out,
                }
            }
            Self::Snapshot { epoch, total, offset, bytes } => out.slot(*epoch).slot(*total).slot(*offset).bytes(bytes),
            Self::Forward { id, slot, number, commands } => out.slot(*id).slot(*slot).slot(*number).json(commands),
            Self::Forwarded { id, outcome } => {
                let out = out.slot(*id).flag(outcome.is_some());
                match outcome {
                    Some((epoch, results)) => out.slot(*epoch).json(results),
                    None => out,
                }
            }
        };
        out.0
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::Prepare { .. } => 1,
            Self::Promise { .. } => 2,
            Self::Nack { .. } => 3,
            Self::Accept { .. } => 4,
            Self::Accepted { .. } => 5,
            Self::Chosen { .. } => 6,
            Self::Behind { .. } => 7,
            Self::NotAcceptor { .. } => 8,
            Self::Status { .. } => 9,
            Self::Query { .. } => 10,
            Self::Head { .. } => 11,
            Self::Fetch { .. } => 12,
            Self::Snapshot { .. } => 13,
            Self::Forward { .. } => 14,
            Self::Forwarded { .. } => 15,
        }
    }

    /// Reads a message's bytes.
    ///
    /// # Errors
    /// When they are not the bytes of one message.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_MESSAGE_BYTES {
            return Err(DecodeError::TooLong(bytes.len()));
        }
        let mut from = Reader(bytes);
        let layout = from.byte()?;
        if layout != LAYOUT {
            return Err(DecodeError::Layout(layout));
        }
        let kind = from.byte()?;
        let message = Self::fields(kind, &mut from)?;
        if from.0.is_empty() { Ok(message) } else { Err(DecodeError::Rest(from.0.len())) }
    }

    fn fields(kind: u8, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match kind {
            1 => Self::Prepare { slot: from.slot()?, ballot: from.ballot()? },
            2 => Self::Promise { slot: from.slot()?, ballot: from.ballot()?, accepted: from.accepted()? },
            3 => Self::Nack { slot: from.slot()?, ballot: from.ballot()?, promised: from.ballot()? },
            4 => Self::Accept { slot: from.slot()?, ballot: from.ballot()?, value: from.bytes()?.into() },
            5 => Self::Accepted { slot: from.slot()?, ballot: from.ballot()? },
            6 => {
                let (first, hash, count) = (from.slot()?, from.hash()?, from.count()?);
                // Each entry takes its length at least, so the count is bounded by what is there.
                if count > from.0.len() / 4 {
                    return Err(DecodeError::CutOff);
                }
                let values = (0..count).map(|_| Ok(from.bytes()?.into())).collect::<Result<_, DecodeError>>()?;
                Self::Chosen { first, values, hash }
            }
            7 => Self::Behind { slot: from.slot()?, applied: from.slot()? },
            8 => Self::NotAcceptor { slot: from.slot()? },
            9 => Self::Status { applied: from.slot()?, hash: from.hash()? },
            10 => Self::Query { id: from.slot()?, slot: from.slot()? },
            11 => Self::Head { id: from.slot()?, applied: from.slot()?, undecided: from.flag()? },
            12 => {
                let after = from.slot()?;
                let snapshot = if from.flag()? { Some((from.slot()?, from.slot()?)) } else { None };
                Self::Fetch { after, snapshot }
            }
            13 => {
                let (epoch, total, offset) = (from.slot()?, from.slot()?, from.slot()?);
                Self::Snapshot { epoch, total, offset, bytes: from.bytes()?.into() }
            }
            14 => {
                let (id, slot, number) = (from.slot()?, from.slot()?, from.slot()?);
                Self::Forward { id, slot, number, commands: from.json()? }
            }
            15 => {
                let id = from.slot()?;
                let outcome = if from.flag()? { Some((from.slot()?, from.json()?)) } else { None };
                Self::Forwarded { id, outcome }
            }
            kind => return Err(DecodeError::Kind(kind)),
        })
    }
}

/// Fields behind one another, big-endian.
struct Writer(Vec<u8>);

impl Writer {
    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn slot(self, number: u64) -> Self {
        self.raw(&number.to_be_bytes())
    }

    fn flag(self, set: bool) -> Self {
        self.raw(&[u8::from(set)])
    }

    fn count(self, count: usize) -> Self {
        self.raw(&u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes())
    }

    fn bytes(self, bytes: &[u8]) -> Self {
        self.count(bytes.len()).raw(bytes)
    }

    fn ballot(self, ballot: Ballot) -> Self {
        let Proposer { broker, directory, incarnation } = ballot.by;
        self.slot(ballot.n).raw(&broker.0.to_be_bytes()).raw(directory.0.as_bytes()).slot(incarnation)
    }

    fn json<T: serde::Serialize>(self, value: &T) -> Self {
        // These types have no map with other keys than text, so that writing them cannot fail.
        self.bytes(&serde_json::to_vec(value).unwrap_or_default())
    }
}

/// What is left of a message.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (bytes, rest) = self.0.split_first_chunk::<N>().ok_or(DecodeError::CutOff)?;
        self.0 = rest;
        Ok(*bytes)
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        Ok(self.take::<1>()?[0])
    }

    fn slot(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_be_bytes(self.take()?))
    }

    fn flag(&mut self) -> Result<bool, DecodeError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Field),
        }
    }

    fn count(&mut self) -> Result<usize, DecodeError> {
        usize::try_from(u32::from_be_bytes(self.take()?)).map_err(|_| DecodeError::CutOff)
    }

    fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.count()?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(DecodeError::CutOff)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn hash(&mut self) -> Result<ChainHash, DecodeError> {
        Ok(ChainHash::from_bytes(self.take()?))
    }

    fn ballot(&mut self) -> Result<Ballot, DecodeError> {
        let n = self.slot()?;
        let broker = BrokerId(i32::from_be_bytes(self.take()?));
        let directory = DirectoryId::from_u128(u128::from_be_bytes(self.take()?));
        Ok(Ballot { n, by: Proposer { broker, directory, incarnation: self.slot()? } })
    }

    fn accepted(&mut self) -> Result<Option<(Ballot, Value)>, DecodeError> {
        if self.flag()? { Ok(Some((self.ballot()?, self.bytes()?.into()))) } else { Ok(None) }
    }

    fn json<T: DeserializeOwned>(&mut self) -> Result<T, DecodeError> {
        serde_json::from_slice(self.bytes()?).map_err(|_| DecodeError::Field)
    }
}

#[cfg(test)]
mod tests;
