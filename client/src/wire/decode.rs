//! Responses from frames.

use bytes::{Buf, Bytes};
use kafka_protocol::messages::{ApiKey, ResponseHeader, ResponseKind};
use kafka_protocol::protocol::Decodable;

use super::bounds;
use crate::error::{ClientError, Result};

/// The body of the response to a request of `api` at `version`; `frame` is the whole frame without its length.
///
/// # Errors
/// The bytes do not follow the schema.
pub(crate) fn decode_response(api: ApiKey, name: &'static str, version: i16, mut frame: Bytes) -> Result<ResponseKind> {
    let failed = |error: &dyn std::fmt::Display| ClientError::protocol(name, format!("version {version}: {error}"));
    ResponseHeader::decode(&mut frame, api.response_header_version(version)).map_err(|error| failed(&error))?;
    // A broker that does not know the version of ApiVersions answers in version 0 with an error code (KIP-511).
    let version = if api == ApiKey::ApiVersions && frame.get(..2).is_some_and(|mut code| code.get_i16() == 35) {
        0
    } else {
        version
    };
    bounds::check(api, version, &frame).map_err(|error| failed(&error))?;
    ResponseKind::decode(api, &mut frame, version).map_err(|error| failed(&error))
}
