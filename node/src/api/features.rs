//! The features that `ApiVersions` tells of (KIP-584).
//!
//! One feature is known, `metadata.version`, at one fixed level. In Kafka it is the format of the controllers' log; here
//! there is no such log, and the level says which release of Kafka this broker stands beside: 19 is Kafka 3.7, the last
//! one whose fetch protocol (version 16) is served. Tools that ask how old a cluster is read it so. The features
//! `group.version`, `transaction.version` and their like switch on APIs that are not served, so they are not named.

use kafka_protocol::messages::ApiVersionsResponse;
use kafka_protocol::messages::api_versions_response::{FinalizedFeatureKey, SupportedFeatureKey};
use kafka_protocol::protocol::StrBytes;

/// The first version of `ApiVersions` that has features.
const FEATURES_FROM: i16 = 3;
const METADATA_VERSION: &str = "metadata.version";
/// Kafka's level `3.7-IV4`.
const LEVEL: i16 = 19;
/// Of the finalized features: they never change.
const EPOCH: i64 = 0;

/// Puts the features into a response of `version`.
pub(super) fn tell(response: ApiVersionsResponse, version: i16) -> ApiVersionsResponse {
    if version < FEATURES_FROM {
        return response;
    }
    let name = StrBytes::from_static_str(METADATA_VERSION);
    let supported =
        SupportedFeatureKey::default().with_name(name.clone()).with_min_version(LEVEL).with_max_version(LEVEL);
    let finalized =
        FinalizedFeatureKey::default().with_name(name).with_min_version_level(LEVEL).with_max_version_level(LEVEL);
    response
        .with_supported_features(vec![supported])
        .with_finalized_features_epoch(EPOCH)
        .with_finalized_features(vec![finalized])
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::ApiVersionsRequest;

    use super::*;
    use crate::api::metadata_call::testing::{Admin, text};

    #[test]
    fn versions_that_have_features_tell_them() {
        let mut admin = Admin::new(&[]);
        for version in 0..=4 {
            let mut request = ApiVersionsRequest::default();
            if version >= 3 {
                request = request.with_client_software_name(text("c")).with_client_software_version(text("1"));
            }
            let response = admin.request(version, &request);
            assert_eq!(response.error_code, 0);
            let supported: Vec<_> = response
                .supported_features
                .iter()
                .map(|feature| (feature.name.as_str(), feature.min_version, feature.max_version))
                .collect();
            let finalized: Vec<_> = response
                .finalized_features
                .iter()
                .map(|feature| (feature.name.as_str(), feature.min_version_level, feature.max_version_level))
                .collect();
            let told = if version >= 3 { vec![(METADATA_VERSION, LEVEL, LEVEL)] } else { Vec::new() };
            assert_eq!((supported, finalized), (told.clone(), told));
            assert_eq!(response.finalized_features_epoch, if version >= 3 { EPOCH } else { -1 });
        }
    }

    #[test]
    fn a_refused_client_is_told_nothing() {
        let response = Admin::new(&[]).request(3, &ApiVersionsRequest::default());
        assert_ne!(response.error_code, 0);
        assert!(response.supported_features.is_empty() && response.finalized_features_epoch == -1);
    }
}
