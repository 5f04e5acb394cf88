//! A leader answers its followers with records (duty 6).

use bytes::Bytes;
use millrace_raft::{FetchBody, FetchResponse, Message, ReplicaKey};

use super::{Replica, ReplicaEffect};

/// Bytes of records in one answer (`replica.fetch.max.bytes`); one batch may be larger.
const MAX_BYTES: usize = 1 << 20;
/// How often a range is read in that is not in memory: its pages may be lost again.
const MAX_WARM_ROUNDS: usize = 2;

impl Replica {
    /// Sends the response with as many records as fit.
    pub(super) fn serve(&mut self, to: ReplicaKey, mut response: FetchResponse, out: &mut Vec<ReplicaEffect>) {
        let FetchBody::Records { upto, .. } = response.body else {
            debug_assert!(false, "records are served");
            return;
        };
        let from = response.position.offset;
        let (records, end) = self.read(from, upto).unwrap_or_else(|| (Bytes::new(), from));
        let (records, end) = self.intact(from, records, end);
        if end == from && self.upkeep.is_damaged() {
            // The follower hears nothing until its leader is another one, or whole: it is reminded of who leads (R17), and asks.
            return;
        }
        response.limit(end);
        out.push(ReplicaEffect::Send { to, message: Message::FetchResponse(response), records });
    }

    /// Whole batches from `from` on, and where they end; `None` when they cannot be read: then the follower asks again.
    fn read(&self, from: i64, upto: i64) -> Option<(Bytes, i64)> {
        for _ in 0..=MAX_WARM_ROUNDS {
            match self.view.log.read(from, upto, MAX_BYTES, true) {
                Ok(slice) => match slice.cold {
                    // A follower that is far behind is served from the disk, here and now.
                    Some(job) => job.run(),
                    None => return Some((slice.bytes, slice.next)),
                },
                Err(error) => {
                    tracing::error!(partition = %self.partition, from, %error, "a follower cannot be served");
                    return None;
                }
            }
        }
        None
    }
}
