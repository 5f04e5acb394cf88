//! A group as administrators see it.

use std::sync::Arc;

use super::{Group, GroupState};
use crate::response::{DescribedGroup, DescribedMember, ListedGroup};

impl Group {
    /// What `DescribeGroups` shows. Metadata and assignments are shown of a stable group alone: in a rebalance they
    /// belong to different generations.
    pub(crate) fn describe(&self) -> DescribedGroup {
        let is_stable = self.state == GroupState::Stable;
        let protocol = self.protocol.as_deref().filter(|_| is_stable);
        let describe = |member: &super::Member| DescribedMember {
            member_id: member.id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: member.metadata(protocol),
            assignment: if is_stable { member.assignment.clone() } else { bytes::Bytes::new() },
        };
        DescribedGroup {
            group: self.id.clone(),
            state: self.state,
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            protocol: protocol.unwrap_or_default().into(),
            members: self.members.values().map(describe).collect(),
        }
    }

    /// What `DescribeGroups` shows of a group that does not exist.
    pub(crate) fn describe_missing(id: Arc<str>) -> DescribedGroup {
        let none: Arc<str> = "".into();
        let state = GroupState::Dead;
        DescribedGroup { group: id, state, protocol_type: none.clone(), protocol: none, members: Vec::new() }
    }

    /// What `ListGroups` shows.
    pub(crate) fn list(&self) -> ListedGroup {
        let protocol_type = self.protocol_type.clone().unwrap_or_default();
        ListedGroup { group: self.id.clone(), protocol_type, state: self.state }
    }
}
