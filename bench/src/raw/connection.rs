//! One connection to a broker: frames out, frames in.

use std::io::{self, IoSlice, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::RequestHeader;
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};

use crate::error::BenchError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A broker that is silent for so long counts as lost.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Largest answer accepted.
const ANSWER_BYTES_MAX: usize = 128 << 20;
/// Position of the correlation id in a request frame: behind the length, the key and the version.
const CORRELATION_AT: usize = 8;

/// The writing half of a connection.
#[derive(Debug)]
pub(crate) struct Sender {
    address: String,
    stream: TcpStream,
}

/// The reading half of a connection, with a buffer that is used again.
#[derive(Debug)]
pub(crate) struct Receiver {
    address: String,
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// A connection to one broker.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Writes requests.
    pub(crate) sender: Sender,
    /// Reads answers.
    pub(crate) receiver: Receiver,
    correlation: i32,
}

impl Connection {
    /// Connects to `address`, a host and port.
    pub(crate) fn open(address: &str) -> Result<Self, BenchError> {
        let io = |operation| move |source| BenchError::Io { address: address.to_owned(), operation, source };
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for socket in address.to_socket_addrs().map_err(io("resolve"))? {
            let stream = match TcpStream::connect_timeout(&socket, CONNECT_TIMEOUT) {
                Ok(stream) => stream,
                Err(error) => {
                    last = error;
                    continue;
                }
            };
            stream.set_nodelay(true).map_err(io("set up"))?;
            stream.set_read_timeout(Some(ANSWER_TIMEOUT)).map_err(io("set up"))?;
            stream.set_write_timeout(Some(ANSWER_TIMEOUT)).map_err(io("set up"))?;
            let writer = stream.try_clone().map_err(io("set up"))?;
            return Ok(Self {
                sender: Sender { address: address.to_owned(), stream: writer },
                receiver: Receiver { address: address.to_owned(), stream, buffer: Vec::new() },
                correlation: 0,
            });
        }
        Err(io("connect")(last))
    }

    /// The broker's address.
    pub(crate) fn address(&self) -> &str {
        &self.sender.address
    }

    /// Sends a request and waits for its answer.
    pub(crate) fn call<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response, BenchError> {
        self.correlation = self.correlation.wrapping_add(1);
        let mut frame = encode(request, version)?;
        set_correlation(&mut frame, self.correlation);
        self.sender.send(&frame, &[])?;
        let mut answer = Bytes::copy_from_slice(self.receiver.receive(self.correlation)?);
        let malformed = |error: &dyn std::fmt::Display| protocol(&self.sender.address, format!("bad answer: {error}"));
        if <R::Response as HeaderVersion>::header_version(version) > 0 {
            skip_tags(&mut answer).map_err(|error| malformed(&error))?;
        }
        <R::Response as Decodable>::decode(&mut answer, version).map_err(|error| malformed(&error))
    }
}

impl Sender {
    /// Writes a frame that is made of two parts.
    pub(crate) fn send(&mut self, head: &[u8], tail: &[u8]) -> Result<(), BenchError> {
        write_both(&mut self.stream, head, tail).map_err(|source| BenchError::Io {
            address: self.address.clone(),
            operation: "send",
            source,
        })
    }
}

/// Writes both parts whole, in one call where the socket takes it.
fn write_both(out: &mut impl Write, mut head: &[u8], mut tail: &[u8]) -> io::Result<()> {
    while !head.is_empty() {
        let written = out.write_vectored(&[IoSlice::new(head), IoSlice::new(tail)])?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let of_head = written.min(head.len());
        head = head.split_at(of_head).1;
        tail = tail.split_at(written - of_head).1;
    }
    out.write_all(tail)
}

impl Receiver {
    /// Reads the next answer and returns what stands behind its correlation id, which must be the expected one.
    pub(crate) fn receive(&mut self, correlation: i32) -> Result<&[u8], BenchError> {
        let Self { address, stream, buffer } = self;
        let io = |source| BenchError::Io { address: address.clone(), operation: "receive", source };
        let mut head = [0; 8];
        stream.read_exact(&mut head).map_err(io)?;
        let [l0, l1, l2, l3, c0, c1, c2, c3] = head;
        let length =
            usize::try_from(i32::from_be_bytes([l0, l1, l2, l3])).ok().and_then(|length| length.checked_sub(4));
        let length = length.filter(|length| *length <= ANSWER_BYTES_MAX);
        let length = length.ok_or_else(|| protocol(address, "an answer of an impossible length"))?;
        let found = i32::from_be_bytes([c0, c1, c2, c3]);
        if found != correlation {
            return Err(protocol(address, format!("answer {found} instead of {correlation}")));
        }
        if buffer.len() < length {
            buffer.resize(length, 0);
        }
        let body = buffer.get_mut(..length).unwrap_or_default();
        stream.read_exact(body).map_err(io)?;
        Ok(body)
    }

    /// An error about an answer of this broker.
    pub(crate) fn malformed(&self, what: &str) -> BenchError {
        protocol(&self.address, format!("a malformed answer to {what}"))
    }
}

/// An error about what a broker said.
pub(crate) fn protocol(address: &str, message: impl Into<String>) -> BenchError {
    BenchError::Protocol { address: address.to_owned(), message: message.into() }
}

/// A request as a frame with its length; the correlation id is 0.
pub(crate) fn encode<R: Request>(request: &R, version: i16) -> Result<BytesMut, BenchError> {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_client_id(Some(StrBytes::from_static_str("millrace-bench")));
    let mut frame = BytesMut::new();
    frame.put_i32(0);
    let encoded = header
        .encode(&mut frame, <R as HeaderVersion>::header_version(version))
        .and_then(|()| request.encode(&mut frame, version));
    encoded.map_err(|error| BenchError::Options(format!("a request cannot be encoded: {error}")))?;
    let length = i32::try_from(frame.len() - 4).map_err(|_| BenchError::Options("a request of 2 GiB".to_owned()))?;
    put_i32(&mut frame, 0, length);
    Ok(frame)
}

/// Writes the correlation id into a request frame.
pub(crate) fn set_correlation(frame: &mut [u8], correlation: i32) {
    put_i32(frame, CORRELATION_AT, correlation);
}

/// Overwrites the four bytes at `at`, which must be inside the frame.
fn put_i32(frame: &mut [u8], at: usize, value: i32) {
    if let Some(bytes) = frame.get_mut(at..at + 4) {
        bytes.copy_from_slice(&value.to_be_bytes());
    }
}

/// Passes over the tagged fields of a flexible response header; brokers send none.
fn skip_tags(answer: &mut Bytes) -> Result<(), &'static str> {
    match answer.first() {
        Some(0) => {
            drop(answer.split_to(1));
            Ok(())
        }
        Some(_) => Err("tagged fields in the header"),
        None => Err("no header"),
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::MetadataRequest;

    use super::*;

    /// Takes a few bytes of the first slice at each call.
    struct Slow(Vec<u8>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(3);
            self.0.extend(bytes.iter().take(count));
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn short_writes_lose_nothing() {
        let mut slow = Slow(Vec::new());
        write_both(&mut slow, b"head of it", b"and the tail").unwrap();
        assert_eq!(slow.0, b"head of itand the tail");
        write_both(&mut slow, b"", b"!").unwrap();
        assert_eq!(slow.0.last(), Some(&b'!'));
    }

    #[test]
    fn a_frame_starts_with_its_length_key_version_and_correlation() {
        let mut frame = encode(&MetadataRequest::default(), super::super::METADATA).unwrap();
        set_correlation(&mut frame, 77);
        let length = i32::from_be_bytes(frame[..4].try_into().unwrap());
        assert_eq!(usize::try_from(length).unwrap(), frame.len() - 4);
        assert_eq!(frame[4..12], [0, 3, 0, 9, 0, 0, 0, 77]);
    }
}
