//! The final reads: fresh consumers read every partition from its beginning to the end that anybody knows of.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millrace_client::{Consumer, OffsetReset};
use tokio::time::Instant;

use super::super::event::{Key, Op, Phase};
use super::{Load, key, places};
use crate::error::BenchError;

/// How long a poll waits for records.
const POLL: Duration = Duration::from_millis(500);
/// How long no record may come before it is given up.
const PATIENCE: Duration = Duration::from_secs(20);

/// Reads everything once; whether it came to the end of every partition.
///
/// # Errors
/// Settings that the client library refuses.
async fn drain(process: u32, load: &Load) -> Result<bool, BenchError> {
    let recorder = &load.recorder;
    let consumer = Consumer::connect(load.consumer(OffsetReset::Earliest)).await?;
    let partitions = load.partitions();
    consumer.assign(&partitions)?;
    let keys: Vec<Key> = partitions.iter().map(|it| key(&it.topic, it.partition)).collect();
    recorder.note(process, Phase::Ok, Op::Assign { keys, from_start: true });
    let highest = recorder.highest();
    let mut reached: BTreeMap<Key, i64> = BTreeMap::new();
    let lacks = |reached: &BTreeMap<Key, i64>| highest.iter().any(|(key, end)| reached.get(key) < Some(end));
    let mut heard = Instant::now();
    while lacks(&reached) {
        match consumer.poll(POLL).await {
            Ok(records) => {
                let polls = places(&records);
                for (key, records) in &polls {
                    reached.extend(records.last().map(|(offset, _)| (key.clone(), *offset)));
                    heard = Instant::now();
                }
                recorder.note(process, Phase::Ok, Op::Poll { polls });
            }
            Err(error) => recorder.explain(process, Phase::Fail, Op::Poll { polls: BTreeMap::new() }, &error),
        }
        if heard.elapsed() > PATIENCE {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Has several consumers read everything, and writes down whether all of it was read.
///
/// # Errors
/// Those of [`drain`].
pub(crate) async fn drain_all(processes: impl IntoIterator<Item = u32>, load: &Arc<Load>) -> Result<bool, BenchError> {
    let mut is_done = true;
    for process in processes {
        is_done &= drain(process, load).await?;
    }
    let phase = if is_done { Phase::Ok } else { Phase::Info };
    load.recorder.note(super::INJECTOR, phase, Op::Drain);
    Ok(is_done)
}
