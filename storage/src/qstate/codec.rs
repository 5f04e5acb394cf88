//! The bytes of a record of the write-ahead store.
//!
//! ```text
//! 0  1  kind; an unknown kind of 128 or more may be skipped, one below is refused
//! 1  1  version of the kind's body, from 1
//! 2  2  length of the body
//! 4     body; numbers little endian; tp = topic id (16), partition (4); an optional field is a byte 0 or 1, then it
//! ```
//!
//! | kind | body, version 1 |
//! |---|---|
//! | 1 Term | tp, epoch i32, optional (broker i32, directory 16) |
//! | 2 Epoch | tp, epoch i32, start i64 |
//! | 3 Trunc | tp, to i64, epoch i32 |
//! | 4 Cfg | tp, generation u32, epoch i32, version u32, count u8, each: broker i32, directory 16, role u8 |
//! | 5 Volatile | tp, 0 or 1 |
//! | 6 Flushed | tp, upto i64 |
//! | 7 Start | tp, offset i64 |
//! | 8 Forget | tp |
//! | 9 Boot | directory 16, incarnation u64, nonce u64, length u8, boot id in UTF-8 |
//! | 10 Suspect | tp |
//! | 11 Recovering | tp, 0 or 1 |
//! | 12 Cutting | tp, to i64, epoch i32 |
//! | 13 Seen | broker i32, directory 16, incarnation u64, nonce u64 |
//! | 14 WitnessEnd | tp, end i64 |
//! | 15 Told | broker i32, incarnation u64, nonce u64 |

use millrace_types::{BrokerId, DirectoryId, Offset, TopicId, TopicPartition};
use thiserror::Error;
use uuid::Uuid;

use super::record::{BootRecord, Configuration, QRecord, SeenStart, ToldStart, Voter, VoterRole};

const VERSION: u8 = 1;
const HEAD: usize = 4;
/// Kinds from here on say nothing a reader must know.
const OPTIONAL: u8 = 128;

/// Names of the kinds, from 1.
const NAMES: [&str; 15] = [
    "Term",
    "Epoch",
    "Trunc",
    "Cfg",
    "Volatile",
    "Flushed",
    "Start",
    "Forget",
    "Boot",
    "Suspect",
    "Recovering",
    "Cutting",
    "Seen",
    "WitnessEnd",
    "Told",
];

/// Why the bytes of a record are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A kind that must be understood and is not.
    #[error("record of the unknown kind {0}; it was written by a later version")]
    UnknownKind(u8),
    /// A known kind in an unknown form.
    #[error("{kind} record of the unknown version {version}; it was written by a later version")]
    UnknownVersion {
        /// Name of the kind.
        kind: &'static str,
        /// The version it names.
        version: u8,
    },
    /// A known kind whose body is too short, too long, or holds an impossible value.
    #[error("malformed {0} record")]
    Malformed(&'static str),
    /// A body is longer than what is left.
    #[error("truncated record")]
    Truncated,
}

/// A record has more voters, or a longer boot id, than its encoding has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a configuration of more than 255 voters, or a boot id of more than 255 bytes")]
pub(super) struct TooLong;

struct Writer<'a>(&'a mut Vec<u8>);

impl Writer<'_> {
    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn tp(&mut self, tp: TopicPartition) -> &mut Self {
        self.bytes(tp.topic.0.as_bytes()).bytes(&tp.partition.to_le_bytes())
    }

    /// The body of a record of `kind` that names an offset.
    fn offset(&mut self, kind: u8, tp: TopicPartition, offset: Offset) -> u8 {
        self.tp(tp).bytes(&offset.to_le_bytes());
        kind
    }
}

/// Appends the encoding of `record` to `out`.
pub(super) fn encode(record: &QRecord, out: &mut Vec<u8>) -> Result<(), TooLong> {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD]);
    let kind = encode_body(record, &mut Writer(out))?;
    let len = u16::try_from(out.len() - start - HEAD).map_err(|_| TooLong)?;
    out[start] = kind;
    out[start + 1] = VERSION;
    out[start + 2..start + HEAD].copy_from_slice(&len.to_le_bytes());
    Ok(())
}

fn encode_body(record: &QRecord, out: &mut Writer<'_>) -> Result<u8, TooLong> {
    Ok(match record {
        QRecord::Term { tp, term, voted_for } => {
            out.tp(*tp).bytes(&term.to_le_bytes()).bytes(&[u8::from(voted_for.is_some())]);
            if let Some((broker, directory)) = voted_for {
                out.bytes(&broker.0.to_le_bytes()).bytes(directory.0.as_bytes());
            }
            1
        }
        QRecord::Epoch { tp, epoch, start } => {
            out.tp(*tp).bytes(&epoch.to_le_bytes()).bytes(&start.to_le_bytes());
            2
        }
        QRecord::Trunc { tp, to, epoch } => {
            out.tp(*tp).bytes(&to.to_le_bytes()).bytes(&epoch.to_le_bytes());
            3
        }
        QRecord::Cfg { tp, cfg } => {
            let count = u8::try_from(cfg.voters.len()).map_err(|_| TooLong)?;
            out.tp(*tp).bytes(&cfg.generation.to_le_bytes()).bytes(&cfg.epoch.to_le_bytes());
            out.bytes(&cfg.version.to_le_bytes()).bytes(&[count]);
            for voter in &cfg.voters {
                out.bytes(&voter.broker.0.to_le_bytes()).bytes(voter.directory.0.as_bytes()).bytes(&[role(voter.role)]);
            }
            4
        }
        QRecord::Volatile { tp, volatile } => {
            out.tp(*tp).bytes(&[u8::from(*volatile)]);
            5
        }
        QRecord::Flushed { tp, upto } => out.offset(6, *tp, *upto),
        QRecord::Start { tp, offset } => out.offset(7, *tp, *offset),
        QRecord::Forget { tp } => {
            out.tp(*tp);
            8
        }
        QRecord::Boot(boot) => {
            let len = u8::try_from(boot.boot_id.len()).map_err(|_| TooLong)?;
            out.bytes(boot.directory.0.as_bytes()).bytes(&boot.incarnation.to_le_bytes());
            out.bytes(&boot.nonce.to_le_bytes()).bytes(&[len]).bytes(boot.boot_id.as_bytes());
            9
        }
        QRecord::Suspect { tp } => {
            out.tp(*tp);
            10
        }
        QRecord::Recovering { tp, recovering } => {
            out.tp(*tp).bytes(&[u8::from(*recovering)]);
            11
        }
        QRecord::Cutting { tp, to, epoch } => {
            out.tp(*tp).bytes(&to.to_le_bytes()).bytes(&epoch.to_le_bytes());
            12
        }
        QRecord::Seen(seen) => {
            out.bytes(&seen.broker.0.to_le_bytes()).bytes(seen.directory.0.as_bytes());
            out.bytes(&seen.incarnation.to_le_bytes()).bytes(&seen.nonce.to_le_bytes());
            13
        }
        QRecord::WitnessEnd { tp, end } => out.offset(14, *tp, *end),
        QRecord::Told(told) => {
            out.bytes(&told.broker.0.to_le_bytes());
            out.bytes(&told.incarnation.to_le_bytes()).bytes(&told.nonce.to_le_bytes());
            15
        }
    })
}

fn role(role: VoterRole) -> u8 {
    match role {
        VoterRole::Data => 0,
        VoterRole::Witness => 1,
        VoterRole::Learner => 2,
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    fn flag(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn directory(&mut self) -> Option<DirectoryId> {
        self.array().map(|bytes| DirectoryId(Uuid::from_bytes(bytes)))
    }

    fn tp(&mut self) -> Option<TopicPartition> {
        let topic = TopicId(Uuid::from_bytes(self.array()?));
        Some(TopicPartition::new(topic, self.i32()?))
    }

    fn voter(&mut self) -> Option<Voter> {
        let (broker, directory) = (BrokerId(self.i32()?), self.directory()?);
        let role = match self.u8()? {
            0 => VoterRole::Data,
            1 => VoterRole::Witness,
            2 => VoterRole::Learner,
            _ => return None,
        };
        Some(Voter { broker, directory, role })
    }
}

/// The records that follow each other in `bytes`, without those that may be skipped.
pub(super) fn decode_all(bytes: &[u8]) -> Result<Vec<QRecord>, DecodeError> {
    let mut reader = Reader(bytes);
    let mut records = Vec::new();
    while !reader.0.is_empty() {
        let mut head = || Some((reader.u8()?, reader.u8()?, u16::from_le_bytes(reader.array()?)));
        let (kind, version, len) = head().ok_or(DecodeError::Truncated)?;
        let body = reader.bytes(usize::from(len)).ok_or(DecodeError::Truncated)?;
        let known = usize::from(kind).checked_sub(1).and_then(|at| NAMES.get(at));
        match known {
            None if kind >= OPTIONAL => {}
            None => return Err(DecodeError::UnknownKind(kind)),
            Some(name) if version != VERSION => return Err(DecodeError::UnknownVersion { kind: name, version }),
            Some(name) => {
                let mut body = Reader(body);
                let record = decode_body(kind, &mut body).filter(|_| body.0.is_empty());
                records.push(record.ok_or(DecodeError::Malformed(name))?);
            }
        }
    }
    Ok(records)
}

fn decode_body(kind: u8, body: &mut Reader<'_>) -> Option<QRecord> {
    if kind == 9 {
        let (directory, incarnation, nonce, len) = (body.directory()?, body.u64()?, body.u64()?, body.u8()?);
        let boot_id = std::str::from_utf8(body.bytes(usize::from(len))?).ok()?.to_owned();
        return Some(QRecord::Boot(BootRecord { directory, incarnation, boot_id, nonce }));
    }
    if kind == 13 {
        let (broker, directory) = (BrokerId(body.i32()?), body.directory()?);
        return Some(QRecord::Seen(SeenStart { broker, directory, incarnation: body.u64()?, nonce: body.u64()? }));
    }
    if kind == 15 {
        let broker = BrokerId(body.i32()?);
        return Some(QRecord::Told(ToldStart { broker, incarnation: body.u64()?, nonce: body.u64()? }));
    }
    let tp = body.tp()?;
    Some(match kind {
        1 => {
            let term = body.i32()?;
            let voted_for = if body.flag()? { Some((BrokerId(body.i32()?), body.directory()?)) } else { None };
            QRecord::Term { tp, term, voted_for }
        }
        2 => QRecord::Epoch { tp, epoch: body.i32()?, start: body.i64()? },
        3 => QRecord::Trunc { tp, to: body.i64()?, epoch: body.i32()? },
        4 => {
            let (generation, epoch, version, count) = (body.u32()?, body.i32()?, body.u32()?, body.u8()?);
            let voters = (0..count).map(|_| body.voter()).collect::<Option<Vec<_>>>()?;
            QRecord::Cfg { tp, cfg: Configuration { generation, epoch, version, voters } }
        }
        5 => QRecord::Volatile { tp, volatile: body.flag()? },
        6 => QRecord::Flushed { tp, upto: body.i64()? },
        7 => QRecord::Start { tp, offset: body.i64()? },
        8 => QRecord::Forget { tp },
        10 => QRecord::Suspect { tp },
        11 => QRecord::Recovering { tp, recovering: body.flag()? },
        12 => QRecord::Cutting { tp, to: body.i64()?, epoch: body.i32()? },
        14 => QRecord::WitnessEnd { tp, end: body.i64()? },
        _ => return None,
    })
}
