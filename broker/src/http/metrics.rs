//! `/metrics`: what was counted, and the figures that somebody else keeps, read at this moment.

use std::fmt::Write;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use actix_web::web::Data;
use actix_web::{HttpResponse, get};
use metrics::{counter, gauge};
use millrace_node::Standing;
use millrace_node::metadata_store::MAX_QUEUED;
use millrace_storage::{Cause, mapped_count};
use millrace_types::TopicPartition;

use super::State;
use crate::actor::arbiter::CALL_BOUND;
use crate::actor::countdown::countdown;
use crate::actor::inbox::{COMPLETION_BOUND, PARCEL_BOUND};
use crate::actor::parcel::{Order, Parcel};
use crate::metrics::{self as names, figure};
use crate::peer::handoff::ORDER_BOUND;
use crate::shared::{Counted, Shared};

/// Topics whose sizes are shown; the figures of a broker with more would be too many for whoever scrapes them.
const TOPICS_SHOWN: usize = 1_000;

/// How long an arbiter has to count what waits for its actors.
const SAMPLE_TIMEOUT: Duration = Duration::from_millis(500);

/// Prometheus metrics.
#[utoipa::path(tag = "health", responses((status = 200, content_type = "text/plain", body = String)))]
#[get("/metrics")]
pub(crate) async fn render(state: Data<State>) -> HttpResponse {
    // An arbiter that does not answer in time shows the figures of the scrape before.
    let (pending, done) = countdown();
    for arbiter in 0..state.shared.placement.arbiters() {
        state.shared.inbox(arbiter).send(&mut vec![Parcel::Order(Order::Sample(pending.clone()))]);
    }
    drop(pending);
    let _late = tokio::time::timeout(SAMPLE_TIMEOUT, done.wait()).await;
    sample(&state.shared);
    sample_storage(&state.shared);
    sample_upkeep(&state.shared);
    sample_peers(&state.shared);
    sample_replication(&state.shared);
    let mut text = state.recorder.render();
    // Written by hand, since a gauge of a deleted topic would stay for ever.
    topic_sizes(&state.shared, &mut text);
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text)
}

fn sample(shared: &Shared) {
    for arbiter in 0..shared.placement.arbiters() {
        let label = arbiter.to_string();
        let (parcels, completions) = shared.inbox(arbiter).depth();
        let connections = shared.load(arbiter).load(Relaxed);
        let counted = shared.counted(arbiter);
        gauge!(names::ARBITER_EVENTS, "arbiter" => label.clone()).set(figure(counted.events.load(Relaxed)));
        gauge!(names::ARBITER_TIMERS, "arbiter" => label.clone()).set(figure(counted.timers.load(Relaxed)));
        gauge!(names::ARBITER_PARCELS, "arbiter" => label.clone()).set(figure(parcels));
        gauge!(names::ARBITER_COMPLETIONS, "arbiter" => label.clone()).set(figure(completions));
        gauge!(names::ARBITER_CONNECTIONS, "arbiter" => label).set(figure(connections));
    }
    sample_requests(shared);
    let directory = &shared.node.directory;
    let settings = &shared.node.settings;
    let image = directory.image();
    gauge!(names::ARBITERS_HUNG).set(figure(shared.pulse.silent()));
    gauge!(names::REPLICAS_HUNG).set(figure(shared.pulse.hung()));
    gauge!(names::REPLICAS_FULL).set(figure(shared.pulse.full()));
    gauge!(names::ARBITER_EVENTS_BOUND).set(figure(CALL_BOUND));
    gauge!(names::ARBITER_PARCELS_BOUND).set(figure(PARCEL_BOUND));
    gauge!(names::ARBITER_COMPLETIONS_BOUND).set(figure(COMPLETION_BOUND));
    gauge!(names::BROKER_READY).set(if shared.is_ready() { 1.0 } else { 0.0 });
    gauge!(names::CONNECTIONS).set(figure(shared.limits.total()));
    gauge!(names::CONNECTIONS_BOUND).set(figure(settings.limits.max_connections()));
    gauge!(names::MAPPED_FILES).set(figure(mapped_count()));
    gauge!(names::METADATA_COMMANDS_BOUND).set(figure(MAX_QUEUED));
    gauge!(names::METADATA_EPOCH).set(figure(usize::try_from(image.epoch()).unwrap_or(usize::MAX)));
    gauge!(names::REPLICAS).set(figure(directory.len()));
    gauge!(names::TOPICS).set(figure(image.topic_count()));
    if let (Some(total), Some(free)) = (settings.space.total(), settings.space.free()) {
        gauge!(names::DISK_TOTAL).set(figure(usize::try_from(total).unwrap_or(usize::MAX)));
        gauge!(names::DISK_FREE).set(figure(usize::try_from(free).unwrap_or(usize::MAX)));
    }
}

/// What all arbiters have in flight: which arbiter serves a connection means nothing to whoever watches a queue.
fn sample_requests(shared: &Shared) {
    let sum = |of: fn(&Counted) -> &AtomicUsize| {
        figure((0..shared.placement.arbiters()).map(|arbiter| of(shared.counted(arbiter)).load(Relaxed)).sum())
    };
    gauge!(names::REQUESTS_IN_FLIGHT).set(sum(|counted| &counted.requests));
    gauge!(names::REQUESTS_IN_FLIGHT_BYTES).set(sum(|counted| &counted.request_bytes));
    gauge!(names::PRODUCE_WAITING).set(sum(|counted| &counted.produces));
    gauge!(names::PRODUCE_WAITING_BYTES).set(sum(|counted| &counted.produce_bytes));
    gauge!(names::FETCH_WAITING).set(sum(|counted| &counted.fetches));
}

fn sample_storage(shared: &Shared) {
    let stats = shared.storage.stats().snapshot();
    gauge!(names::STORAGE_QUEUE, "queue" => "flush").set(figure(stats.flushes_waiting));
    gauge!(names::STORAGE_QUEUE, "queue" => "put").set(figure(stats.puts_waiting));
    gauge!(names::STORAGE_QUEUE, "queue" => "job").set(figure(stats.jobs_waiting));
    gauge!(names::STORAGE_QUEUE_BOUND).set(figure(shared.storage_bound));
    gauge!(names::STORAGE_STORE_CLOSED).set(if stats.store_closed { 1.0 } else { 0.0 });
    counter!(names::STORAGE_COMMITS).absolute(stats.commits);
    counter!(names::STORAGE_FLUSH_GROUPS).absolute(stats.groups);
    counter!(names::STORAGE_FLUSH_GROUPS_FAILED).absolute(stats.failed_groups);
    counter!(names::STORAGE_FLUSH_MICROS).absolute(stats.flush_micros);
    counter!(names::STORAGE_FLUSHED_FILES).absolute(stats.grouped_files);
    counter!(names::STORAGE_FLUSHES).absolute(stats.grouped_jobs);
}

fn sample_upkeep(shared: &Shared) {
    let upkeep = shared.upkeep.snapshot();
    let directory = &shared.node.directory;
    let image = directory.image();
    let hosted = image.topics().flat_map(|topic| {
        (0..topic.partition_count()).filter_map(|number| directory.partition(&TopicPartition::new(topic.id, number)))
    });
    gauge!(names::LOG_DAMAGED_RANGES).set(figure(hosted.map(|view| view.log.damaged().len()).sum()));
    counter!(names::LOG_SCRUBBED_BYTES).absolute(upkeep.scrubbed_bytes);
    let tallies = upkeep.found.into_iter().zip(upkeep.repaired).zip(upkeep.given_up);
    for (cause, (((found, found_bytes), (repaired, repaired_bytes)), given_up)) in Cause::ALL.into_iter().zip(tallies) {
        let cause = cause.name();
        counter!(names::LOG_DAMAGE_GIVEN_UP, "cause" => cause).absolute(given_up);
        counter!(names::LOG_DAMAGE_FOUND, "cause" => cause).absolute(found);
        counter!(names::LOG_DAMAGE_FOUND_BYTES, "cause" => cause).absolute(found_bytes);
        counter!(names::LOG_DAMAGE_REPAIRED, "cause" => cause).absolute(repaired);
        counter!(names::LOG_DAMAGE_REPAIRED_BYTES, "cause" => cause).absolute(repaired_bytes);
    }
}

fn sample_peers(shared: &Shared) {
    let Some((orders, arrivals)) = &shared.peer_queues else { return };
    gauge!(names::PEER_ORDERS).set(figure(orders.len()));
    gauge!(names::PEER_ORDERS_BOUND).set(figure(ORDER_BOUND));
    gauge!(names::PEER_ARRIVALS).set(figure(arrivals.len()));
    let report = shared.peer_report();
    gauge!(names::PEER_WAITING_REPLICAS).set(figure(report.waiting));
    for (broker, status) in &report.sessions {
        let broker = broker.to_string();
        gauge!(names::PEER_UP, "broker" => broker.clone()).set(if status.session.is_some() { 1.0 } else { 0.0 });
        gauge!(names::PEER_QUEUED, "broker" => broker.clone()).set(figure(status.queued_messages));
        gauge!(names::PEER_QUEUED_BYTES, "broker" => broker.clone()).set(figure(status.queued_bytes));
        counter!(names::PEER_SESSIONS, "broker" => broker.clone()).absolute(status.sessions);
        counter!(names::PEER_RESETS, "broker" => broker.clone()).absolute(status.resets);
        counter!(names::PEER_DROPPED, "broker" => broker.clone()).absolute(status.dropped);
        counter!(names::PEER_OVERFLOWS, "broker" => broker).absolute(status.overflows);
    }
}

fn sample_replication(shared: &Shared) {
    let standing = Standing::of(&shared.node.directory);
    gauge!(names::PARTITIONS_LED).set(figure(standing.led));
    gauge!(names::PARTITIONS_LED_ELSEWHERE).set(figure(standing.led_elsewhere));
    gauge!(names::PARTITIONS_LEADERLESS).set(figure(standing.leaderless));
    gauge!(names::PARTITIONS_UNDER_REPLICATED).set(figure(standing.under_replicated));
    gauge!(names::PARTITIONS_UNDER_MIN_IN_SYNC).set(figure(standing.under_min_in_sync));
    gauge!(names::PARTITIONS_AT_MIN_IN_SYNC).set(figure(standing.at_min_in_sync));
    gauge!(names::PARTITIONS_REASSIGNING).set(figure(standing.reassigning));
    gauge!(names::REPLICA_MAX_LAG).set(figure(usize::try_from(standing.max_lag).unwrap_or(usize::MAX)));
}

fn topic_sizes(shared: &Shared, text: &mut String) {
    let directory = &shared.node.directory;
    let image = directory.image();
    let mut lines = String::new();
    for topic in image.topics().take(TOPICS_SHOWN) {
        let partitions = 0..topic.partition_count();
        let sizes = partitions.filter_map(|number| directory.partition(&TopicPartition::new(topic.id, number)));
        let size: u64 = sizes.map(|view| view.log.size_bytes()).sum();
        // A topic's name holds letters, digits, '.', '_' and '-' only. Writing to a string does not fail.
        let _ = writeln!(lines, "{}{{topic=\"{}\"}} {size}", names::TOPIC_LOG_BYTES, topic.name);
    }
    if lines.is_empty() {
        return;
    }
    if let Some(metric) = names::METRICS.iter().find(|metric| metric.name == names::TOPIC_LOG_BYTES) {
        let _ = write!(text, "\n# HELP {0} {1}\n# TYPE {0} gauge\n{lines}", metric.name, metric.doc);
    }
}
