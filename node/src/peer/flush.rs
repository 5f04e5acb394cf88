//! Frames out: many messages in one, and never more under way than the window and a frame.

use millrace_types::Instant;

use super::codec::Batch;
use super::core::Peer;
use super::mutation::{Mutation, broken};
use super::{LinkId, PeerEffect};
use crate::wire::Frame;

impl Peer {
    /// Hands the shard's socket as much as it may have.
    pub(crate) fn flush(&mut self, now: Instant, shard: u8, out: &mut Vec<PeerEffect>) {
        let patience = self.settings.session_timeout;
        loop {
            if let Some(link) = self.links.get_mut(usize::from(shard)) {
                link.answers.settle(now, link.unwritten, patience);
            }
            if self.quota_ready(shard) > now && self.quota_ready(shard) != Instant::NEVER {
                return;
            }
            let Some(link) = self.links.get_mut(usize::from(shard)) else { return };
            let Some(connection) = link.open().filter(|_| link.unwritten < self.settings.window) else { return };
            if let Some(frame) = link.queue.pop_plane() {
                self.write(shard, connection, Frame::from(frame), out);
                continue;
            }
            let Some(batch) = link.queue.fill(Batch::new(self.applied.0), &self.settings) else { return };
            let frame = batch.finish();
            if shard == self.catch_up_shard() {
                self.quota.spend(now, frame.len(), self.settings.catch_up_rate);
            }
            self.write(shard, connection, frame, out);
        }
    }

    /// When the shard's rate allows the next frame; never when there is no need to wait for that.
    pub(crate) fn quota_ready(&self, shard: u8) -> Instant {
        let waits = |link: &super::link::Link| !link.queue.is_empty() && link.unwritten < self.settings.window;
        let limited = shard == self.catch_up_shard() && !broken(Mutation::IgnoreQuota);
        if limited && self.links.last().is_some_and(waits) { self.quota.ready() } else { Instant::NEVER }
    }

    pub(crate) fn write(&mut self, shard: u8, connection: LinkId, frame: Frame, out: &mut Vec<PeerEffect>) {
        if let Some(link) = self.link(shard) {
            link.unwritten += frame.len();
            link.answers.wrote(frame.len(), link.queue.len());
        }
        out.push(PeerEffect::Write { connection, frame });
    }
}
