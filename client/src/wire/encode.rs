//! Requests as frames.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{RequestHeader, RequestKind};
use kafka_protocol::protocol::{Encodable, StrBytes};

use super::api_of;
use super::fit::fit;
use crate::error::{ClientError, Result};

/// The frame of `request` at `version`, length included.
///
/// # Errors
/// The request says something that `version` cannot express, or is longer than 2 GiB.
pub(crate) fn encode_request(
    mut request: RequestKind,
    version: i16,
    correlation_id: i32,
    client_id: &StrBytes,
) -> Result<Bytes> {
    let (api, name) = api_of(&request).ok_or(ClientError::UnsupportedVersion { api: "request" })?;
    fit(&mut request, version);
    let header = RequestHeader::default()
        .with_request_api_key(api as i16)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(client_id.clone()));
    let failed = |error: &dyn std::fmt::Display| ClientError::protocol(name, format!("version {version}: {error}"));
    let mut out = BytesMut::with_capacity(64 + payload_bytes(&request));
    out.extend_from_slice(&[0; 4]);
    header.encode(&mut out, api.request_header_version(version)).map_err(|error| failed(&error))?;
    request.encode(&mut out, version).map_err(|error| failed(&error))?;
    let length = i32::try_from(out.len() - 4).map_err(|error| failed(&error))?;
    if let Some(head) = out.get_mut(..4) {
        head.copy_from_slice(&length.to_be_bytes());
    }
    Ok(out.freeze())
}

/// Bytes to set aside so that a produce request is not copied while it grows.
fn payload_bytes(request: &RequestKind) -> usize {
    let RequestKind::Produce(produce) = request else { return 448 };
    let partitions = produce.topic_data.iter().flat_map(|topic| &topic.partition_data);
    64 + partitions.map(|partition| 96 + partition.records.as_ref().map_or(0, Bytes::len)).sum::<usize>()
}
