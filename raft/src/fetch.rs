//! The leader's side of replication: what a fetch is answered with, and when (rules R5 to R7, R14).

use millrace_types::Offset;

use crate::effect::Effect;
use crate::identity::{Peer, ReplicaKey};
use crate::message::{FetchBody, FetchRequest, FetchResponse, Message};
use crate::mutation::{Mutation, broken};
use crate::position::EpochStart;
use crate::progress::Progress;
use crate::quorum::nth_largest;
use crate::raft::Raft;
use crate::role::Leader;

impl Raft {
    /// Takes what the follower acknowledges and parks its fetch; it is answered when there is news.
    pub(crate) fn on_fetch(&mut self, from: Peer, request: FetchRequest, out: &mut Vec<Effect>) {
        let epoch = self.epoch;
        let Some(leader) = self.as_leader_mut().filter(|_| request.epoch == epoch) else {
            let response = self.response(from, &request, FetchBody::NotLeader);
            return self.send(from.key, Message::FetchResponse(response), out);
        };
        let counts = leader.counts(from.key, request.configuration);
        let progress = leader.progress.entry(from.key).or_insert_with(|| Progress::new(from.incarnation));
        progress.configuration = request.configuration;
        progress.log_start = request.log_start;
        progress.unfit = request.unfit;
        if counts {
            progress.acknowledge(epoch, request.acknowledged, request.recovering);
        }
        (progress.parked, progress.has_fetched) = (Some(request), true);
    }

    /// Answers the fetches for which there is news.
    pub(crate) fn serve(&mut self, out: &mut Vec<Effect>) {
        let Some(leader) = self.as_leader() else { return };
        let mut served = Vec::new();
        for (key, progress) in &leader.progress {
            let Some(request) = &progress.parked else { continue };
            let peer = Peer { key: *key, incarnation: progress.incarnation };
            if let Some(response) = self.answer(leader, peer, request) {
                served.push((*key, response));
            }
        }
        for (to, response) in served {
            self.serve_one(to, response, out);
        }
    }

    fn serve_one(&mut self, to: ReplicaKey, response: FetchResponse, out: &mut Vec<Effect>) {
        let is_witness = self.configuration.is_witness(to);
        let position = response.position;
        let mut has_records = false;
        let Some(leader) = self.as_leader_mut() else { return };
        if let Some(progress) = leader.progress.get_mut(&to) {
            progress.parked = None;
        }
        if let FetchBody::Records { upto, .. } = &response.body {
            has_records = *upto > position.offset && !is_witness;
            if is_witness {
                leader.witness_told = leader.witness_told.max(Some(*upto));
            }
        }
        if has_records {
            out.push(Effect::Serve { to, response });
        } else {
            self.send(to, Message::FetchResponse(response), out);
        }
    }

    /// The answer to a fetch, if there is news in it.
    fn answer(&self, leader: &Leader, peer: Peer, request: &FetchRequest) -> Option<FetchResponse> {
        let position = request.position;
        if self.configuration.members().all(|member| member != peer.key) {
            // Who is no member learns just that: it may be a witness, which must not be ahead when it is one again.
            let body = FetchBody::Records { upto: position.offset, markers: Vec::new(), spans: Vec::new() };
            return self.has_older(request).then(|| self.response(peer, request, body));
        }
        let limit = self.limit_of(leader, peer.key);
        let reset = self.reset(request, limit);
        if let Some(reset) = reset.clone().filter(|_| !broken(Mutation::DivergeBeforeReset)) {
            return Some(self.response(peer, request, reset));
        }
        let epoch = self.log.cache.floor(position.epoch).unwrap_or(0);
        let end = self.log.cache.end_of(epoch, self.log.end);
        if epoch != position.epoch || end < position.offset {
            return Some(self.response(peer, request, FetchBody::Diverging { epoch, end }));
        }
        if let Some(reset) = reset {
            return Some(self.response(peer, request, reset));
        }
        if self.log.start > position.offset {
            return None;
        }
        let upto = limit.unwrap_or(position.offset).max(position.offset);
        let begun = |marker: &EpochStart| {
            let allowed = marker.epoch < self.epoch || limit.is_some();
            marker.epoch > position.epoch && marker.start <= upto && allowed
        };
        let markers: Vec<EpochStart> = self.log.cache.starts().filter(begun).collect();
        let has_news = upto > position.offset || !markers.is_empty() || self.has_news(leader, peer, request);
        let body = FetchBody::Records { upto, markers, spans: Vec::new() };
        has_news.then(|| self.response(peer, request, body))
    }

    /// Whether what the follower needs is deleted: then divergence cannot be told (rule R6).
    fn reset(&self, request: &FetchRequest, limit: Option<Offset>) -> Option<FetchBody> {
        let position = request.position;
        // An empty log diverges nowhere: every log begins with epoch 0 at offset 0.
        let trimmed = self.log.start > 0 && self.log.cache.floor(position.epoch).is_none();
        let needed = position.offset < self.log.start || trimmed;
        let allowed = limit.is_some_and(|limit| limit >= self.log.start);
        let below = self.log.cache.newest_below(self.log.start);
        (needed && allowed).then_some(FetchBody::Reset { start: self.log.start, below })
    }

    /// How far a replica may be told of the log; `None`: nothing of this epoch. A witness is told what every in-sync replica
    /// holds durably, the leader included, so that whoever of them is left gets its vote, and of that only what enough data
    /// voters hold to be committed with it, so that it never remembers what nobody else may have (rule R14).
    fn limit_of(&self, leader: &Leader, key: ReplicaKey) -> Option<Offset> {
        if !self.configuration.is_witness(key) || broken(Mutation::WitnessAtOnce) {
            return Some(self.log.end);
        }
        let held = self.configuration.data_voters().map(|voter| self.match_of(voter)).collect();
        let committable = nth_largest(held, self.configuration.majority() - 1);
        leader.in_sync.members().map(|member| self.match_of(member)).min().flatten().min(committable)
    }

    /// Whether an answer without records and markers tells the follower something.
    fn has_news(&self, leader: &Leader, peer: Peer, request: &FetchRequest) -> bool {
        let high_watermark = self.high_watermark.min(request.position.offset);
        let log_start = self.log.start.min(high_watermark);
        let whole = request.recovering
            && (leader.commit.is_some_and(|commit| request.acknowledged.offset >= commit)
                || (leader.was_elected_by(peer) && request.acknowledged.epoch == self.epoch));
        let older = self.has_older(request);
        high_watermark > request.high_watermark || log_start > request.log_start || whole || older
    }

    /// Whether the follower's configuration is older than the one in force.
    fn has_older(&self, request: &FetchRequest) -> bool {
        request.configuration < self.configuration.id && self.adopting.is_none()
    }

    fn response(&self, peer: Peer, request: &FetchRequest, body: FetchBody) -> FetchResponse {
        let leader = self.as_leader();
        let older = self.has_older(request);
        FetchResponse {
            epoch: self.epoch,
            leader: self.leader(),
            position: request.position,
            incarnation: peer.incarnation,
            high_watermark: self.high_watermark,
            log_start: self.log.start,
            commit: leader.and_then(|leader| leader.commit),
            unanimous: leader.is_some_and(|leader| leader.was_elected_by(peer)),
            configuration: older.then(|| self.configuration.clone()),
            body,
        }
    }
}
