//! DescribeCluster over the wire, at every version.

use super::*;
use crate::api::metadata_call::testing::Admin;

#[test]
fn every_version_names_the_brokers() {
    let mut admin = Admin::new(&[]);
    admin.broker(2);
    for version in API.min..=API.max {
        let request = DescribeClusterRequest::default().with_include_cluster_authorized_operations(true);
        let response = admin.request(version, &request);
        assert_eq!((response.error_code, response.controller_id.0), (0, 1));
        let brokers: Vec<_> = response
            .brokers
            .iter()
            .map(|broker| (broker.broker_id.0, broker.host.as_str(), broker.port, broker.rack.as_deref()))
            .collect();
        assert_eq!(brokers, [(1, "broker.test", 9092, None), (2, "broker-2.test", 9092, Some("r"))]);
        assert_eq!(response.cluster_authorized_operations, authorized::CLUSTER);
        let plain = admin.request(version, &DescribeClusterRequest::default());
        assert_eq!(plain.cluster_authorized_operations, i32::MIN);
    }
}

#[test]
fn there_are_no_controllers_to_name() {
    let mut admin = Admin::new(&[]);
    let mut code = |endpoint_type| {
        admin.request(1, &DescribeClusterRequest::default().with_endpoint_type(endpoint_type)).error_code
    };
    assert_eq!(code(2), ErrorCode::MismatchedEndpointType.code());
    assert_eq!(code(3), ErrorCode::UnsupportedEndpointType.code());
    assert_eq!(code(1), 0);
}

#[test]
fn a_broker_is_named_on_the_listener_it_is_asked_by() {
    let mut admin = Admin::new(&[]);
    admin.listener = "OTHER";
    assert!(admin.request(1, &DescribeClusterRequest::default()).brokers.is_empty());
}
