//! A follower takes what its leader's answers bring (duties 4 and 9).

use bytes::Bytes;
use millrace_raft::{Envelope, Event, FetchBody, FetchResponse, Message, Span};
use millrace_storage::{AppendError, BatchHeader, QRecord};
use millrace_types::{Now, Offset};

use super::mutation::{Mutation, broken};
use super::puts::Purpose;
use super::{Replica, ReplicaEffect};

impl Replica {
    /// A message of another replica came.
    ///
    /// No record of an epoch is written before that epoch and all before it are durable in the write-ahead store. A start
    /// that found the records and not the epochs would not know of those in between that have no record, and as a leader
    /// it would have followers drop them: they would then vote for logs that end earlier (rules R1, R8).
    pub(super) fn receive(&mut self, now: Now, mut envelope: Envelope, records: Bytes, out: &mut Vec<ReplicaEffect>) {
        if !self.is_running() || !self.raft.is_taking_part() {
            Self::refuse_fetch(&envelope, out);
        }
        if !self.is_running() {
            return;
        }
        match &envelope.message {
            Message::Repair(request) => return self.lend(&envelope, *request, out),
            Message::RepairResponse(response) => return self.borrowed(now, &envelope, *response, records),
            _ => {}
        }
        if let Message::FetchResponse(response) = &mut envelope.message
            && let FetchBody::Records { markers, spans, .. } = &mut response.body
        {
            if !records.is_empty() && self.puts.epochs_are_pending() {
                // The answer counts as lost; the next is asked for when the epochs are durable.
                self.refetch_after_put = true;
                return;
            }
            let latest = self.log.epoch_cache().latest();
            let first_new = markers.iter().find(|marker| marker.epoch > latest).map(|marker| marker.start);
            *spans = self.spans(&records, first_new.unwrap_or(Offset::MAX));
            self.incoming = Some(records);
        }
        self.tell(now, Event::Receive(envelope), out);
        self.incoming = None;
        if broken(Mutation::CommitBeforeFlush) {
            self.tell_running(now, Event::Flushed { upto: self.log.log_end() }, out);
        }
    }

    /// Who asks a replica that takes no part is told that it does not lead.
    fn refuse_fetch(envelope: &Envelope, out: &mut Vec<ReplicaEffect>) {
        if let Message::Fetch(request) = &envelope.message {
            let message = Message::FetchResponse(FetchResponse::refusing(request, envelope.from));
            out.push(ReplicaEffect::Send { to: envelope.from.key, message, records: Bytes::new(), catch_up: false });
        }
    }

    /// The records below `upto` by epoch, as far as whole batches follow each other. Their checksums are looked at when they
    /// are appended.
    fn spans(&self, records: &Bytes, upto: Offset) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        let (start, end) = (self.log.log_start(), self.log.log_end());
        for (header, _) in Batches(records.clone()).take_while(|(header, _)| header.last_offset() < upto) {
            // The first batch of an empty log may hold its start.
            let holds_start = spans.is_empty() && start == end && header.base_offset < end;
            let base = if holds_start { end } else { header.base_offset };
            let (after, epoch) = (header.last_offset() + 1, header.leader_epoch);
            match spans.last_mut() {
                Some(last) if last.epoch == epoch && last.end == base => last.end = after,
                Some(last) if last.end != base => break,
                _ => spans.push(Span { base, end: after, epoch }),
            }
        }
        spans
    }

    /// Appends what came, up to `upto`.
    pub(super) fn append_incoming(&mut self, now: Now, upto: Offset, out: &mut Vec<ReplicaEffect>) -> Event {
        let before = self.log.log_end();
        let batches = Batches(self.incoming.take().unwrap_or_default());
        for (_, batch) in batches.take_while(|(header, _)| header.last_offset() < upto) {
            match self.log.append_replicated(&batch, now) {
                Ok(_) => self.health.appended(),
                Err(error) => {
                    self.not_appended(now, &error, out);
                    break;
                }
            }
        }
        if let Some(job) = self.log.prepare() {
            out.push(ReplicaEffect::Prepare(job));
        }
        let end = self.log.log_end();
        if end > before { Event::Appended { end } } else { Event::AppendRefused }
    }

    fn not_appended(&mut self, now: Now, error: &AppendError, out: &mut Vec<ReplicaEffect>) {
        if matches!(error, AppendError::Full(_)) {
            self.lacks_room(now, error);
        } else {
            tracing::warn!(partition = %self.partition, %error, "what the leader has sent cannot be appended");
        }
        self.refetch_at = now.instant.after(self.health.pause());
        if let AppendError::Storage(disk) = error
            && self.log.is_poisoned()
        {
            self.fail(disk, out);
        }
    }

    /// The leader has deleted records: so does this replica, when that is noted.
    pub(super) fn follow_log_start(&mut self, now: Now, start: Offset, out: &mut Vec<ReplicaEffect>) {
        if broken(Mutation::DeleteBeforeDurable) {
            self.tell_running(now, Event::LogStart { start }, out);
        }
        let record = QRecord::Start { tp: self.partition, offset: start };
        self.puts.put(vec![record], Purpose::Retention { start }, out);
    }
}

/// The whole batches that records consist of.
struct Batches(Bytes);

impl Iterator for Batches {
    type Item = (BatchHeader, Bytes);

    fn next(&mut self) -> Option<Self::Item> {
        let header = BatchHeader::parse(&self.0).ok()?;
        let size = header.size();
        let is_whole = size <= self.0.len() && header.last_offset_delta >= 0 && header.base_offset >= 0;
        is_whole.then(|| (header, self.0.split_to(size)))
    }
}
