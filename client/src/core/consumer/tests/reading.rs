//! Positions, fetches, prefetching, truncation and transactions.

use kafka_protocol::messages::RequestKind;

use super::*;
use crate::config::Isolation;

/// A consumer of partition 0 that fetches from offset 10 on.
fn reading(config: ConsumerConfig, net: &mut Net) -> ConsumerCore {
    let mut core = ConsumerCore::new(config, Random::new(1)).expect("valid");
    core.assign(net.now, &[partition(0)]).expect("no subscription");
    net.run(&mut core);
    answer_lookups(&mut core, net, 10);
    core
}

#[test]
fn records_come_in_order_and_the_next_fetch_is_under_way_meanwhile() {
    let mut net = Net::new(&[("t", &[(1, 1)])]);
    let mut core = reading(config(), &mut net);
    let sent = net.next();
    assert_eq!((sent.port, wanted(&sent)), (9001, vec![(0, 10)]));
    let records = [batch(9, &["before", "a"]), batch(11, &["b"])].concat();
    net.answer(&mut core, &sent, fetched(1, 0, ErrorCode::None, records));
    net.run(&mut core);
    assert_eq!(wanted(&net.next()), [(0, 12)], "prefetched before anything was polled");
    let polled = poll(&mut core, &mut net).expect("no error");
    assert_eq!(values(polled), [(10, "a".to_owned()), (11, "b".to_owned())]);
    assert_eq!(core.position(&partition(0)), Ok(Some(12)));
    assert_eq!(core.high_watermarks()[&partition(0)], 100);
    assert_eq!(poll(&mut core, &mut net), Ok(Polled::Nothing));
}

#[test]
fn offsets_that_cannot_be_are_refused_and_what_comes_before_them_is_kept() {
    let mut net = Net::new(&[("t", &[(1, 1)])]);
    let mut core = reading(config(), &mut net);
    // The high watermark is 100: nothing lies there or beyond.
    let records = [batch(10, &["a"]), batch(1 << 40, &["b"])].concat();
    let sent = net.next();
    net.answer(&mut core, &sent, fetched(1, 0, ErrorCode::None, records));
    assert_eq!(values(poll(&mut core, &mut net).expect("the good one")), [(10, "a".to_owned())]);
    let sent = net.next();
    assert_eq!(wanted(&sent), [(0, 11)], "and from behind it on");
    net.answer(&mut core, &sent, fetched(1, 0, ErrorCode::None, batch(1 << 40, &["b"])));
    assert!(matches!(poll(&mut core, &mut net), Err(ClientError::Corrupt { offset: 11, .. })));
    assert_eq!(core.position(&partition(0)), Ok(Some(11)));
}

#[test]
fn batches_that_lie_behind_are_an_error_which_is_fetched_again_ever_later() {
    let mut net = Net::new(&[("t", &[(1, 1)])]);
    let mut core = reading(config(), &mut net);
    // A rotten base offset is under no checksum: the broker takes the batch for the one at 10.
    for pause in [130, 250, 490] {
        let sent = net.next();
        assert_eq!(wanted(&sent), [(0, 10)]);
        net.answer(&mut core, &sent, fetched(1, 0, ErrorCode::None, batch(3, &["a"])));
        assert!(matches!(poll(&mut core, &mut net), Err(ClientError::Corrupt { offset: 10, .. })));
        net.pass(&mut core, MILLI * (pause / 2));
        assert!(net.sent.is_empty(), "not at once");
        net.pass(&mut core, MILLI * (pause / 2));
    }
    let sent = net.next();
    net.answer(&mut core, &sent, fetched(1, 0, ErrorCode::None, batch(10, &["b"])));
    assert_eq!(values(poll(&mut core, &mut net).expect("mended")), [(10, "b".to_owned())]);
}

#[test]
fn fetched_bytes_are_bounded() {
    let mut net = Net::new(&[("t", &[(1, 1)])]);
    let mut config = config();
    config.prefetch_max_bytes = 100;
    let mut core = reading(config, &mut net);
    let sent = net.next();
    net.answer(&mut core, &sent, fetched(1, 0, ErrorCode::None, batch(10, &[&"x".repeat(200)])));
    net.run(&mut core);
    assert!(net.sent.is_empty(), "the buffer is full");
    poll(&mut core, &mut net).expect("records");
    poll(&mut core, &mut net).expect("nothing more");
    assert_eq!(wanted(&net.next()), [(0, 11)]);
}

#[test]
fn a_seek_drops_what_was_fetched_for_another_place() {
    let mut net = Net::new(&[("t", &[(1, 1)])]);
    let mut core = reading(config(), &mut net);
    let sent = net.next();
    core.seek(&partition(0), 50).expect("assigned");
    net.answer(&mut core, &sent, fetched(1, 0, ErrorCode::None, batch(10, &["a"])));
    net.run(&mut core);
    assert_eq!(poll(&mut core, &mut net), Ok(Polled::Nothing));
    assert_eq!(wanted(&net.next()), [(0, 50)]);
    assert!(core.seek(&partition(9), 1).is_err(), "not assigned");
}

#[test]
fn an_offset_out_of_range_is_reset_by_the_policy() {
    let mut net = Net::new(&[("t", &[(1, 1)])]);
    let mut core = reading(config(), &mut net);
    let sent = net.next();
    net.answer(&mut core, &sent, fetched(1, 0, ErrorCode::OffsetOutOfRange, Vec::new()));
    net.run(&mut core);
    answer_lookups(&mut core, &mut net, 77);
    assert_eq!(wanted(&net.next()), [(0, 77)]);

    let mut net = Net::new(&[("t", &[(1, 1)])]);
    let mut strict = config();
    strict.offset_reset = OffsetReset::None;
    let mut core = ConsumerCore::new(strict, Random::new(1)).expect("valid");
    core.assign(net.now, &[partition(0)]).expect("no subscription");
    net.run(&mut core);
    assert!(matches!(poll(&mut core, &mut net), Err(ClientError::NoPosition { partition: 0, .. })));
    core.seek(&partition(0), 5).expect("assigned");
    net.run(&mut core);
    assert_eq!(wanted(&net.next()), [(0, 5)]);
}

#[test]
fn a_moved_leader_is_followed_and_the_position_checked() {
    let mut net = Net::new(&[("t", &[(1, 1)])]);
    let mut core = reading(config(), &mut net);
    let sent = net.next();
    net.answer(&mut core, &sent, fetched(1, 0, ErrorCode::None, batch(10, &["a", "b"])));
    assert_eq!(values(poll(&mut core, &mut net).expect("records")).len(), 2);
    let sent = net.next();
    net.topics = vec![("t", vec![(2, 2)])];
    net.answer(&mut core, &sent, fetched(1, 0, ErrorCode::NotLeaderOrFollower, Vec::new()));
    net.pass(&mut core, 300 * MILLI);
    let sent = net.next();
    let RequestKind::OffsetForLeaderEpoch(request) = &sent.request else { panic!("{sent:?}") };
    let asked = &request.topics[0].partitions[0];
    assert_eq!((sent.port, asked.leader_epoch, asked.current_leader_epoch), (9002, 1, 2));
    let row = m::offset_for_leader_epoch_response::EpochEndOffset::default().with_leader_epoch(1).with_end_offset(11);
    let topic = m::offset_for_leader_epoch_response::OffsetForLeaderTopicResult::default()
        .with_topic(TopicName(text("t")))
        .with_partitions(vec![row]);
    let response = m::OffsetForLeaderEpochResponse::default().with_topics(vec![topic]);
    net.answer(&mut core, &sent, ResponseKind::OffsetForLeaderEpoch(response));
    net.run(&mut core);
    let sent = net.next();
    assert_eq!((sent.port, wanted(&sent)), (9002, vec![(0, 11)]), "the log was cut to 11: it goes on from there");
}

#[test]
fn a_follower_in_the_same_rack_is_read_until_it_fails() {
    let mut net = Net::new(&[("t", &[(1, 1)])]);
    let mut config = config();
    config.client_rack = Some("b".to_owned());
    let mut core = reading(config, &mut net);
    let sent = net.next();
    let RequestKind::Fetch(request) = &sent.request else { panic!("{sent:?}") };
    assert_eq!((sent.port, &*request.rack_id), (9001, "b"));
    let redirect = |follower: i32| {
        let ResponseKind::Fetch(mut response) = fetched(1, 0, ErrorCode::None, Vec::new()) else { panic!("a fetch") };
        response.responses[0].partitions[0].preferred_read_replica = follower.into();
        ResponseKind::Fetch(response)
    };
    net.answer(&mut core, &sent, redirect(2));
    net.run(&mut core);
    let sent = net.next();
    assert_eq!((sent.port, wanted(&sent)), (9002, vec![(0, 10)]), "the follower is asked at once");
    net.answer(&mut core, &sent, fetched(1, 0, ErrorCode::None, batch(10, &["a"])));
    net.run(&mut core);
    let sent = net.next();
    assert_eq!((sent.port, wanted(&sent)), (9002, vec![(0, 11)]));
    let mut sent = sent;
    for (code, pause) in [(ErrorCode::OffsetOutOfRange, 0), (ErrorCode::OffsetNotAvailable, 130)] {
        net.answer(&mut core, &sent, fetched(1, 0, code, Vec::new()));
        net.pass(&mut core, MILLI * pause);
        let asked = net.next();
        assert_eq!((asked.port, wanted(&asked)), (9001, vec![(0, 11)]), "the leader knows, after {code:?}");
        net.answer(&mut core, &asked, redirect(2));
        net.run(&mut core);
        sent = net.next();
        assert_eq!(sent.port, 9002);
    }
    // A follower that is stopped is left for the leader.
    net.stopped = vec![9002];
    net.pass(&mut core, Duration::from_millis(1_100));
    let asked = net.next();
    assert_eq!((asked.port, wanted(&asked)), (9001, vec![(0, 11)]));
}

#[test]
fn a_corrupt_batch_is_told_and_fetched_again() {
    let mut net = Net::new(&[("t", &[(1, 1)])]);
    let mut core = reading(config(), &mut net);
    let sent = net.next();
    let mut broken = batch(11, &["b"]);
    *broken.last_mut().expect("bytes") ^= 1;
    net.answer(&mut core, &sent, fetched(1, 0, ErrorCode::None, [batch(10, &["a"]), broken.clone()].concat()));
    assert_eq!(values(poll(&mut core, &mut net).expect("the good one first")), [(10, "a".to_owned())]);
    // It is fetched again from the corrupt batch on, not at once, and ever later.
    for pause in [130, 250, 490] {
        let error = poll(&mut core, &mut net).expect_err("then the error");
        assert!(matches!(error, ClientError::Corrupt { offset: 11, .. }), "{error}");
        let prefetched = net.next();
        assert_eq!(wanted(&prefetched), [(0, 12)]);
        net.answer(&mut core, &prefetched, fetched(1, 0, ErrorCode::None, batch(12, &["dropped"])));
        net.pass(&mut core, MILLI * (pause / 2));
        assert!(net.sent.is_empty(), "not at once");
        net.pass(&mut core, MILLI * (pause / 2));
        let sent = net.next();
        assert_eq!(wanted(&sent), [(0, 11)]);
        net.answer(&mut core, &sent, fetched(1, 0, ErrorCode::None, broken.clone()));
    }
    poll(&mut core, &mut net).expect_err("still corrupt");
    let prefetched = net.next();
    net.answer(&mut core, &prefetched, fetched(1, 0, ErrorCode::None, Vec::new()));
    net.pass(&mut core, Duration::from_secs(2));
    let sent = net.next();
    net.answer(&mut core, &sent, fetched(1, 0, ErrorCode::None, batch(11, &["b"])));
    assert_eq!(values(poll(&mut core, &mut net).expect("mended")), [(11, "b".to_owned())]);
}

#[test]
fn aborted_records_and_markers_are_hidden_from_read_committed() {
    for (isolation, expected) in [
        (Isolation::ReadCommitted, vec![(12, "plain".to_owned()), (15, "later".to_owned())]),
        (
            Isolation::ReadUncommitted,
            vec![(10, "undone".to_owned()), (12, "plain".to_owned()), (15, "later".to_owned())],
        ),
    ] {
        let mut net = Net::new(&[("t", &[(1, 1)])]);
        let mut config = config();
        (config.isolation, config.check_crcs) = (isolation, false);
        let mut core = reading(config, &mut net);
        let sent = net.next();
        // Producer 7 aborts what it wrote at 10 by a marker at 14, and commits nothing more in this range.
        let records = [
            transactional(batch(10, &["undone"]), 7, 0x10),
            batch(12, &["plain"]),
            marker(14, 7, 0),
            transactional(batch(15, &["later"]), 7, 0x10),
        ];
        let aborted = m::fetch_response::AbortedTransaction::default().with_producer_id(7.into()).with_first_offset(10);
        let ResponseKind::Fetch(mut response) = fetched(1, 0, ErrorCode::None, records.concat()) else { panic!() };
        response.responses[0].partitions[0].aborted_transactions = Some(vec![aborted]);
        net.answer(&mut core, &sent, ResponseKind::Fetch(response));
        assert_eq!(values(poll(&mut core, &mut net).expect("records")), expected, "{isolation:?}");
        poll(&mut core, &mut net).expect("nothing more");
        assert_eq!(core.position(&partition(0)), Ok(Some(16)));
    }
}

fn transactional(mut batch: Vec<u8>, producer: i64, flags: u8) -> Vec<u8> {
    batch[22] |= flags;
    batch[43..51].copy_from_slice(&producer.to_be_bytes());
    batch
}

fn marker(offset: i64, producer: i64, kind: u8) -> Vec<u8> {
    let mut builder = BatchBuilder::with_capacity(0);
    builder.append(5, &RecordFields { key: Some(&[0, 0, 0, kind]), value: Some(&[0; 6]), headers: &[] });
    let mut bytes = builder.seal(Codec::None).expect("seal").stamp(ProducerStamp::NONE).to_vec();
    bytes[..8].copy_from_slice(&offset.to_be_bytes());
    transactional(bytes, producer, 0x30)
}

#[test]
fn a_paused_partition_is_not_fetched() {
    let mut net = Net::new(&[("t", &[(1, 1)])]);
    let mut core = reading(config(), &mut net);
    core.pause(&partition(0), true).expect("assigned");
    let sent = net.next();
    net.answer(&mut core, &sent, fetched(1, 0, ErrorCode::None, batch(10, &["a"])));
    assert_eq!(poll(&mut core, &mut net), Ok(Polled::Nothing));
    assert!(net.sent.is_empty());
    core.pause(&partition(0), false).expect("assigned");
    assert_eq!(values(poll(&mut core, &mut net).expect("records")).len(), 1);
}

#[test]
fn a_lookup_that_waits_for_a_leader_does_not_spin() {
    let mut net = Net::new(&[("t", &[(1, 1)])]);
    let mut core = ConsumerCore::new(config(), Random::new(1)).expect("valid");
    core.assign(net.now, &[partition(0)]).expect("assigned");
    net.run(&mut core);
    let sent = net.next_of(ApiKey::ListOffsets).expect("asked for the beginning");
    net.topics = vec![("t", vec![(-1, 1)])];
    let row = m::list_offsets_response::ListOffsetsPartitionResponse::default()
        .with_error_code(ErrorCode::NotLeaderOrFollower.code());
    let topic = m::list_offsets_response::ListOffsetsTopicResponse::default()
        .with_name(TopicName(text("t")))
        .with_partitions(vec![row]);
    let response = ResponseKind::ListOffsets(m::ListOffsetsResponse::default().with_topics(vec![topic]));
    net.answer(&mut core, &sent, response);
    // Each deadline on the way must lie ahead.
    net.pass(&mut core, Duration::from_secs(3));
    net.topics = vec![("t", vec![(1, 2)])];
    net.pass(&mut core, Duration::from_secs(3));
    assert!(net.next_of(ApiKey::ListOffsets).is_some(), "asked again when there is a leader");
}
