//! The follower's side of replication: append, cut, begin anew (rules R5 to R8).

use millrace_types::Offset;

use crate::effect::{Effect, Record};
use crate::identity::Peer;
use crate::log::Pending;
use crate::message::{FetchBody, FetchResponse};
use crate::mutation::{Mutation, broken};
use crate::position::{EpochStart, Span};
use crate::puts::After;
use crate::raft::Raft;
use crate::role::Role;

impl Raft {
    pub(crate) fn on_fetch_response(&mut self, from: Peer, response: FetchResponse, out: &mut Vec<Effect>) {
        let is_leader = response.body != FetchBody::NotLeader;
        if is_leader && response.epoch == self.epoch && matches!(self.role, Role::Unattached(_)) {
            return self.follow(from.key, out);
        }
        let Role::Follower(follower) = &self.role else { return };
        if follower.leader != from.key || response.epoch != self.epoch {
            return;
        }
        if !is_leader {
            // Believed on the spot, also in a session that lives: else a partition could stay without a leader for ever.
            let hint = response.leader.filter(|leader| *leader != from.key);
            self.become_unattached(hint);
            if let Some(leader) = hint {
                self.follow(leader, out);
            }
            return;
        }
        if self.is_busy() || self.is_stale(&response) {
            return;
        }
        // Who is superseded asks again when the leader wonders where it is: each answer would come at once.
        let asks_again = !self.is_superseded();
        if let Role::Follower(follower) = &mut self.role {
            follower.waiting = !asks_again;
        }
        match response.body.clone() {
            _ if self.is_of_another(&response) => self.take_members(response, out),
            FetchBody::NotLeader => {}
            FetchBody::Records { upto, markers, spans } => self.take_records(response, upto, &markers, &spans, out),
            FetchBody::Diverging { epoch, end } => self.diverge(epoch, end, out),
            FetchBody::Reset { start, below } => self.begin_anew(start, below, out),
        }
    }

    /// Whether this is a witness, and what is told is for a replica in its place: it would be ahead of others, were it the witness
    /// again (rule R14).
    fn is_of_another(&self, response: &FetchResponse) -> bool {
        let known = response.configuration.as_ref().unwrap_or(&self.configuration);
        self.witness && !known.is_witness(self.me.key) && !broken(Mutation::LearnAsWitness)
    }

    /// Takes nothing of an answer but who the members are.
    fn take_members(&mut self, response: FetchResponse, out: &mut Vec<Effect>) {
        let body = FetchBody::Records { upto: self.log.end, markers: Vec::new(), spans: Vec::new() };
        self.records_taken(self.log.end, FetchResponse { body, ..response }, out);
    }

    /// Whether the answer is to another question than the last (rule R5).
    fn is_stale(&self, response: &FetchResponse) -> bool {
        let same = response.position == self.position() && response.incarnation == self.me.incarnation;
        !same && !broken(Mutation::TakeStaleAnswer)
    }

    fn take_records(
        &mut self,
        response: FetchResponse,
        upto: Offset,
        markers: &[EpochStart],
        spans: &[Span],
        out: &mut Vec<Effect>,
    ) {
        let end = if self.witness { upto } else { self.end_of_spans(markers, spans) };
        if self.witness || end == self.log.end {
            return self.records_taken(end, response, out);
        }
        let from = self.log.end;
        self.log.pending = Some(Pending::Append(Box::new(response)));
        out.push(Effect::Append { from, upto: end });
    }

    /// Where the spans end that continue this log, each with the epoch that the markers give it.
    fn end_of_spans(&self, markers: &[EpochStart], spans: &[Span]) -> Offset {
        let latest = self.log.cache.latest();
        let epoch_at = |offset| {
            let marker = markers.iter().rev().find(|marker| marker.start <= offset);
            marker.map_or(latest, |marker| marker.epoch.max(latest))
        };
        let follows = |end: Offset, span: &Span| {
            let fits = span.base == end && span.end > end && span.epoch == epoch_at(span.base);
            (fits || broken(Mutation::TakeStaleAnswer)).then_some(span.end)
        };
        spans.iter().try_fold(self.log.end, |end, span| follows(end, span).ok_or(end)).unwrap_or_else(|end| end)
    }

    /// The host has appended.
    pub(crate) fn appended(&mut self, end: Offset, out: &mut Vec<Effect>) {
        match self.log.pending.take() {
            Some(Pending::Append(response)) => self.records_taken(end, *response, out),
            pending => {
                self.log.pending = pending;
                debug_assert!(end >= self.log.end, "an append does not shorten the log");
                self.log.end = end.max(self.log.end);
            }
        }
    }

    /// The host could not append: a full disk. The fetch is repeated when the host says so.
    pub(crate) fn append_refused(&mut self) {
        if matches!(self.log.pending, Some(Pending::Append(_))) {
            self.log.pending = None;
            if let Role::Follower(follower) = &mut self.role {
                (follower.waiting, follower.refused) = (true, true);
            }
        }
    }

    /// The log ends at `end` with what the response brought: its epochs begin, and its news are taken.
    fn records_taken(&mut self, end: Offset, response: FetchResponse, out: &mut Vec<Effect>) {
        let FetchBody::Records { markers, .. } = &response.body else { return };
        let has_grown = end > self.log.end;
        self.log.end = end.max(self.log.end);
        let new = markers.iter().filter(|marker| marker.start <= end && self.log.cache.push(**marker));
        let mut records: Vec<Record> = new.map(|marker| Record::Epoch(*marker)).collect();
        let mut after = Vec::new();
        after.extend((!records.is_empty()).then_some(After::Markers(self.log.cache.latest())));
        if self.witness && has_grown {
            records.push(Record::WitnessEnd(end));
            after.push(After::WitnessEnd(end));
        }
        if !records.is_empty() {
            self.puts.put(records, after, out);
        }
        let Role::Follower(follower) = &mut self.role else { return };
        if response.epoch != self.epoch {
            return;
        }
        follower.unanimous |= response.unanimous;
        let target =
            if broken(Mutation::RecoverToHighWatermark) { Some(response.high_watermark) } else { response.commit };
        follower.recover_to = follower.recover_to.or(target);
        self.high_watermark = self.high_watermark.max(response.high_watermark.min(self.log.end));
        let start = response.log_start.min(self.high_watermark);
        if start > self.log.start {
            self.log.raise_start(start);
            out.push(Effect::RaiseLogStart { start });
        }
        if let Some(configuration) = response.configuration {
            self.adopt(configuration, out);
        }
    }

    /// The leader's log differs: cut to where both surely agree, one epoch of difference at a time (rule R7).
    fn diverge(&mut self, epoch: i32, end: Offset, out: &mut Vec<Effect>) {
        let own = self.log.cache.floor(epoch).unwrap_or(0);
        let own_end = self.log.cache.end_of(own, self.log.end);
        let to = if broken(Mutation::CutToLeadersEnd) { end } else { end.min(own_end) };
        let left = self.log.cut(to, own);
        self.high_watermark = self.high_watermark.min(left.offset);
        if broken(Mutation::AppendBeforeCut) {
            self.log.pending = None;
            out.push(Effect::Truncate { to: left.offset, epoch: left.epoch });
            return;
        }
        self.log.pending = Some(Pending::Cut);
        self.puts.put(vec![Record::Trunc { to: left.offset, epoch: left.epoch }], vec![After::Cut], out);
    }

    /// What this replica lacks is deleted by policy: everything it holds goes (rule R6).
    fn begin_anew(&mut self, start: Offset, below: Option<EpochStart>, out: &mut Vec<Effect>) {
        self.log.reset(start, below);
        self.high_watermark = start;
        self.log.pending = Some(Pending::Reset { below });
        self.puts.put(vec![Record::Reset { start, below }], vec![After::Cut], out);
    }

    /// The note of a cut is durable: now the log itself. A witness has none.
    pub(crate) fn cut_noted(&mut self, out: &mut Vec<Effect>) {
        let left = self.position();
        match &self.log.pending {
            _ if self.witness => self.cut_done(left.offset),
            Some(Pending::Cut) => out.push(Effect::Truncate { to: left.offset, epoch: left.epoch }),
            Some(Pending::Reset { below }) => out.push(Effect::Reset { start: self.log.start, below: *below }),
            Some(Pending::Append(_)) | None => {}
        }
    }

    /// The log is cut, durably, and may be appended to.
    pub(crate) fn cut_done(&mut self, end: Offset) {
        match self.log.pending.take() {
            Some(Pending::Cut) => {
                let epoch = self.log.cache.latest();
                self.log.cut(end, epoch);
            }
            Some(Pending::Reset { below }) => self.log.cache.mark_durable(below.map_or(0, |known| known.epoch)),
            pending => self.log.pending = pending,
        }
    }
}
