//! Records by one call: written through the leader, and read back from one replica.

use millrace_types::{Instant, Offset};

use super::{Cluster, batch, records};
use crate::call::{Acks, PartitionAnswer};

impl Cluster {
    /// Produces one record with acks=all and waits for its offset.
    pub(crate) fn write(&mut self, value: &str) -> Offset {
        let at = self.leader().expect("a leader");
        let token = self.produce(at, batch(&[value]), Acks::All, Instant::NEVER);
        self.run_until("an answer", |cluster| cluster.answers.contains_key(&token));
        self.acknowledged(token)
    }

    /// The offset with which a produce request was answered.
    pub(crate) fn acknowledged(&mut self, token: u64) -> Offset {
        match self.answers.remove(&token) {
            Some(PartitionAnswer::Produced { base_offset, .. }) => base_offset,
            other => panic!("not acknowledged: {other:?}"),
        }
    }

    /// All values that a replica holds, in order.
    pub(crate) fn values(&self, at: usize) -> Vec<String> {
        let view = self.view(at);
        records(&view, view.log.log_end()).into_values().collect()
    }
}
