//! The value of a group: its generation, its members and their assignments.

use std::sync::Arc;

use bytes::Bytes;
use millrace_types::Timestamp;

use super::FormatError;
use super::reader::Reader;
use super::writer::Writer;

const SCHEMA: &str = "GroupMetadataValue";
const WRITTEN: i16 = 3;
/// A member of version 4, the shortest, whose strings and byte fields are empty.
const MEMBER_MIN_BYTES: usize = 15;

/// A group, Kafka's `GroupMetadataValue`.
///
/// ```text
/// protocolType: string, generation: int32, protocol: string?, leader: string?, currentStateTimestamp: int64 (2+),
/// members: [memberId: string, groupInstanceId: string? (3+), clientId: string, clientHost: string,
///           rebalanceTimeout: int32 (1+), sessionTimeout: int32, subscription: bytes, assignment: bytes]
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupValue {
    /// The protocol type, empty when the group has none.
    pub protocol_type: Arc<str>,
    /// The generation.
    pub generation: i32,
    /// The selected protocol.
    pub protocol: Option<Arc<str>>,
    /// Member id of the leader.
    pub leader: Option<Arc<str>>,
    /// When the group came into its state, `-1` for unknown.
    pub state_timestamp: Timestamp,
    /// The members.
    pub members: Vec<MemberValue>,
}

/// One member of a [`GroupValue`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberValue {
    /// The member.
    pub member_id: Arc<str>,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<Arc<str>>,
    /// `client.id` of the member.
    pub client_id: Arc<str>,
    /// Address of the member.
    pub client_host: Arc<str>,
    /// Rebalance timeout in milliseconds.
    pub rebalance_timeout_ms: i32,
    /// Session timeout in milliseconds.
    pub session_timeout_ms: i32,
    /// The member's metadata for the selected protocol.
    pub subscription: Bytes,
    /// The member's assignment.
    pub assignment: Bytes,
}

impl GroupValue {
    /// Reads a value of version 0 to 4.
    ///
    /// # Errors
    /// When the bytes are no such value.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        let version = reader.int16("version")?;
        if !(0..=4).contains(&version) {
            return Err(FormatError::UnknownVersion { schema: SCHEMA, version });
        }
        if version >= 4 {
            reader.set_flexible();
        }
        let mut value = Self {
            protocol_type: reader.string("protocolType")?.into(),
            generation: reader.int32("generation")?,
            protocol: reader.nullable_string("protocol")?.map(Arc::from),
            leader: reader.nullable_string("leader")?.map(Arc::from),
            state_timestamp: if version >= 2 { reader.int64("currentStateTimestamp")? } else { -1 },
            members: Vec::new(),
        };
        for _ in 0..reader.count(MEMBER_MIN_BYTES, "members")? {
            value.members.push(MemberValue::decode(&mut reader, version)?);
        }
        reader.skip_tagged("tagged fields")?;
        reader.finish(SCHEMA)?;
        Ok(value)
    }

    /// Writes the value as version 3.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::new(WRITTEN, self.encoded_len());
        writer.string(&self.protocol_type);
        writer.int32(self.generation);
        writer.nullable_string(self.protocol.as_deref());
        writer.nullable_string(self.leader.as_deref());
        writer.int64(self.state_timestamp);
        writer.count(self.members.len());
        for member in &self.members {
            member.encode(&mut writer);
        }
        writer.finish()
    }

    /// Length of what [`GroupValue::encode`] writes.
    pub(crate) fn encoded_len(&self) -> usize {
        let text = |value: &Option<Arc<str>>| value.as_deref().map_or(0, str::len);
        let head = 2 + 2 + self.protocol_type.len() + 4 + 2 + text(&self.protocol) + 2 + text(&self.leader) + 8 + 4;
        self.members.iter().fold(head, |sum, member| {
            sum + 24
                + member.member_id.len()
                + text(&member.instance_id)
                + member.client_id.len()
                + member.client_host.len()
                + member.subscription.len()
                + member.assignment.len()
        })
    }
}

impl MemberValue {
    fn decode(reader: &mut Reader<'_>, version: i16) -> Result<Self, FormatError> {
        let member_id = reader.string("memberId")?.into();
        let instance_id = if version >= 3 { reader.nullable_string("groupInstanceId")? } else { None };
        let client_id = reader.string("clientId")?.into();
        let client_host = reader.string("clientHost")?.into();
        let rebalance_timeout = if version >= 1 { Some(reader.int32("rebalanceTimeout")?) } else { None };
        let session_timeout_ms = reader.int32("sessionTimeout")?;
        let member = Self {
            member_id,
            instance_id: instance_id.map(Arc::from),
            client_id,
            client_host,
            rebalance_timeout_ms: rebalance_timeout.unwrap_or(session_timeout_ms),
            session_timeout_ms,
            subscription: reader.bytes("subscription")?,
            assignment: reader.bytes("assignment")?,
        };
        reader.skip_tagged("tagged fields")?;
        Ok(member)
    }

    fn encode(&self, writer: &mut Writer) {
        writer.string(&self.member_id);
        writer.nullable_string(self.instance_id.as_deref());
        writer.string(&self.client_id);
        writer.string(&self.client_host);
        writer.int32(self.rebalance_timeout_ms);
        writer.int32(self.session_timeout_ms);
        writer.bytes(&self.subscription);
        writer.bytes(&self.assignment);
    }
}
