//! What has to be done from time to time: room on the disk, metrics, sums of what was left out of the log, a look whether the other
//! brokers are heard.

use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use millrace_storage::StorageJob;

use crate::quorum;
use crate::shared::Shared;

/// How often the room on the disk is asked for.
const SPACE_INTERVAL: Duration = Duration::from_secs(10);

/// How often samples of histograms are sorted into their buckets; until then each takes 16 bytes.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Starts the work.
pub(crate) fn start(shared: &Arc<Shared>, recorder: PrometheusHandle) {
    quorum::start(shared);
    let room = Arc::clone(shared);
    actix_rt::spawn(async move {
        loop {
            ask_for_room(&room);
            tokio::time::sleep(SPACE_INTERVAL).await;
        }
    });
    let sums = Arc::clone(shared);
    actix_rt::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP_INTERVAL).await;
            recorder.run_upkeep();
            sums.replication.summarise(sums.clock.instant());
        }
    });
}

fn ask_for_room(shared: &Arc<Shared>) {
    let (disk, settings) = (Arc::clone(&shared.disk), Arc::clone(&shared.node.settings));
    let job = StorageJob::new("disk space", move || match disk.space() {
        Ok(space) => settings.space.refresh(space.total, space.free),
        Err(error) => tracing::warn!(%error, "the room on the disk is not known"),
    });
    if let Err(error) = shared.storage.run(job) {
        tracing::debug!(%error, "the room on the disk is asked for later");
    }
}
