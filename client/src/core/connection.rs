//! One connection: version negotiation, correlation ids, the requests in flight and their time-outs.
//!
//! A broker answers the requests of one connection in their order, so the requests in flight are a queue and an answer
//! with any other correlation id than the first one's ends the connection.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, RequestKind, ResponseKind};
use kafka_protocol::protocol::StrBytes;
use millrace_types::{ErrorCode, Instant};

use super::cluster::RequestId;
use crate::error::{ClientError, Result};
use crate::wire::{ApiVersions, api_of, decode_response, encode_request, text};

/// Where a connection stands.
#[derive(Debug)]
enum State {
    /// The host is connecting; nothing was sent.
    Opening,
    /// ApiVersions was sent at this version.
    Negotiating,
    /// Requests may be sent.
    Ready(ApiVersions),
}

#[derive(Debug)]
struct InFlight {
    correlation_id: i32,
    api: ApiKey,
    name: &'static str,
    version: i16,
    request: Option<RequestId>,
    sent: Instant,
    /// How long the broker may well take.
    waits: Duration,
    deadline: Instant,
}

/// How long a member may well wait for others to join or to plan.
const REBALANCE_WAIT: Duration = Duration::from_secs(3);

/// A frame that arrived, understood.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// The connection became ready.
    Ready,
    /// Send these bytes: negotiation goes on at another version.
    Renegotiate(Bytes),
    /// The answer to a request, with the version it was asked at.
    Answer(RequestId, Box<Result<ResponseKind>>),
}

/// One connection to a broker.
#[derive(Debug)]
pub(crate) struct Connection {
    /// `host:port`, for messages.
    pub(crate) address: Arc<str>,
    client_id: StrBytes,
    state: State,
    in_flight: VecDeque<InFlight>,
    next_correlation_id: i32,
    /// Until when opening and negotiating must be done.
    setup_deadline: Instant,
    begun: Instant,
    last_used: Instant,
    last_heard: Instant,
    /// Nothing is sent before (KIP-219).
    throttled_until: Instant,
}

impl Connection {
    pub(crate) fn new(now: Instant, address: Arc<str>, client_id: StrBytes, setup: Duration) -> Self {
        Self {
            address,
            client_id,
            state: State::Opening,
            in_flight: VecDeque::new(),
            next_correlation_id: 0,
            setup_deadline: now.after(setup),
            begun: now,
            last_used: now,
            last_heard: now,
            throttled_until: Instant::ZERO,
        }
    }

    /// The host has connected: what to send first.
    pub(crate) fn opened(&mut self, now: Instant) -> Result<Bytes> {
        self.state = State::Negotiating;
        self.ask_versions(now, 3)
    }

    fn ask_versions(&mut self, now: Instant, version: i16) -> Result<Bytes> {
        let mut request = ApiVersionsRequest::default();
        if version >= 3 {
            request.client_software_name = text("millrace-client");
            request.client_software_version = text(env!("CARGO_PKG_VERSION"));
        }
        let deadline = self.setup_deadline;
        self.encode(now, RequestKind::ApiVersions(request), version, None, deadline)
    }

    /// Whether a request may be sent, with `limit` requests in flight at most.
    pub(crate) fn has_room(&self, now: Instant, limit: usize) -> bool {
        matches!(self.state, State::Ready(_)) && self.in_flight.len() < limit && self.throttled_until <= now
    }

    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready(_))
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Holds requests back for as long as the broker asks.
    pub(crate) fn throttle(&mut self, now: Instant, pause: Duration) {
        self.throttled_until = self.throttled_until.max(now.after(pause));
    }

    /// The frame of `request`. With `timeout` none, no answer is expected.
    ///
    /// # Errors
    /// The broker offers no version of the API that can carry the request.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        id: RequestId,
        request: RequestKind,
        timeout: Option<Duration>,
    ) -> Result<Bytes> {
        let (api, name) = api_of(&request).ok_or(ClientError::UnsupportedVersion { api: "request" })?;
        let State::Ready(versions) = &self.state else {
            return Err(ClientError::Disconnected { address: Arc::clone(&self.address) });
        };
        let version = versions.choose(api, ceiling(&request)).ok_or(ClientError::UnsupportedVersion { api: name })?;
        let deadline = timeout.map_or(Instant::NEVER, |timeout| now.after(timeout));
        let expects_answer = timeout.is_some();
        let bytes = self.encode(now, request, version, Some(id), deadline)?;
        if !expects_answer {
            self.in_flight.pop_back();
        }
        Ok(bytes)
    }

    fn encode(
        &mut self,
        now: Instant,
        request: RequestKind,
        version: i16,
        id: Option<RequestId>,
        deadline: Instant,
    ) -> Result<Bytes> {
        let (api, name) = api_of(&request).ok_or(ClientError::UnsupportedVersion { api: "request" })?;
        let correlation_id = self.next_correlation_id;
        let waits = waits(&request);
        let bytes = encode_request(request, version, correlation_id, &self.client_id)?;
        self.next_correlation_id = correlation_id.wrapping_add(1) & i32::MAX;
        let sent = now;
        self.in_flight.push_back(InFlight { correlation_id, api, name, version, request: id, sent, waits, deadline });
        self.last_used = now;
        Ok(bytes)
    }

    /// Takes a frame in.
    ///
    /// # Errors
    /// The frame cannot be understood; the connection must be closed.
    pub(crate) fn frame(&mut self, now: Instant, frame: Bytes) -> Result<Arrival> {
        let mut head = frame.get(..4).ok_or_else(|| ClientError::protocol("response", "shorter than its header"))?;
        let correlation_id = head.get_i32();
        let expected = self.in_flight.pop_front();
        let Some(expected) = expected.filter(|expected| expected.correlation_id == correlation_id) else {
            return Err(ClientError::protocol("response", format!("unexpected correlation id {correlation_id}")));
        };
        (self.last_used, self.last_heard) = (now, now);
        let body = decode_response(expected.api, expected.name, expected.version, frame);
        match (expected.request, body) {
            (Some(request), body) => Ok(Arrival::Answer(request, Box::new(body))),
            (None, Ok(ResponseKind::ApiVersions(versions))) => self.negotiated(now, expected.version, &versions),
            (None, Ok(_)) => Err(ClientError::protocol("ApiVersions", "an answer to something else")),
            (None, Err(error)) => Err(error),
        }
    }

    fn negotiated(
        &mut self,
        now: Instant,
        asked: i16,
        versions: &kafka_protocol::messages::ApiVersionsResponse,
    ) -> Result<Arrival> {
        match ErrorCode::from_code(versions.error_code) {
            ErrorCode::None => {
                self.state = State::Ready(ApiVersions::read(versions));
                Ok(Arrival::Ready)
            }
            ErrorCode::UnsupportedVersion if asked > 0 => Ok(Arrival::Renegotiate(self.ask_versions(now, 0)?)),
            code => Err(ClientError::broker("ApiVersions", code)),
        }
    }

    /// The requests that get no answer because the connection ended.
    pub(crate) fn abandon(&mut self) -> Vec<RequestId> {
        self.in_flight.drain(..).filter_map(|in_flight| in_flight.request).collect()
    }

    /// When the broker counts as silent if nothing more comes: it has not answered its turn's request `patience` beyond
    /// what that may take, or has not let the connection become ready.
    pub(crate) fn silent_at(&self, patience: Duration) -> Instant {
        match self.in_flight.front() {
            _ if !self.is_ready() => self.begun.after(patience),
            Some(first) => first.sent.max(self.last_heard).after(first.waits).after(patience),
            None => Instant::NEVER,
        }
    }

    /// The requests without an answer.
    pub(crate) fn unanswered(&self) -> impl Iterator<Item = RequestId> + '_ {
        self.in_flight.iter().filter_map(|in_flight| in_flight.request)
    }

    /// Why the connection is of no use any more at `now`, if it is not.
    pub(crate) fn expired(&self, now: Instant, idle: Duration) -> Option<&'static str> {
        if !self.is_ready() && self.setup_deadline <= now {
            return Some("connecting took too long");
        }
        if self.in_flight.front().is_some_and(|first| first.deadline <= now) {
            return Some("a request was not answered in time");
        }
        (self.in_flight.is_empty() && self.is_ready() && self.last_used.after(idle) <= now).then_some("idle")
    }

    /// When [`Connection::expired`] or [`Connection::has_room`] can next change by itself.
    pub(crate) fn deadline(&self, now: Instant, idle: Duration) -> Instant {
        let expiry = match self.in_flight.front() {
            _ if !self.is_ready() => self.setup_deadline,
            Some(first) => first.deadline,
            None => self.last_used.after(idle),
        };
        if self.throttled_until > now { expiry.min(self.throttled_until) } else { expiry }
    }
}

/// How long a broker may well keep `request` without anything being wrong.
fn waits(request: &RequestKind) -> Duration {
    match request {
        RequestKind::Fetch(fetch) => Duration::from_millis(u64::try_from(fetch.max_wait_ms).unwrap_or(0)),
        RequestKind::JoinGroup(_) | RequestKind::SyncGroup(_) => REBALANCE_WAIT,
        _ => Duration::ZERO,
    }
}

/// The newest version that can carry what `request` says.
fn ceiling(request: &RequestKind) -> i16 {
    match request {
        // Version 13 names topics by their ids alone (KIP-516).
        RequestKind::Fetch(fetch) if fetch.topics.iter().any(|topic| topic.topic_id.is_nil()) => 12,
        _ => i16::MAX,
    }
}

#[cfg(test)]
mod tests {
    use bytes::{BufMut, BytesMut};
    use kafka_protocol::messages::{ApiVersionsResponse, HeartbeatRequest, api_versions_response::ApiVersion};
    use kafka_protocol::protocol::Encodable;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    fn answer(correlation_id: i32, body: &[u8]) -> Bytes {
        let mut frame = BytesMut::new();
        frame.put_i32(correlation_id);
        frame.put_slice(body);
        frame.freeze()
    }

    fn versions(code: i16, version: i16) -> Vec<u8> {
        let heartbeat = ApiVersion::default().with_api_key(ApiKey::Heartbeat as i16).with_max_version(0);
        let mut body = BytesMut::new();
        let response = ApiVersionsResponse::default().with_error_code(code).with_api_keys(vec![heartbeat]);
        response.encode(&mut body, version).expect("encode");
        body.to_vec()
    }

    fn ready() -> Connection {
        let mut connection = Connection::new(at(0), Arc::from("b:1"), text("c"), SECOND);
        connection.opened(at(0)).expect("open");
        assert!(matches!(connection.frame(at(0), answer(0, &versions(0, 3))), Ok(Arrival::Ready)));
        connection
    }

    #[test]
    fn an_old_broker_is_asked_again_in_version_0() {
        let mut connection = Connection::new(at(0), Arc::from("b:1"), text("c"), SECOND);
        connection.opened(at(0)).expect("open");
        let again = connection.frame(at(0), answer(0, &versions(35, 0))).expect("understood");
        let Arrival::Renegotiate(bytes) = again else { panic!("{again:?}") };
        assert_eq!(bytes[6..8], [0, 0], "version 0");
        assert!(matches!(connection.frame(at(0), answer(1, &versions(0, 0))), Ok(Arrival::Ready)));
    }

    #[test]
    fn answers_come_in_order_or_the_connection_ends() {
        let mut connection = ready();
        for id in [10, 11] {
            let request = RequestKind::Heartbeat(HeartbeatRequest::default());
            connection.send(at(0), RequestId(id), request, Some(SECOND)).expect("send");
        }
        assert!(!connection.has_room(at(0), 2) && connection.has_room(at(0), 3));
        let first = connection.frame(at(0), answer(1, &[0, 27])).expect("in order");
        let Arrival::Answer(RequestId(10), body) = first else { panic!("{first:?}") };
        assert!(matches!(*body, Ok(ResponseKind::Heartbeat(body)) if body.error_code == 27));
        assert!(connection.frame(at(0), answer(7, &[0, 0])).is_err(), "wrong correlation id");
    }

    #[test]
    fn silence_ends_the_connection() {
        let mut connection = Connection::new(at(0), Arc::from("b:1"), text("c"), SECOND);
        assert!(connection.expired(at(0), 9 * SECOND).is_none());
        assert!(connection.expired(at(1), 9 * SECOND).is_some(), "setup takes a second at most");
        connection = ready();
        let request = RequestKind::Heartbeat(HeartbeatRequest::default());
        connection.send(at(2), RequestId(1), request, Some(3 * SECOND)).expect("send");
        assert_eq!(connection.deadline(at(2), 9 * SECOND), at(5));
        assert!(connection.expired(at(4), 9 * SECOND).is_none() && connection.expired(at(5), 9 * SECOND).is_some());
        assert_eq!(connection.abandon(), [RequestId(1)]);
        assert_eq!(connection.expired(at(12), 9 * SECOND), Some("idle"));
    }

    #[test]
    fn an_api_the_broker_lacks_is_an_error_of_the_request_alone() {
        let mut connection = ready();
        let request = RequestKind::Fetch(Default::default());
        let error = connection.send(at(0), RequestId(1), request, Some(SECOND)).expect_err("not offered");
        assert_eq!(error, ClientError::UnsupportedVersion { api: "Fetch" });
        assert_eq!(connection.in_flight(), 0);
    }
}
