//! I10: high watermark <= what the majority holds. I11: when it passes a record, `min.insync.replicas` data voters hold
//! that, as durably as the topic asks.

use millrace_raft::{FlushMode, Status};

use super::Checked;
use crate::world::World;

pub(super) fn check(world: &World, at: usize, status: &Status) -> Checked {
    let (high_watermark, start) = (status.high_watermark, status.epoch_start.unwrap_or(0));
    if status.commit.unwrap_or(0).max(start) < high_watermark {
        return Err(format!("high watermark {high_watermark} above {:?}", status.commit));
    }
    let known = world.ghost.acked.last_key_value().map_or(0, |(offset, _)| offset + 1);
    let last = high_watermark - 1;
    let Some(record) = world.hosts[at].log.get(last).filter(|_| high_watermark > known) else { return Ok(()) };
    let raft = world.hosts[at].raft.as_ref().expect("it leads");
    let voters: Vec<usize> = raft.configuration().data_voters().map(|key| world.index(key)).collect();
    let holds = |index: &&usize| {
        let host = &world.hosts[**index];
        let durable = world.plan.settings.flush == FlushMode::Durable && host.raft.is_some();
        let log = if durable { &host.disk.durable } else { &host.log };
        log.get(last) == Some(record) || world.lossy == Some(**index) || last < log.start
    };
    let holders = voters.iter().filter(holds).count();
    let needed = world.plan.settings.min_in_sync.min(voters.len());
    if holders < needed {
        return Err(format!("record {last} is acknowledged with {holders} of {needed} copies"));
    }
    Ok(())
}
