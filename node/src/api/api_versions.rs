//! `ApiVersions` (key 18): which APIs this broker serves, and who the client is (KIP-35, KIP-511).

use bytes::Bytes;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};
use millrace_types::ErrorCode;

use super::{APIS, Api, Context, Step, features};
use crate::wire::{self, WireError};

/// The API `ApiVersions`.
pub(super) const API: Api = Api { key: ApiKey::ApiVersions, min: 0, advertised_min: 0, max: 4, handle };

/// The first version in which clients say their name.
const NAMED_FROM: i16 = 3;

fn handle(cx: &mut Context<'_>, body: Bytes) -> Result<Step, WireError> {
    if cx.version < API.min || cx.version > API.max {
        return unsupported();
    }
    let request: ApiVersionsRequest = wire::decode(body, cx.version)?;
    if cx.version >= NAMED_FROM {
        let (name, version) = (&request.client_software_name[..], &request.client_software_version[..]);
        if !is_software(name) || !is_software(version) {
            return cx.reply(&response(ErrorCode::InvalidRequest, Vec::new()));
        }
        let (connection, client_id) = (cx.session.connection.0, cx.client_id);
        tracing::debug!(connection, client_id, software = name, version, "a client says what it is");
    }
    cx.reply(&features::tell(response(ErrorCode::None, APIS.iter().map(range).collect()), cx.version))
}

/// A client with a newer version learns the supported range, in the oldest version, which every client can read.
fn unsupported() -> Result<Step, WireError> {
    let response = response(ErrorCode::UnsupportedVersion, vec![range(&API)]);
    Ok(Step::Reply(wire::encode_body(&response, 0)?))
}

fn range(api: &Api) -> ApiVersion {
    ApiVersion::default().with_api_key(api.key as i16).with_min_version(api.advertised_min).with_max_version(api.max)
}

fn response(error: ErrorCode, api_keys: Vec<ApiVersion>) -> ApiVersionsResponse {
    ApiVersionsResponse::default().with_error_code(error.code()).with_api_keys(api_keys)
}

/// Whether `text` is `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?`, as KIP-511 wants it.
fn is_software(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    ends(bytes.first())
        && ends(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_software() {
        for good in ["a", "apache-kafka-java", "4.1.0", "librdkafka", "v1.2-rc.3", &"x".repeat(129)] {
            assert!(is_software(good), "{good}");
        }
        for bad in ["", "-a", "a-", "a b", "a\u{e9}", "."] {
            assert!(!is_software(bad), "{bad}");
        }
    }

    #[test]
    fn the_table_is_in_order_and_within_the_codec() {
        assert!(APIS.is_sorted_by(|a, b| (a.key as i16) < (b.key as i16)), "lookup is by binary search");
        for api in APIS {
            let known = api.key.valid_versions();
            assert!(api.max <= known.max, "{:?} advertises a version the codec does not know", api.key);
            let by_hand = matches!(api.key, ApiKey::Produce | ApiKey::OffsetCommit);
            assert!(api.min >= known.min || by_hand, "{:?}", api.key);
            assert!(api.advertised_min <= api.max && api.min <= api.advertised_min, "{:?}", api.key);
        }
    }
}
