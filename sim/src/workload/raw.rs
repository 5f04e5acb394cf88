//! A client of one connection and one request at a time, for requests that the client library's cores do not offer.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Request, StrBytes};
use millrace_client::core::{ConnectionId, NetOutput};
use millrace_types::{Instant, Now};

use super::Wire;

/// How long a request may take, connecting included.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The pause before a connection is made again.
const PAUSE: Duration = Duration::from_millis(20);

/// What became of the request.
#[derive(Debug)]
pub(super) enum Reply {
    /// The body of the response.
    Body(Bytes),
    /// It may have had its effect or not.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Down { retry: Instant },
    Connecting(ConnectionId),
    Up(ConnectionId),
}

/// The request under way.
#[derive(Debug)]
struct Pending {
    key: ApiKey,
    version: i16,
    correlation: i32,
    frame: Option<Bytes>,
    deadline: Instant,
}

/// One connection, one request.
#[derive(Debug)]
pub(super) struct Raw {
    link: Link,
    connections: u64,
    /// Number of brokers; each connection is to the next one.
    brokers: usize,
    correlation: i32,
    pending: Option<Pending>,
    reply: Option<Reply>,
    outputs: VecDeque<NetOutput>,
}

impl Raw {
    pub(super) fn new(brokers: usize) -> Self {
        Self {
            brokers,
            link: Link::Down { retry: Instant::ZERO },
            connections: 0,
            correlation: 0,
            pending: None,
            reply: None,
            outputs: VecDeque::new(),
        }
    }

    /// Whether another request can be made.
    pub(super) fn is_free(&self) -> bool {
        self.pending.is_none() && self.reply.is_none()
    }

    /// Begins a request of a version with flexible headers.
    pub(super) fn ask<R: Request>(&mut self, now: Now, version: i16, request: &R) {
        let Ok(key) = ApiKey::try_from(R::KEY) else { return };
        self.correlation += 1;
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation)
            .with_client_id(Some(StrBytes::from_static_str("admin")));
        let mut body = BytesMut::new();
        let encoded =
            kafka_protocol::protocol::Encodable::encode(&header, &mut body, key.request_header_version(version))
                .and_then(|()| request.encode(&mut body, version));
        if encoded.is_err() {
            self.reply = Some(Reply::Unknown);
            return;
        }
        let mut frame = BytesMut::with_capacity(body.len() + 4);
        frame.put_u32(u32::try_from(body.len()).unwrap_or(0));
        frame.extend_from_slice(&body);
        let deadline = now.instant.after(TIMEOUT);
        let (frame, correlation) = (Some(frame.freeze()), self.correlation);
        self.pending = Some(Pending { key, version, correlation, frame, deadline });
    }

    /// What became of the request, once.
    pub(super) fn reply(&mut self) -> Option<Reply> {
        self.reply.take()
    }

    fn give_up(&mut self, now: Now) {
        if let Some(pending) = self.pending.take() {
            if pending.frame.is_some() {
                // It was never sent; it is sent when there is a connection.
                self.pending = Some(pending);
            } else {
                self.reply = Some(Reply::Unknown);
            }
        }
        self.link = Link::Down { retry: now.instant.after(PAUSE) };
    }
}

impl Wire for Raw {
    fn opened(&mut self, _now: Now, connection: ConnectionId) {
        if self.link == Link::Connecting(connection) {
            self.link = Link::Up(connection);
        }
    }

    fn frame(&mut self, _now: Now, connection: ConnectionId, mut frame: Bytes) {
        if self.link != Link::Up(connection) {
            return;
        }
        let Some(pending) = self.pending.take_if(|pending| pending.frame.is_none()) else { return };
        let version = pending.key.response_header_version(pending.version);
        let header = ResponseHeader::decode(&mut frame, version);
        let right = header.is_ok_and(|header| header.correlation_id == pending.correlation);
        self.reply = Some(if right { Reply::Body(frame) } else { Reply::Unknown });
    }

    fn closed(&mut self, now: Now, connection: ConnectionId) {
        if matches!(self.link, Link::Up(known) | Link::Connecting(known) if known == connection) {
            self.give_up(now);
        }
    }

    fn advance(&mut self, now: Now) {
        if let Some(pending) = &self.pending
            && pending.deadline <= now.instant
            && pending.frame.is_none()
        {
            if let Link::Up(connection) | Link::Connecting(connection) = self.link {
                self.outputs.push_back(NetOutput::Close { connection });
            }
            self.give_up(now);
        }
        match self.link {
            Link::Down { retry } if retry <= now.instant && self.pending.is_some() => {
                let host = format!("b{}", self.connections % self.brokers as u64 + 1);
                self.connections += 1;
                let connection = ConnectionId(self.connections);
                self.link = Link::Connecting(connection);
                self.outputs.push_back(NetOutput::Open { connection, host: host.into(), port: 9092 });
            }
            Link::Up(connection) => {
                if let Some(pending) = &mut self.pending
                    && let Some(frame) = pending.frame.take()
                {
                    pending.deadline = now.instant.after(TIMEOUT);
                    self.outputs.push_back(NetOutput::Write { connection, frame });
                }
            }
            Link::Down { .. } | Link::Connecting(_) => {}
        }
    }

    fn deadline(&self, _now: Now) -> Instant {
        let Some(pending) = &self.pending else { return Instant::NEVER };
        match self.link {
            Link::Down { retry } => retry,
            Link::Connecting(_) | Link::Up(_) if pending.frame.is_none() => pending.deadline,
            Link::Connecting(_) | Link::Up(_) => Instant::NEVER,
        }
    }

    fn output(&mut self) -> Option<NetOutput> {
        self.outputs.pop_front()
    }
}
