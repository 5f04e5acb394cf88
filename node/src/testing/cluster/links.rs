//! Links between brokers, and the sessions that follow them.

use std::time::Duration;

use super::{Cluster, Happening, SESSION_TIMEOUT};
use crate::replica::ReplicaEvent;

impl Cluster {
    /// Cuts, or heals, both ways between two brokers.
    pub(crate) fn link(&mut self, a: usize, b: usize, up: bool) {
        for way in [(a, b), (b, a)] {
            if up {
                self.cut.remove(&way)
            } else {
                self.cut.insert(way)
            };
        }
        self.hear();
    }

    /// Cuts, or heals, all links of a broker.
    pub(crate) fn isolate(&mut self, at: usize, up: bool) {
        (0..self.nodes.len()).filter(|other| *other != at).for_each(|other| self.link(at, other, up));
    }

    /// Ends every fault.
    pub(crate) fn heal(&mut self) {
        (self.loss, self.delay) = (0, 1);
        self.lost.clear();
        self.cut.clear();
        for at in 0..self.nodes.len() {
            self.nodes[at].hold = false;
            if !self.runs(at) {
                self.start(at);
            }
            self.work(at);
        }
        self.hear();
    }

    /// Sessions follow processes and links.
    pub(crate) fn hear(&mut self) {
        for by in 0..self.nodes.len() {
            for of in (0..self.nodes.len()).filter(|of| *of != by) {
                if !self.runs(by) {
                    continue;
                }
                let lives = self.runs(of);
                let hears = lives && !self.cut.contains(&(of, by));
                if hears && self.nodes[by].hears.insert(of) {
                    let peer = self.nodes[of].storage.me();
                    self.step(by, ReplicaEvent::SessionUp(peer));
                } else if !hears && self.nodes[by].hears.remove(&of) {
                    let heard = self.now.instant;
                    // A process that is gone is noticed at once, a broken link by its silence.
                    let wait = if lives { SESSION_TIMEOUT } else { Duration::ZERO };
                    self.after(wait, Happening::Silence { by, of, heard });
                }
            }
        }
    }
}
