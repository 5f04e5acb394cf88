//! The core of a connection: which request runs, who gets an answer, and what is sent when.
//!
//! Kafka takes up one request of a connection after another, and clients rely on it: a request sees the effects of
//! those before it, and responses come in the order of the requests. Requests that arrive early are held. Produce
//! alone overlaps with Produce, since the order of two of them is kept by the mailboxes of their partitions; without
//! that, a flush per acknowledgement would allow one batch per flush and connection.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;
use millrace_types::{Instant, Now};

use crate::api::{self, Context, Resume, Step, Waiting};
use crate::call::{Answer, Call, ConnectionId, PartitionAnswer, PartitionOp};
use crate::core::Core;
use crate::shared::Shared;
use crate::wire::{self, Frame, RequestHeader, WireError};

use super::request::{Request, State};
use super::{ConnectionEffect, ConnectionEvent, ConnectionLoad, Origin, Outbox, Session};

/// No further frame is taken while the requests in flight have this many bytes. A single frame may be larger; its bound
/// is `socket.request.max.bytes`.
const MAX_BYTES_IN_FLIGHT: usize = 32 << 20;

/// The core of one client connection.
pub struct Connection {
    shared: Arc<Shared>,
    session: Session,
    /// In the order of arrival. Invariant: a held request never stands before one that is not held.
    requests: VecDeque<Request>,
    /// Number of the request at the front; the others follow without a gap.
    front: u64,
    /// The request that waits for a token.
    tokens: HashMap<u64, u64>,
    outbox: Outbox,
    bytes: usize,
    /// When the host was last asked to call.
    timer: Instant,
    closed: bool,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("id", &self.session.connection)
            .field("in_flight", &self.requests.len())
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

/// Why the connection is to be closed.
type Closing = &'static str;

impl Connection {
    /// A connection that has not sent anything.
    #[must_use]
    pub fn new(id: ConnectionId, origin: Origin, shared: Arc<Shared>) -> Self {
        Self {
            shared,
            session: Session::new(id, origin),
            requests: VecDeque::new(),
            front: 0,
            tokens: HashMap::new(),
            outbox: Outbox::default(),
            bytes: 0,
            timer: Instant::NEVER,
            closed: false,
        }
    }

    /// The most requests it takes before the first of them is answered, at least 1.
    #[must_use]
    pub fn max_in_flight(&self) -> usize {
        self.shared.settings.max_in_flight_requests.max(1)
    }

    /// Whether the host may deliver another frame. To be asked before each; the answer changes with each step.
    #[must_use]
    pub fn wants_frames(&self) -> bool {
        !self.closed && self.requests.len() < self.max_in_flight() && self.bytes < MAX_BYTES_IN_FLIGHT
    }

    /// Whether no request is in flight: an idle connection may be closed without harm.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.requests.is_empty()
    }

    /// What it has in flight.
    #[must_use]
    pub fn load(&self) -> ConnectionLoad {
        ConnectionLoad::of(&self.requests)
    }

    fn arrived(&mut self, mut frame: Bytes) -> Result<(), Closing> {
        let size = frame.len();
        let header = RequestHeader::decode(&mut frame).map_err(|_| "the request header is malformed")?;
        let api = api::api(header.api_key).ok_or("the API key is not served")?;
        let unknown = header.api_version < api.min || header.api_version > api.max;
        if unknown && api.key != ApiKey::ApiVersions {
            return Err("the version of the API is not served");
        }
        self.bytes += size;
        self.requests.push_back(Request { api, header, size, state: State::Held(frame) });
        Ok(())
    }

    /// Begins what may begin and sends what may be sent, until neither is left.
    fn proceed(&mut self, now: Now, out: &mut Vec<ConnectionEffect>) -> Result<(), Closing> {
        loop {
            self.send_done(out);
            let Some(next) = self.next_to_begin() else {
                return Ok(());
            };
            self.begin(now, next, out)?;
        }
    }

    fn send_done(&mut self, out: &mut Vec<ConnectionEffect>) {
        while let Some(Request { state: State::Done(_), .. }) = self.requests.front() {
            let Some(request) = self.requests.pop_front() else { return };
            self.front += 1;
            self.bytes -= request.size;
            if let State::Done(Some(frame)) = request.state {
                out.push(ConnectionEffect::Send(frame));
            }
        }
    }

    /// Position of the held request whose turn it is.
    fn next_to_begin(&self) -> Option<usize> {
        let next = self.requests.partition_point(|request| !request.is_held());
        let request = self.requests.get(next)?;
        let overlaps = || request.is_produce() && self.requests.range(..next).all(Request::is_produce);
        (next == 0 || overlaps()).then_some(next)
    }

    fn begin(&mut self, now: Now, at: usize, out: &mut Vec<ConnectionEffect>) -> Result<(), Closing> {
        let Some(request) = self.requests.get_mut(at) else { return Ok(()) };
        let State::Held(body) = &mut request.state else { return Ok(()) };
        let body = std::mem::take(body);
        let handle = request.api.handle;
        let mut cx = context(&self.shared, &mut self.session, &mut self.outbox, &request.header, now);
        let step = handle(&mut cx, body).map_err(|error| refused(&request.header, &error))?;
        request.state = match step {
            Step::Reply(body) => State::Done(Some(respond(request, body)?)),
            Step::Silent => State::Done(None),
            Step::Wait(waiting) => State::Waiting(waiting),
            Step::Close(why) => return Err(why),
        };
        self.dispatch(self.front + at as u64, out);
        Ok(())
    }

    /// Lets the request `number` go on.
    fn resume(
        &mut self,
        now: Now,
        number: u64,
        out: &mut Vec<ConnectionEffect>,
        go_on: impl FnOnce(&mut dyn Waiting, &mut Context<'_>) -> Result<Resume, WireError>,
    ) -> Result<(), Closing> {
        let Some(at) = number.checked_sub(self.front).and_then(|at| usize::try_from(at).ok()) else { return Ok(()) };
        let Some(request) = self.requests.get_mut(at) else { return Ok(()) };
        let State::Waiting(waiting) = &mut request.state else { return Ok(()) };
        let mut cx = context(&self.shared, &mut self.session, &mut self.outbox, &request.header, now);
        match go_on(waiting.as_mut(), &mut cx).map_err(|error| refused(&request.header, &error))? {
            Resume::Wait => {}
            Resume::Reply(body) => request.state = State::Done(Some(respond(request, body)?)),
            Resume::Silent => request.state = State::Done(None),
            Resume::Close(why) => return Err(why),
        }
        self.dispatch(number, out);
        Ok(())
    }

    /// Turns what the request `number` asked for into effects.
    fn dispatch(&mut self, number: u64, out: &mut Vec<ConnectionEffect>) {
        for (token, partition) in self.outbox.cancelled.drain(..) {
            out.push(ConnectionEffect::CancelWatch { token, partition });
        }
        for (token, call) in self.outbox.calls.drain(..) {
            if !matches!(call, Call::Partition(_, PartitionOp::Watch { .. })) {
                self.tokens.insert(token, number);
            }
            out.push(ConnectionEffect::Call { token, call });
        }
        for (token, job) in self.outbox.warms.drain(..) {
            self.tokens.insert(token, number);
            out.push(ConnectionEffect::Warm { token, job });
        }
    }

    fn answered(
        &mut self,
        now: Now,
        token: u64,
        answer: Answer,
        out: &mut Vec<ConnectionEffect>,
    ) -> Result<(), Closing> {
        let advanced = matches!(answer, Answer::Partition(PartitionAnswer::Advanced));
        if let Some(partition) = self.session.watches.fire(token, advanced) {
            // Only a fetch looks at watches, and a fetch runs alone.
            return self.resume(now, self.front, out, |waiting, cx| waiting.advanced(cx, partition));
        }
        match self.tokens.remove(&token) {
            Some(number) => self.resume(now, number, out, |waiting, cx| waiting.resume(cx, token, answer)),
            None => Ok(()),
        }
    }

    fn expired(&mut self, now: Now, out: &mut Vec<ConnectionEffect>) -> Result<(), Closing> {
        self.timer = Instant::NEVER;
        for at in 0..self.requests.len() {
            if self.requests.get(at).is_some_and(|request| request.deadline() <= now.instant) {
                self.resume(now, self.front + at as u64, out, |waiting, cx| waiting.expire(cx))?;
            }
        }
        Ok(())
    }

    /// Asks for a timer when the earliest deadline comes before the one asked for.
    fn schedule(&mut self, out: &mut Vec<ConnectionEffect>) {
        let earliest = self.requests.iter().map(Request::deadline).min().unwrap_or(Instant::NEVER);
        if earliest < self.timer {
            self.timer = earliest;
            out.push(ConnectionEffect::Timer(earliest));
        }
    }

    /// Abandons what waits and takes back what was registered elsewhere.
    fn shut(&mut self, now: Now, out: &mut Vec<ConnectionEffect>) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        for mut request in std::mem::take(&mut self.requests) {
            if let State::Waiting(waiting) = &mut request.state {
                let mut cx = context(&self.shared, &mut self.session, &mut self.outbox, &request.header, now);
                waiting.abandon(&mut cx);
            }
        }
        self.outbox.calls.clear();
        self.outbox.warms.clear();
        self.outbox.cancelled.extend(self.session.watches.assign(0));
        self.dispatch(self.front, out);
        self.tokens.clear();
        self.bytes = 0;
    }
}

impl Core for Connection {
    type Event = ConnectionEvent;
    type Effect = ConnectionEffect;

    fn step(&mut self, now: Now, event: ConnectionEvent, out: &mut Vec<ConnectionEffect>) {
        if self.closed {
            return;
        }
        let outcome = match event {
            ConnectionEvent::Frame(frame) => self.arrived(frame),
            ConnectionEvent::Answer { token, answer } => self.answered(now, token, answer, out),
            ConnectionEvent::Warmed { token } => match self.tokens.remove(&token) {
                Some(number) => self.resume(now, number, out, |waiting, cx| waiting.warmed(cx, token)),
                None => Ok(()),
            },
            ConnectionEvent::Timer => self.expired(now, out),
            ConnectionEvent::Closed => return self.shut(now, out),
        };
        match outcome.and_then(|()| self.proceed(now, out)) {
            Ok(()) => self.schedule(out),
            Err(why) => {
                self.send_done(out);
                self.shut(now, out);
                out.push(ConnectionEffect::Close(why));
            }
        }
        debug_assert!(self.requests.iter().is_sorted_by_key(Request::is_held), "held requests stand behind the others");
        debug_assert_eq!(self.bytes, self.requests.iter().map(|request| request.size).sum::<usize>());
    }
}

fn context<'a>(
    shared: &'a Arc<Shared>,
    session: &'a mut Session,
    out: &'a mut Outbox,
    header: &'a RequestHeader,
    now: Now,
) -> Context<'a> {
    Context {
        now,
        directory: &shared.directory,
        settings: &shared.settings,
        session,
        version: header.api_version,
        client_id: &header.client_id,
        shared,
        out,
    }
}

fn respond(request: &Request, body: Frame) -> Result<Frame, Closing> {
    let header = &request.header;
    wire::respond(request.api.key, header.api_version, header.correlation_id, body)
        .map_err(|error| refused(header, &error))
}

/// A request that cannot be read, or a response that cannot be written: the stream is of no use any more.
fn refused(header: &RequestHeader, error: &WireError) -> Closing {
    tracing::debug!(key = header.api_key, version = header.api_version, client = header.client_id, %error, "refused");
    match error {
        WireError::Encode { .. } => "the response cannot be written",
        _ => "the request is malformed",
    }
}
