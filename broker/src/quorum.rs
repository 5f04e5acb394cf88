//! Whether this broker hears enough others: without a majority nothing is decided, and clients are better served elsewhere.

use std::sync::Arc;
use std::time::Duration;

use millrace_types::Instant;

use crate::shared::Shared;

/// How often it is looked.
const INTERVAL: Duration = Duration::from_millis(500);

/// How long there may be no majority before that is worth a warning: brokers that start together are not there at once.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long a warning stands before it is repeated.
const REPEAT: Duration = Duration::from_secs(30);

/// Says at once what a broker that is not alone waits for, and from then on whenever it loses, or finds, a majority.
pub(crate) fn start(shared: &Arc<Shared>) {
    let Some(members) = shared.members.as_ref().map(|members| members.load_full()) else { return };
    let me = shared.node.settings.broker_id;
    let others = members.brokers.iter().filter(|(id, _)| **id != me);
    let others: Vec<String> = others.map(|(id, member)| format!("{id} at {}", member.peer)).collect();
    if others.is_empty() {
        return;
    }
    tracing::info!(others = others.join(", "), "waiting until a majority of the brokers is heard");
    actix_rt::spawn(watch(Arc::clone(shared)));
}

async fn watch(shared: Arc<Shared>) {
    let mut since = shared.clock.instant();
    let mut warned: Option<Instant> = None;
    let mut heard = false;
    loop {
        tokio::time::sleep(INTERVAL).await;
        let now = shared.clock.instant();
        match shared.without_majority() {
            None => {
                if !heard {
                    tracing::info!("a majority of the brokers is heard");
                }
                (heard, warned) = (true, None);
            }
            Some(why) => {
                if heard {
                    (heard, since) = (false, now);
                }
                let due = warned.map_or_else(|| now.since(since) >= PATIENCE, |last| now.since(last) >= REPEAT);
                if due {
                    warn(&shared, &why);
                    warned = Some(now);
                }
            }
        }
    }
}

fn warn(shared: &Shared, why: &str) {
    let Some(members) = shared.members.as_ref().map(|members| members.load_full()) else { return };
    let report = shared.peer_report();
    let silent = report.sessions.iter().filter(|(_, status)| status.session.is_none());
    let silent: Vec<String> = silent
        .map(|(broker, status)| {
            let address = members.address(*broker).map(ToString::to_string).unwrap_or_default();
            let refused = if status.refused > 0 { ", refused" } else { "" };
            format!("{broker} at {address}{refused}")
        })
        .collect();
    tracing::warn!(
        silent = silent.join(", "), own = %members.bind,
        "{why}: nothing is decided here. Do these brokers run, does every cluster file name this broker's own peer address, \
         and is the data directory no copy of another one?"
    );
}
