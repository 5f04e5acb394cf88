//! Request headers, and the length prefix and header of a response.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;

use super::{Frame, WireError, bounds};

/// The header of a request (versions 1 and 2, KIP-482).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    /// Key of the API; it may be unknown.
    pub api_key: i16,
    /// Version of the request.
    pub api_version: i16,
    /// Chosen by the client; the response carries it back.
    pub correlation_id: i32,
    /// The client's name for itself, empty when it gives none.
    pub client_id: String,
}

impl RequestHeader {
    /// Reads the header and leaves the body in `frame`. Behind an unknown key nothing but the fixed fields is read, since
    /// the rest of the header cannot be known.
    ///
    /// # Errors
    /// When the frame is too short or the client id is no UTF-8.
    pub fn decode(frame: &mut Bytes) -> Result<Self, WireError> {
        if frame.remaining() < 8 {
            return Err(WireError::BadHeader("shorter than 8 bytes"));
        }
        let api_key = frame.get_i16();
        let api_version = frame.get_i16();
        let correlation_id = frame.get_i32();
        let mut header = Self { api_key, api_version, correlation_id, client_id: String::new() };
        let Ok(key) = ApiKey::try_from(api_key) else {
            return Ok(header);
        };
        header.client_id = client_id(frame)?;
        if key.request_header_version(api_version) >= 2 {
            bounds::skip_tagged_fields(frame).ok_or(WireError::BadHeader("tagged fields"))?;
        }
        Ok(header)
    }
}

fn client_id(frame: &mut Bytes) -> Result<String, WireError> {
    if frame.remaining() < 2 {
        return Err(WireError::BadHeader("no client id"));
    }
    let length = frame.get_i16();
    let Ok(length) = usize::try_from(length) else {
        return Ok(String::new());
    };
    if frame.remaining() < length {
        return Err(WireError::BadHeader("the client id is cut"));
    }
    let bytes = frame.split_to(length);
    std::str::from_utf8(&bytes).map(str::to_owned).map_err(|_| WireError::BadHeader("the client id is no UTF-8"))
}

/// Puts the length prefix and the response header before a body.
///
/// `ApiVersions` always answers with header version 0, so that a client of any age can read it (KIP-511).
///
/// # Errors
/// When the response is longer than the length prefix can say.
pub fn respond(key: ApiKey, version: i16, correlation_id: i32, mut body: Frame) -> Result<Frame, WireError> {
    let flexible = key != ApiKey::ApiVersions && key.response_header_version(version) >= 1;
    let header_len = if flexible { 5 } else { 4 };
    let length = i32::try_from(body.len() + header_len)
        .map_err(|_| WireError::Encode { version, reason: format!("{} bytes do not fit into a frame", body.len()) })?;
    let mut head = BytesMut::with_capacity(9);
    head.put_i32(length);
    head.put_i32(correlation_id);
    if flexible {
        head.put_u8(0);
    }
    body.push_front(head.freeze());
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(bytes: &[u8]) -> Result<(RequestHeader, usize), WireError> {
        let mut frame = Bytes::copy_from_slice(bytes);
        let header = RequestHeader::decode(&mut frame)?;
        Ok((header, frame.len()))
    }

    #[test]
    fn reads_both_header_versions() {
        let (v1, rest) = header(b"\x00\x03\x00\x01\x00\x00\x00\x07\x00\x02abXY").expect("valid");
        assert_eq!((v1.api_key, v1.api_version, v1.correlation_id, v1.client_id.as_str()), (3, 1, 7, "ab"));
        assert_eq!(rest, 2);
        let (v2, rest) = header(b"\x00\x03\x00\x0c\x00\x00\x00\x07\xff\xff\x01\x09\x02qqX").expect("valid");
        assert_eq!(v2.client_id, "");
        assert_eq!(rest, 1, "one tagged field of two bytes is skipped");
    }

    #[test]
    fn refuses_what_is_cut() {
        assert!(header(b"\x00\x03\x00\x01\x00\x00\x00").is_err());
        assert!(header(b"\x00\x03\x00\x01\x00\x00\x00\x07\x00\x09ab").is_err());
        assert!(header(b"\x00\x03\x00\x0c\x00\x00\x00\x07\xff\xff\xff\xff\xff\xff\x7f").is_err());
        assert!(header(b"\x00\x03\x00\x01\x00\x00\x00\x07\x00\x01\xff").is_err());
    }

    #[test]
    fn an_unknown_key_keeps_its_fixed_fields() {
        let (unknown, _) = header(b"\x7f\x00\x00\x01\x00\x00\x00\x07").expect("valid");
        assert_eq!((unknown.api_key, unknown.correlation_id), (0x7f00, 7));
    }

    #[test]
    fn api_versions_is_answered_with_the_oldest_header() {
        let head =
            |key, version| respond(key, version, 9, Frame::from(Bytes::from_static(b"x"))).expect("fits").to_bytes();
        assert_eq!(&head(ApiKey::ApiVersions, 4)[..], b"\x00\x00\x00\x05\x00\x00\x00\x09x");
        assert_eq!(&head(ApiKey::Metadata, 12)[..], b"\x00\x00\x00\x06\x00\x00\x00\x09\x00x");
        assert_eq!(&head(ApiKey::Metadata, 1)[..], b"\x00\x00\x00\x05\x00\x00\x00\x09x");
    }
}
