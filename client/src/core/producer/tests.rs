//! The producer in virtual time: batching, linger, order, retries, idempotence, memory, time-outs.

mod failover;
mod moving;

use std::time::Duration;

use kafka_protocol::messages as m;
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{ApiKey, InitProducerIdResponse, ProduceResponse, RequestKind, ResponseKind, TopicName};

use millrace_types::ErrorCode;

use super::*;
use crate::config::{Acks, ProducerConfig};
use crate::core::testing::{Net, Sent};
use crate::core::{Machine, Random};
use crate::error::ClientError;
use crate::model::ProducerRecord;
use crate::record::{Batch, Batches};
use crate::wire::text;

const MILLI: Duration = Duration::from_millis(1);

fn config() -> ProducerConfig {
    let mut config = ProducerConfig::new("x:7001");
    config.linger = 5 * MILLI;
    config.client.retry_backoff = 100 * MILLI;
    config
}

fn start(config: ProducerConfig, net: &mut Net) -> ProducerCore {
    let mut core = ProducerCore::new(config, Random::new(1)).expect("valid");
    let record = ProducerRecord::to("t");
    assert_eq!(core.append(net.now, &record), Ok(None), "metadata first");
    net.run(&mut core);
    core
}

fn send(core: &mut ProducerCore, net: &Net, partition: i32, value: &str) -> Appended {
    let record = ProducerRecord::to("t").partition(partition).value(value.to_owned());
    core.append(net.now, &record).expect("accepted").expect("metadata is known")
}

/// The batches of a produce request, by partition.
fn batches(sent: &Sent) -> Vec<(i32, Batch)> {
    let RequestKind::Produce(request) = &sent.request else { panic!("{sent:?}") };
    let rows = request.topic_data.iter().flat_map(|topic| &topic.partition_data);
    rows.map(|row| {
        let batch = Batches::new(row.records.clone().expect("records")).next().expect("one").expect("whole");
        batch.verify().expect("checksum");
        (row.index, batch)
    })
    .collect()
}

fn values(sent: &Sent) -> Vec<String> {
    let records = batches(sent).into_iter().flat_map(|(_, batch)| batch.records(1 << 20).expect("records"));
    records.map(|r| String::from_utf8(r.expect("record").value.expect("value").to_vec()).expect("text")).collect()
}

fn reply(sent: &Sent, code: ErrorCode, offset: i64) -> ResponseKind {
    let row = |(partition, _): &(i32, Batch)| {
        PartitionProduceResponse::default()
            .with_index(*partition)
            .with_error_code(code.code())
            .with_base_offset(offset)
            .with_log_append_time_ms(-1)
    };
    let topic = TopicProduceResponse::default()
        .with_name(TopicName(text("t")))
        .with_partition_responses(batches(sent).iter().map(row).collect());
    ResponseKind::Produce(ProduceResponse::default().with_responses(vec![topic]))
}

fn identify(core: &mut ProducerCore, net: &mut Net, id: i64) {
    let sent = net.next_of(ApiKey::InitProducerId).expect("asked for a producer id");
    let response = InitProducerIdResponse::default().with_producer_id(id.into()).with_producer_epoch(0);
    net.answer(core, &sent, ResponseKind::InitProducerId(response));
    net.run(core);
}

fn outcomes(core: &mut ProducerCore) -> Vec<(u64, Result<Written>)> {
    let mut outcomes = Vec::new();
    while let Some(event) = core.poll_event() {
        if let ProducerEvent::Batch(id, result) = event {
            outcomes.push((id.0, result));
        }
    }
    outcomes
}

fn stamps(sent: &Sent) -> Vec<(i64, i16, i32)> {
    let stamp =
        |(_, batch): &(i32, Batch)| (batch.header.producer_id, batch.header.producer_epoch, batch.header.base_sequence);
    batches(sent).iter().map(stamp).collect()
}

#[test]
fn records_linger_and_share_a_batch() {
    let mut net = Net::new(&[("t", &[(1, 1)])]);
    let mut core = start(config(), &mut net);
    send(&mut core, &net, 0, "a");
    net.run(&mut core);
    identify(&mut core, &mut net, 7);
    send(&mut core, &net, 0, "b");
    net.pass(&mut core, 4 * MILLI);
    assert!(net.sent.is_empty(), "still lingering");
    net.pass(&mut core, MILLI);
    let sent = net.next();
    assert_eq!((values(&sent), stamps(&sent)), (vec!["a".to_owned(), "b".to_owned()], vec![(7, 0, 0)]));
    net.answer(&mut core, &sent, reply(&sent, ErrorCode::None, 41));
    net.run(&mut core);
    assert_eq!(outcomes(&mut core), [(0, Ok(Written { base_offset: 41, log_append_time: -1 }))]);
    assert_eq!(core.buffered_bytes(), 0);
}

#[test]
fn a_full_batch_goes_at_once_and_partitions_share_requests() {
    let mut net = Net::new(&[("t", &[(1, 1), (1, 1)])]);
    let mut config = config();
    (config.batch_size, config.linger) = (300, Duration::from_secs(9));
    let mut core = start(config, &mut net);
    send(&mut core, &net, 0, "first");
    net.run(&mut core);
    identify(&mut core, &mut net, 7);
    send(&mut core, &net, 1, "other");
    send(&mut core, &net, 0, &"x".repeat(260));
    net.run(&mut core);
    let sent = net.next();
    let partitions: Vec<i32> = batches(&sent).iter().map(|(partition, _)| *partition).collect();
    assert_eq!(partitions, [0, 1], "what lingers for the same broker goes along");
}

#[test]
fn flush_does_not_wait_for_linger() {
    let mut net = Net::new(&[("t", &[(1, 1)])]);
    let mut config = config();
    config.linger = Duration::from_secs(9);
    let mut core = start(config, &mut net);
    send(&mut core, &net, 0, "a");
    let flush = core.flush();
    net.run(&mut core);
    identify(&mut core, &mut net, 7);
    let sent = net.next();
    assert!(!std::iter::from_fn(|| core.poll_event()).any(|event| event == ProducerEvent::Flushed(flush)));
    net.answer(&mut core, &sent, reply(&sent, ErrorCode::None, 0));
    net.run(&mut core);
    assert!(std::iter::from_fn(|| core.poll_event()).any(|event| event == ProducerEvent::Flushed(flush)));
}

/// Three batches in flight, one record each, of a producer that the leader knows.
fn three_in_flight(net: &mut Net) -> (ProducerCore, Vec<Sent>) {
    let mut config = config();
    config.linger = Duration::ZERO;
    let mut core = start(config, net);
    send(&mut core, net, 0, "a");
    net.run(&mut core);
    identify(&mut core, net, 7);
    let place = core.accumulator.find("t", 0).expect("there is a queue");
    core.accumulator.queue(place).expect("found").known_to_leader = true;
    for value in ["b", "c"] {
        send(&mut core, net, 0, value);
        net.run(&mut core);
    }
    let sent: Vec<Sent> = (0..3).map(|_| net.next()).collect();
    let sequences: Vec<i32> = sent.iter().map(|sent| stamps(sent)[0].2).collect();
    assert_eq!(sequences, [0, 1, 2]);
    (core, sent)
}

#[test]
fn the_first_batch_is_alone_until_the_leader_knows_the_producer() {
    let mut net = Net::new(&[("t", &[(1, 1)])]);
    let mut config = config();
    config.linger = Duration::ZERO;
    let mut core = start(config, &mut net);
    send(&mut core, &net, 0, "a");
    net.run(&mut core);
    identify(&mut core, &mut net, 7);
    for value in ["b", "c"] {
        send(&mut core, &net, 0, value);
        net.run(&mut core);
    }
    let first = net.next();
    assert!(stamps(&first) == [(7, 0, 0)] && net.sent.is_empty(), "the leader would take the second without it");
    net.answer(&mut core, &first, reply(&first, ErrorCode::None, 0));
    net.run(&mut core);
    let rest = net.next();
    assert_eq!((values(&rest), stamps(&rest)), (vec!["b".to_owned(), "c".to_owned()], vec![(7, 0, 1)]));
}

#[test]
fn a_retry_keeps_the_order_of_all_behind_it() {
    let mut net = Net::new(&[("t", &[(1, 1)])]);
    let (mut core, sent) = three_in_flight(&mut net);
    net.answer(&mut core, &sent[0], reply(&sent[0], ErrorCode::NotEnoughReplicas, -1));
    for behind in &sent[1..] {
        net.answer(&mut core, behind, reply(behind, ErrorCode::OutOfOrderSequenceNumber, -1));
    }
    net.run(&mut core);
    assert!(outcomes(&mut core).is_empty(), "nothing is given up");
    for (value, sequence) in [("a", 0), ("b", 1), ("c", 2)] {
        net.pass(&mut core, 300 * MILLI);
        let again = net.next();
        assert_eq!((values(&again), stamps(&again)), (vec![value.to_owned()], vec![(7, 0, sequence)]));
        assert!(net.sent.is_empty(), "a retry is alone in flight");
        net.answer(&mut core, &again, reply(&again, ErrorCode::None, i64::from(sequence)));
        net.run(&mut core);
    }
    let acknowledged: Vec<u64> =
        outcomes(&mut core).into_iter().map(|(id, result)| result.map(|_| id).expect("ok")).collect();
    assert_eq!(acknowledged, [0, 1, 2]);
}

#[test]
fn a_lost_answer_is_repaired_by_the_same_sequence_numbers() {
    let mut net = Net::new(&[("t", &[(1, 1)])]);
    let (mut core, sent) = three_in_flight(&mut net);
    net.cut(&mut core, sent[0].connection);
    for sequence in 0..3 {
        net.pass(&mut core, 500 * MILLI);
        let again = net.next();
        assert_eq!(stamps(&again), [(7, 0, sequence)], "the leader sees that it has it");
        net.answer(&mut core, &again, reply(&again, ErrorCode::DuplicateSequenceNumber, 10));
        net.run(&mut core);
    }
    assert_eq!(outcomes(&mut core).len(), 3);
    assert_eq!(core.buffered_bytes(), 0);
}

#[test]
fn a_gap_at_the_head_of_the_line_is_an_error_and_starts_over_under_a_new_epoch() {
    let mut net = Net::new(&[("t", &[(1, 1)])]);
    let (mut core, sent) = three_in_flight(&mut net);
    for answer in &sent {
        net.answer(&mut core, answer, reply(answer, ErrorCode::OutOfOrderSequenceNumber, -1));
    }
    net.run(&mut core);
    let outcome = outcomes(&mut core);
    let error = outcome[0].1.as_ref().expect_err("lost acknowledged data");
    assert_eq!((outcome[0].0, error.code()), (0, Some(ErrorCode::OutOfOrderSequenceNumber)));
    assert!(!error.possibly_written());
    net.pass(&mut core, 300 * MILLI);
    let again = net.next();
    assert_eq!((values(&again), stamps(&again)), (vec!["b".to_owned()], vec![(7, 1, 0)]));
}

#[test]
fn a_gap_before_a_lone_batch_starts_over_under_a_new_epoch_too() {
    let mut net = Net::new(&[("t", &[(1, 1)])]);
    let (mut core, sent) = three_in_flight(&mut net);
    for answer in &sent {
        net.answer(&mut core, answer, reply(answer, ErrorCode::None, 0));
    }
    net.run(&mut core);
    send(&mut core, &net, 0, "d");
    net.run(&mut core);
    let lone = net.next();
    assert_eq!(stamps(&lone), [(7, 0, 3)]);
    net.answer(&mut core, &lone, reply(&lone, ErrorCode::OutOfOrderSequenceNumber, -1));
    net.run(&mut core);
    assert!(outcomes(&mut core).pop().is_some_and(|(id, result)| id == 3 && result.is_err()));
    send(&mut core, &net, 0, "e");
    net.run(&mut core);
    assert_eq!(stamps(&net.next()), [(7, 1, 0)], "the leader would refuse the same number for ever");
}

#[test]
fn what_may_have_been_written_keeps_its_stamp_until_that_is_settled() {
    let mut net = Net::new(&[("t", &[(1, 1)])]);
    let (mut core, sent) = three_in_flight(&mut net);
    net.answer(&mut core, &sent[0], reply(&sent[0], ErrorCode::MessageTooLarge, -1));
    net.cut(&mut core, sent[1].connection);
    net.pass(&mut core, 500 * MILLI);
    let again = net.next();
    assert_eq!((values(&again), stamps(&again)), (vec!["b".to_owned()], vec![(7, 0, 1)]), "it may be in the log");
    net.answer(&mut core, &again, reply(&again, ErrorCode::OutOfOrderSequenceNumber, -1));
    for (value, sequence) in [("b", 0), ("c", 1)] {
        net.pass(&mut core, 500 * MILLI);
        let anew = net.next();
        assert_eq!((values(&anew), stamps(&anew)), (vec![value.to_owned()], vec![(7, 1, sequence)]));
        net.answer(&mut core, &anew, reply(&anew, ErrorCode::None, i64::from(sequence)));
    }
    net.run(&mut core);
    let results: Vec<bool> = outcomes(&mut core).into_iter().map(|(_, result)| result.is_ok()).collect();
    assert_eq!(results, [false, true, true]);
}

#[test]
fn a_forgotten_producer_starts_over_and_loses_nothing() {
    let mut net = Net::new(&[("t", &[(1, 1)])]);
    let (mut core, sent) = three_in_flight(&mut net);
    for answer in &sent {
        net.answer(&mut core, answer, reply(answer, ErrorCode::UnknownProducerId, -1));
    }
    for sequence in 0..3 {
        net.pass(&mut core, 300 * MILLI);
        let again = net.next();
        assert_eq!(stamps(&again), [(7, 1, sequence)]);
        net.answer(&mut core, &again, reply(&again, ErrorCode::None, 0));
    }
    net.run(&mut core);
    assert!(outcomes(&mut core).iter().all(|(_, result)| result.is_ok()));
}

#[test]
fn a_hanging_old_leader_is_not_waited_for() {
    let mut net = Net::new(&[("t", &[(1, 1)])]);
    let (mut core, sent) = three_in_flight(&mut net);
    net.topics = vec![("t", vec![(2, 2)])];
    core.cluster().metadata.invalidate();
    net.pass(&mut core, 200 * MILLI);
    let again = net.next();
    assert_eq!((again.port, stamps(&again)), (9002, vec![(7, 0, 0)]), "sent to the new leader, in the old order");
    net.answer(&mut core, &sent[0], reply(&sent[0], ErrorCode::None, 5));
    net.run(&mut core);
    assert!(outcomes(&mut core).is_empty(), "what the old leader says does not count");
}

#[test]
fn delivery_ends_in_time_and_says_what_is_possible() {
    let mut net = Net::new(&[("t", &[(1, 1), (2, 1)])]);
    net.dead = vec![9002];
    let mut config = config();
    config.delivery_timeout = Duration::from_secs(31);
    config.client.request_timeout = Duration::from_secs(30);
    let mut core = start(config, &mut net);
    send(&mut core, &net, 0, "sent");
    send(&mut core, &net, 1, "never sent");
    net.run(&mut core);
    identify(&mut core, &mut net, 7);
    net.pass(&mut core, Duration::from_secs(32));
    let outcome = outcomes(&mut core);
    let possibly: Vec<(u64, bool)> =
        outcome.iter().map(|(id, result)| (*id, result.as_ref().expect_err("late").possibly_written())).collect();
    assert_eq!(possibly, [(0, true), (1, false)]);
    assert_eq!(core.buffered_bytes(), 0);
}

#[test]
fn a_leader_that_steps_down_may_have_written() {
    for (code, expected) in [(ErrorCode::NotLeaderOrFollower, true), (ErrorCode::NotEnoughReplicas, false)] {
        let mut net = Net::new(&[("t", &[(1, 1)])]);
        let mut config = config();
        config.client.request_timeout = Duration::from_secs(1);
        config.delivery_timeout = Duration::from_secs(2);
        config.client.retry_backoff = Duration::from_secs(3);
        config.client.retry_backoff_max = Duration::from_secs(3);
        let mut core = start(config, &mut net);
        send(&mut core, &net, 0, "a");
        net.run(&mut core);
        identify(&mut core, &mut net, 7);
        net.pass(&mut core, 5 * MILLI);
        let sent = net.next();
        net.answer(&mut core, &sent, reply(&sent, code, -1));
        net.run(&mut core);
        net.pass(&mut core, Duration::from_secs(3));
        let outcome = outcomes(&mut core);
        let possibly: Vec<bool> =
            outcome.iter().map(|(_, result)| result.as_ref().expect_err("late").possibly_written()).collect();
        assert_eq!(possibly, [expected], "{code}");
    }
}

#[test]
fn a_refused_record_is_not_tried_again() {
    let mut net = Net::new(&[("t", &[(1, 1)])]);
    let mut core = start(config(), &mut net);
    send(&mut core, &net, 0, "too large for the topic");
    net.run(&mut core);
    identify(&mut core, &mut net, 7);
    net.pass(&mut core, 5 * MILLI);
    let sent = net.next();
    net.answer(&mut core, &sent, reply(&sent, ErrorCode::MessageTooLarge, -1));
    net.pass(&mut core, Duration::from_secs(1));
    let outcome = outcomes(&mut core);
    assert_eq!(outcome[0].1.as_ref().expect_err("refused").code(), Some(ErrorCode::MessageTooLarge));
    send(&mut core, &net, 0, "next");
    net.pass(&mut core, 5 * MILLI);
    assert_eq!(stamps(&net.next()), [(7, 0, 0)], "its sequence number is used again");
}

#[test]
fn the_buffer_holds_back_and_frees() {
    let mut net = Net::new(&[("t", &[(1, 1)])]);
    let mut config = config();
    (config.buffer_memory, config.max_request_size, config.batch_size) = (4096, 4096, 1024);
    let mut core = start(config, &mut net);
    let record = ProducerRecord::to("t").value(vec![0; 900]);
    let mut accepted = 0;
    while core.append(net.now, &record).is_ok() {
        accepted += 1;
        assert!(core.buffered_bytes() <= 4096);
    }
    assert_eq!(accepted, 4);
    assert_eq!(core.append(net.now, &record), Err(ClientError::BufferFull));
    net.run(&mut core);
    identify(&mut core, &mut net, 7);
    while let Some(sent) = net.next_of(ApiKey::Produce) {
        net.answer(&mut core, &sent, reply(&sent, ErrorCode::None, 0));
        net.run(&mut core);
    }
    assert!(core.append(net.now, &record).is_ok());
    let huge = ProducerRecord::to("t").value(vec![0; 5000]);
    assert!(matches!(core.append(net.now, &huge), Err(ClientError::RecordTooLarge { .. })));
}

#[test]
fn without_acks_nothing_is_waited_for() {
    let mut net = Net::new(&[("t", &[(1, 1)])]);
    let mut config = config();
    (config.acks, config.idempotence) = (Acks::None, false);
    let mut core = start(config, &mut net);
    send(&mut core, &net, 0, "a");
    net.pass(&mut core, 5 * MILLI);
    let RequestKind::Produce(request) = net.next().request else { panic!("no produce request") };
    assert_eq!(request.acks, 0);
    assert_eq!(outcomes(&mut core), [(0, Ok(Written { base_offset: -1, log_append_time: -1 }))]);
}

#[test]
fn a_refused_producer_id_ends_the_producer() {
    let mut net = Net::new(&[("t", &[(1, 1)])]);
    let mut core = start(config(), &mut net);
    send(&mut core, &net, 0, "a");
    net.run(&mut core);
    let sent = net.next_of(ApiKey::InitProducerId).expect("asked");
    let response = m::InitProducerIdResponse::default().with_error_code(ErrorCode::ClusterAuthorizationFailed.code());
    net.answer(&mut core, &sent, ResponseKind::InitProducerId(response));
    net.run(&mut core);
    assert!(outcomes(&mut core)[0].1.as_ref().is_err_and(ClientError::is_fatal));
    assert!(core.append(net.now, &ProducerRecord::to("t")).is_err());
}

#[test]
fn an_unknown_partition_is_refused_at_once() {
    let mut net = Net::new(&[("t", &[(1, 1)])]);
    let mut core = start(config(), &mut net);
    let error = core.append(net.now, &ProducerRecord::to("t").partition(1)).expect_err("there is one partition");
    assert!(matches!(error, ClientError::UnknownPartition { partition: 1, count: 1, .. }));
}
