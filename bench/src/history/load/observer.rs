//! Asks where partitions end and what the group has committed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millrace_client::{Admin, OffsetSpec};
use tokio::time::{MissedTickBehavior, interval};

use super::super::event::{Op, Phase};
use super::{GROUP, Load, key};
use crate::error::BenchError;

/// How often each question is asked.
const EVERY: Duration = Duration::from_millis(100);

/// Asks until the load is over.
///
/// # Errors
/// Settings that the client library refuses.
pub(crate) async fn observer(process: u32, load: Arc<Load>) -> Result<(), BenchError> {
    let admin = Admin::connect(load.settings()).await?;
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !load.is_over() {
        tick.tick().await;
        ends(process, &load, &admin).await;
        committed(process, &load, &admin).await;
    }
    Ok(())
}

async fn ends(process: u32, load: &Load, admin: &Admin) {
    let recorder = &load.recorder;
    let latest = load.partitions().into_iter().map(|partition| (partition, OffsetSpec::Latest)).collect();
    recorder.note(process, Phase::Invoke, Op::Ends { ends: BTreeMap::new() });
    match admin.offsets(&latest).await {
        Ok(found) => {
            let known = found.into_iter().filter_map(|(partition, found)| Some((partition, found.ok()?.offset)));
            let ends = known.map(|(partition, offset)| (key(&partition.topic, partition.partition), offset)).collect();
            recorder.note(process, Phase::Ok, Op::Ends { ends });
        }
        Err(error) => recorder.explain(process, Phase::Fail, Op::Ends { ends: BTreeMap::new() }, &error),
    }
}

/// Asks once what the group has committed; whether it was told.
pub(crate) async fn committed(process: u32, load: &Load, admin: &Admin) -> bool {
    let recorder = &load.recorder;
    let op = |offsets| Op::Committed { group: GROUP.to_owned(), offsets };
    recorder.note(process, Phase::Invoke, op(BTreeMap::new()));
    match admin.group_offsets(GROUP).await {
        Ok(found) => {
            let offsets = found.into_iter().map(|(it, found)| (key(&it.topic, it.partition), found.offset)).collect();
            recorder.note(process, Phase::Ok, op(offsets));
            true
        }
        Err(error) => {
            recorder.explain(process, Phase::Fail, op(BTreeMap::new()), &error);
            false
        }
    }
}
