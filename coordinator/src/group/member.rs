//! One member of a group.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::member_id::drawn_len;
use crate::record::MemberValue;
use crate::request::{JoinGroup, JoinProtocol};
use crate::response::JoinedMember;

/// A member and the requests of it that wait.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) id: Arc<str>,
    pub(crate) instance_id: Option<Arc<str>>,
    pub(crate) client_id: Arc<str>,
    pub(crate) client_host: Arc<str>,
    pub(crate) session_timeout: Duration,
    pub(crate) rebalance_timeout: Duration,
    /// The preferred protocol first; names are distinct.
    pub(crate) protocols: Vec<JoinProtocol>,
    pub(crate) assignment: Bytes,
    /// The `JoinGroup` that waits for the rebalance.
    pub(super) join: Option<u64>,
    /// The `SyncGroup` that waits for the leader's assignment.
    pub(super) sync: Option<u64>,
    /// It has not been told its id by a completed rebalance yet, so it cannot send heartbeats.
    pub(crate) is_new: bool,
}

impl Member {
    pub(crate) fn new(id: Arc<str>, request: &JoinGroup) -> Self {
        Self {
            id,
            instance_id: request.instance_id.clone(),
            client_id: request.client_id.clone(),
            client_host: request.client_host.clone(),
            session_timeout: request.session_timeout,
            rebalance_timeout: request.rebalance_timeout,
            protocols: own_protocols(&request.protocols),
            assignment: Bytes::new(),
            join: None,
            sync: None,
            is_new: true,
        }
    }

    /// A member as the log has it: of its protocols the selected one alone.
    pub(crate) fn from_value(value: MemberValue, protocol: Option<&Arc<str>>) -> Self {
        let millis = |ms: i32| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
        let metadata = value.subscription;
        Self {
            id: value.member_id,
            instance_id: value.instance_id,
            client_id: value.client_id,
            client_host: value.client_host,
            session_timeout: millis(value.session_timeout_ms),
            rebalance_timeout: millis(value.rebalance_timeout_ms),
            protocols: protocol.map(|name| JoinProtocol { name: name.clone(), metadata }).into_iter().collect(),
            assignment: value.assignment,
            join: None,
            sync: None,
            is_new: false,
        }
    }

    pub(crate) fn to_value(&self, protocol: Option<&str>) -> MemberValue {
        let millis = |time: Duration| i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
        MemberValue {
            member_id: self.id.clone(),
            instance_id: self.instance_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            rebalance_timeout_ms: millis(self.rebalance_timeout),
            session_timeout_ms: millis(self.session_timeout),
            subscription: self.metadata(protocol),
            assignment: self.assignment.clone(),
        }
    }

    pub(crate) fn to_joined(&self, protocol: Option<&str>) -> JoinedMember {
        JoinedMember {
            member_id: self.id.clone(),
            instance_id: self.instance_id.clone(),
            metadata: self.metadata(protocol),
        }
    }

    /// The member's metadata for `protocol`, empty when it does not offer it.
    pub(crate) fn metadata(&self, protocol: Option<&str>) -> Bytes {
        let found = self.protocols.iter().find(|offered| Some(&*offered.name) == protocol);
        found.map(|offered| offered.metadata.clone()).unwrap_or_default()
    }

    /// Whether it offers exactly these protocols, with the same metadata, in the same order.
    pub(crate) fn matches(&self, protocols: &[JoinProtocol]) -> bool {
        self.protocols == own_protocols(protocols)
    }

    /// Whether its `JoinGroup` waits.
    pub(crate) fn is_awaiting_join(&self) -> bool {
        self.join.is_some()
    }

    /// Whether silence of the member means that it is gone. While a known member waits for an answer of ours it
    /// cannot be expected to send heartbeats.
    pub(crate) fn is_expected_to_heartbeat(&self) -> bool {
        self.is_new || (self.join.is_none() && self.sync.is_none())
    }

    /// Bytes of memory that a client decides about, but for its group's name.
    pub(crate) fn bytes(&self) -> usize {
        self.joined_bytes() + self.assignment.len()
    }

    /// Those of [`Member::bytes`] that its `JoinGroup` brought.
    pub(crate) fn joined_bytes(&self) -> usize {
        let instance_id = self.instance_id.as_ref().map_or(0, |id| id.len());
        let names = self.id.len() + instance_id + self.client_id.len() + self.client_host.len();
        names + protocol_bytes(&self.protocols)
    }
}

/// What [`Member::joined_bytes`] of a member will be that joins with `request`, at most.
pub(crate) fn join_bytes(request: &JoinGroup) -> usize {
    let instance_id = request.instance_id.as_ref().map_or(0, |id| id.len());
    let name = request.instance_id.as_ref().unwrap_or(&request.client_id);
    let id = if request.member_id.is_empty() { drawn_len(name) } else { request.member_id.len() };
    id + instance_id + request.client_id.len() + request.client_host.len() + protocol_bytes(&request.protocols)
}

/// Bytes that a list of protocols takes.
pub(crate) fn protocol_bytes(protocols: &[JoinProtocol]) -> usize {
    protocols.iter().map(|protocol| 64 + protocol.name.len() + protocol.metadata.len()).sum()
}

/// Copies of `protocols`, so that a member does not keep the frame of its request in memory; of two protocols with one
/// name the first stays.
pub(crate) fn own_protocols(protocols: &[JoinProtocol]) -> Vec<JoinProtocol> {
    let mut names = std::collections::BTreeSet::new();
    protocols
        .iter()
        .filter(|protocol| names.insert(&protocol.name))
        .map(|protocol| JoinProtocol {
            name: protocol.name.clone(),
            metadata: Bytes::copy_from_slice(&protocol.metadata),
        })
        .collect()
}
