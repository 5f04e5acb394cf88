//! ListPartitionReassignments over the wire.

use super::*;
use crate::api::metadata_call::testing::Admin;

#[test]
fn nothing_is_being_moved() {
    let mut admin = Admin::new(&[]);
    admin.world.topic("a", 1, &[]);
    let response = admin.request(0, &ListPartitionReassignmentsRequest::default().with_topics(None));
    assert_eq!(response.error_code, 0);
    assert!(response.topics.is_empty() && response.error_message.is_none());
}
