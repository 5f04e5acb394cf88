//! What brokers say of leaders, byte for byte as `docs/peer_protocol.md` draws it.

use bytes::{BufMut, Bytes, BytesMut};
use millrace_types::{BrokerId, LeaderEpoch, TopicId, TopicPartition};

use crate::peer::{Fields, PeerWireError, Plane, PlaneMessage};

/// The most entries of one message.
pub const MAX_ENTRIES: usize = 1_024;
/// The most in-sync replicas of an entry.
pub const MAX_IN_SYNC: usize = 255;

/// Bytes of the shortest entry: partition, flags, epoch.
const MIN_ENTRY_LEN: usize = 16 + 4 + 1 + 4;
const LEADS: u8 = 1;
const COMPLETE: u8 = 1;

/// What the sender says of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// It leads.
    Leads {
        /// The epoch.
        epoch: LeaderEpoch,
        /// The in-sync replicas.
        in_sync: Vec<BrokerId>,
    },
    /// It leads no longer, what it led was this epoch.
    Left {
        /// The epoch.
        epoch: LeaderEpoch,
    },
}

/// What brokers say of leaders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeadersMessage {
    /// Entries of the sender.
    Update {
        /// Number of the stream: each session has another.
        stream: u64,
        /// Number of the message in its stream, from 0.
        number: u64,
        /// Whether all that the sender led when the stream began has been told with it.
        complete: bool,
        /// The entries.
        entries: Vec<(TopicPartition, Entry)>,
    },
    /// All updates of the stream up to this one have come.
    Taken {
        /// The stream.
        stream: u64,
        /// The update.
        number: u64,
    },
    /// Who leads the partition is asked to hand it over.
    Transfer {
        /// The partition.
        partition: TopicPartition,
        /// To whom.
        to: BrokerId,
    },
}

impl LeadersMessage {
    const UPDATE: u8 = 1;
    const TAKEN: u8 = 2;
    const TRANSFER: u8 = 3;

    /// The message as the sessions carry it.
    #[must_use]
    pub fn encode(&self) -> PlaneMessage {
        let mut out = BytesMut::new();
        match self {
            Self::Update { stream, number, complete, entries } => {
                out.put_u8(Self::UPDATE);
                out.put_u64(*stream);
                out.put_u64(*number);
                out.put_u8(if *complete { COMPLETE } else { 0 });
                let entries = entries.get(..MAX_ENTRIES).unwrap_or(entries);
                out.put_u32(u32::try_from(entries.len()).unwrap_or(0));
                entries.iter().for_each(|(partition, entry)| put_entry(&mut out, *partition, entry));
            }
            Self::Taken { stream, number } => {
                out.put_u8(Self::TAKEN);
                out.put_u64(*stream);
                out.put_u64(*number);
            }
            Self::Transfer { partition, to } => {
                out.put_u8(Self::TRANSFER);
                put_partition(&mut out, *partition);
                out.put_i32(to.0);
            }
        }
        PlaneMessage { plane: Plane::Leaders, body: out.freeze() }
    }

    /// Reads a message.
    ///
    /// # Errors
    /// The bytes are no such message.
    pub fn decode(body: Bytes) -> Result<Self, PeerWireError> {
        let mut fields = Fields::new(body);
        let message = match fields.u8("the kind of a message about leaders")? {
            Self::UPDATE => read_update(&mut fields)?,
            Self::TAKEN => Self::Taken { stream: fields.u64("stream")?, number: fields.u64("update")? },
            Self::TRANSFER => {
                Self::Transfer { partition: read_partition(&mut fields)?, to: BrokerId(fields.i32("successor")?) }
            }
            kind => return Err(PeerWireError::Kind { what: "a message about leaders", kind }),
        };
        match fields.rest().len() {
            0 => Ok(message),
            trailing => Err(PeerWireError::Trailing(trailing)),
        }
    }
}

fn read_update(fields: &mut Fields) -> Result<LeadersMessage, PeerWireError> {
    let (stream, number) = (fields.u64("stream")?, fields.u64("update")?);
    let complete = fields.flags(COMPLETE, "an update's flags")? == COMPLETE;
    let count = fields.count(MIN_ENTRY_LEN, "entries")?;
    if count > MAX_ENTRIES {
        return Err(PeerWireError::Impossible("entries"));
    }
    let entries = (0..count).map(|_| read_entry(fields)).collect::<Result<_, _>>()?;
    Ok(LeadersMessage::Update { stream, number, complete, entries })
}

fn put_partition(out: &mut BytesMut, partition: TopicPartition) {
    out.put_slice(partition.topic.0.as_bytes());
    out.put_i32(partition.partition);
}

fn read_partition(fields: &mut Fields) -> Result<TopicPartition, PeerWireError> {
    let topic = TopicId(fields.uuid("topic id")?);
    Ok(TopicPartition::new(topic, fields.i32("partition")?))
}

fn put_entry(out: &mut BytesMut, partition: TopicPartition, entry: &Entry) {
    put_partition(out, partition);
    match entry {
        Entry::Leads { epoch, in_sync } => {
            let in_sync = in_sync.get(..MAX_IN_SYNC).unwrap_or(in_sync);
            out.put_u8(LEADS);
            out.put_i32(*epoch);
            out.put_u8(u8::try_from(in_sync.len()).unwrap_or(0));
            in_sync.iter().for_each(|broker| out.put_i32(broker.0));
        }
        Entry::Left { epoch } => {
            out.put_u8(0);
            out.put_i32(*epoch);
        }
    }
}

fn read_entry(fields: &mut Fields) -> Result<(TopicPartition, Entry), PeerWireError> {
    let partition = read_partition(fields)?;
    let leads = fields.flags(LEADS, "an entry's flags")? == LEADS;
    let epoch = fields.epoch("an entry's epoch")?;
    if !leads {
        return Ok((partition, Entry::Left { epoch }));
    }
    let count = usize::from(fields.u8("in-sync replicas")?);
    let in_sync = (0..count).map(|_| fields.i32("in-sync replica").map(BrokerId)).collect::<Result<_, _>>()?;
    Ok((partition, Entry::Leads { epoch, in_sync }))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn tp(number: i32) -> TopicPartition {
        TopicPartition::new(TopicId(Uuid::from_u128(7)), number)
    }

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let leads = Entry::Leads { epoch: 7, in_sync: vec![BrokerId(1), BrokerId(2)] };
        let entries = vec![(tp(0), leads), (tp(1), Entry::Left { epoch: 3 })];
        for message in [
            LeadersMessage::Update { stream: 1 << 40, number: 5, complete: true, entries },
            LeadersMessage::Update { stream: 0, number: 0, complete: false, entries: Vec::new() },
            LeadersMessage::Taken { stream: 9, number: u64::MAX },
            LeadersMessage::Transfer { partition: tp(2), to: BrokerId(3) },
        ] {
            let body = message.encode().body;
            assert_eq!(LeadersMessage::decode(body.clone()), Ok(message));
            for cut in 0..body.len() {
                assert!(LeadersMessage::decode(body.slice(..cut)).is_err(), "cut at {cut}");
            }
        }
    }

    #[test]
    fn a_message_is_drawn_as_documented() {
        let entries = vec![(tp(258), Entry::Leads { epoch: 3, in_sync: vec![BrokerId(4)] })];
        let update = LeadersMessage::Update { stream: 2, number: 1, complete: true, entries };
        let hex: String = update.encode().body.iter().map(|byte| format!("{byte:02x}")).collect();
        let entry = "00000000000000000000000000000007000001020100000003010000 0004".replace(' ', "");
        assert_eq!(hex, format!("01{}{}{}{}{entry}", "0000000000000002", "0000000000000001", "01", "00000001"));
    }

    #[test]
    fn more_entries_than_allowed_are_refused() {
        let entries: Vec<_> = (0..=1_024).map(|number| (tp(number), Entry::Left { epoch: 1 })).collect();
        let mut out = BytesMut::new();
        out.put_slice(&[1]);
        out.put_slice(&[0; 8 + 8 + 1]);
        out.put_u32(1_025);
        entries.iter().for_each(|(partition, entry)| put_entry(&mut out, *partition, entry));
        assert_eq!(LeadersMessage::decode(out.freeze()), Err(PeerWireError::Impossible("entries")));
    }

    /// What is taken for a message is written back to the same bytes.
    #[test]
    fn arbitrary_bytes_are_refused_or_read() {
        bolero::check!().with_iterations(8_000).with_type::<(u8, Vec<u8>)>().for_each(|(kind, rest)| {
            let body: Bytes = [kind % 5].iter().chain(rest).copied().collect();
            if let Ok(message) = LeadersMessage::decode(body.clone()) {
                assert_eq!(message.encode().body, body, "one way to say one thing");
            }
        });
    }
}
