//! Requests of the process itself: a connection's core without a socket.
//!
//! The HTTP interface speaks to the broker as any client does, in Kafka's requests and responses, so that there is one
//! implementation of each operation. A request becomes a frame, goes to an arbiter, is handled there by a connection's
//! core of its own, and its response comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::{Decodable, HeaderVersion, Request, StrBytes};
use thiserror::Error;
use tokio::sync::{Semaphore, oneshot};

use crate::actor::parcel::{Order, Parcel};
use crate::shared::Shared;

/// Requests of the process under way at a time; further ones wait.
const CONCURRENT: usize = 64;

/// How long a response is waited for.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A frame for a connection's core, and where its response goes.
#[derive(Debug)]
pub(crate) struct LocalRequest {
    /// Header and body.
    pub(crate) frame: Bytes,
    /// Dropped when the core closes the connection instead of answering.
    pub(crate) reply: oneshot::Sender<Bytes>,
}

/// Why there is no response.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum LocalError {
    /// The codec cannot write the request or read the response.
    #[error("{0:?} version {1}: {2}")]
    Codec(ApiKey, i16, String),
    /// The core refused the request.
    #[error("the broker refused the request")]
    Refused,
    /// The broker is too busy, or stopping.
    #[error("no response within {} s", TIMEOUT.as_secs())]
    Timeout,
}

/// Sends requests of the process itself.
#[derive(Debug, Clone)]
pub(crate) struct LocalClient {
    shared: Arc<Shared>,
    permits: Arc<Semaphore>,
    next: Arc<AtomicUsize>,
}

impl LocalClient {
    /// A client of the broker that `shared` belongs to.
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, permits: Arc::new(Semaphore::new(CONCURRENT)), next: Arc::default() }
    }

    /// Sends a request of API version `version` and waits for its response.
    ///
    /// # Errors
    /// When the broker refuses the request or does not answer in time.
    pub(crate) async fn call<R: Request>(&self, request: &R, version: i16) -> Result<R::Response, LocalError> {
        let key = ApiKey::try_from(R::KEY).map_err(|()| LocalError::Refused)?;
        let frame = encode(request, key, version)?;
        let (reply, response) = oneshot::channel();
        let answered = async {
            let _permit = self.permits.acquire().await.map_err(|_| LocalError::Refused)?;
            let arbiter = self.next.fetch_add(1, Ordering::Relaxed) % self.shared.placement.arbiters();
            let order = Order::Local(Box::new(LocalRequest { frame, reply }));
            self.shared.inbox(arbiter).send(&mut vec![Parcel::Order(order)]);
            response.await.map_err(|_| LocalError::Refused)
        };
        let frame = tokio::time::timeout(TIMEOUT, answered).await.map_err(|_| LocalError::Timeout)??;
        decode::<R>(frame, key, version)
    }
}

fn encode<R: Request>(request: &R, key: ApiKey, version: i16) -> Result<Bytes, LocalError> {
    let failed = |error: &dyn std::fmt::Display| LocalError::Codec(key, version, error.to_string());
    let mut frame = BytesMut::new();
    frame.put_i16(R::KEY);
    frame.put_i16(version);
    frame.put_i32(0);
    let client = StrBytes::from_static_str("millrace-admin");
    frame.put_i16(i16::try_from(client.len()).unwrap_or(0));
    frame.put_slice(client.as_bytes());
    if R::header_version(version) >= 2 {
        frame.put_u8(0);
    }
    request.encode(&mut frame, version).map_err(|error| failed(&error))?;
    Ok(frame.freeze())
}

fn decode<R: Request>(mut frame: Bytes, key: ApiKey, version: i16) -> Result<R::Response, LocalError> {
    let failed = |reason: String| LocalError::Codec(key, version, reason);
    let header = if R::Response::header_version(version) >= 1 { 9 } else { 8 };
    if frame.remaining() < header {
        return Err(failed(format!("a response of {} bytes", frame.remaining())));
    }
    frame.advance(header);
    R::Response::decode(&mut frame, version).map_err(|error| failed(error.to_string()))
}
