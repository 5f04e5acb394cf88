//! Frames: request headers and bodies in, responses out.
//!
//! The codec is the crate `kafka-protocol`. Two things stand before and beside it: `bounds` checks every array length
//! of a request against the bytes that are there, because the codec allocates what a length asks for; and
//! [`encode_fetch`] sends record batches as they lie in the mapping, without a copy.

mod bounds;
mod fetch_response;
mod frame;
mod header;
mod layout;
mod reader;

use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::{Encodable, Request};
use thiserror::Error;

pub use bounds::MAX_ELEMENTS;
#[cfg(test)]
pub(crate) use bounds::tests::write as write_shape;
pub use fetch_response::encode_fetch;
pub use frame::Frame;
pub use header::{RequestHeader, respond};
pub(crate) use reader::Reader;

/// Why a request could not be read or a response not be written.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum WireError {
    /// The request ends in the middle of a field.
    #[error("api {api} version {version}: the request ends inside {field}")]
    Truncated {
        /// Key of the API.
        api: i16,
        /// Version of the request.
        version: i16,
        /// The field, with its struct.
        field: String,
    },
    /// A length or a count cannot be right.
    #[error("api {api} version {version}: {field} has the impossible length {length}")]
    BadLength {
        /// Key of the API.
        api: i16,
        /// Version of the request.
        version: i16,
        /// The field, with its struct.
        field: String,
        /// The length as read.
        length: i64,
    },
    /// The request has more array elements or tagged fields than any client sends.
    #[error("api {api} version {version}: more than {MAX_ELEMENTS} elements")]
    TooManyElements {
        /// Key of the API.
        api: i16,
        /// Version of the request.
        version: i16,
    },
    /// The codec refused the request.
    #[error("api {api} version {version}: {reason}")]
    Malformed {
        /// Key of the API.
        api: i16,
        /// Version of the request.
        version: i16,
        /// The codec's words.
        reason: String,
    },
    /// The header of the request cannot be read.
    #[error("the request header is malformed: {0}")]
    BadHeader(&'static str),
    /// A response cannot be written at this version.
    #[error("the response cannot be written at version {version}: {reason}")]
    Encode {
        /// Version of the response.
        version: i16,
        /// The codec's words.
        reason: String,
    },
}

/// Reads the body of a request, zero copy: strings and records are slices of `body`.
///
/// # Errors
/// When the body is truncated, has an impossible length, or is refused by the codec.
pub fn decode<T: Request>(mut body: Bytes, version: i16) -> Result<T, WireError> {
    bounds::check(T::KEY, version, &body)?;
    T::decode(&mut body, version).map_err(|error| WireError::Malformed {
        api: T::KEY,
        version,
        reason: error.to_string(),
    })
}

/// Writes the body of a response.
///
/// # Errors
/// When a field is set that `version` does not have.
pub fn encode_body<R: Encodable>(response: &R, version: i16) -> Result<Frame, WireError> {
    let failed = |error: &dyn std::fmt::Display| WireError::Encode { version, reason: error.to_string() };
    let size = response.compute_size(version).map_err(|error| failed(&error))?;
    let mut buffer = BytesMut::with_capacity(size);
    response.encode(&mut buffer, version).map_err(|error| failed(&error))?;
    Ok(Frame::from(buffer.freeze()))
}
