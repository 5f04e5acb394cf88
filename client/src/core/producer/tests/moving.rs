//! A partition whose leader moves, stops and dies by a seed: every record is in the log once, in the order of `send`.

use super::*;

/// What the brokers know: a log that is theirs together, and who leads it.
struct Brokers {
    leader: i32,
    epoch: i32,
    /// The batches: first sequence number and values; up to `committed` for good.
    log: Vec<(i32, Vec<String>)>,
    committed: usize,
}

impl Brokers {
    /// A leader checks sequence numbers as Kafka's does, by what its log holds.
    fn append(&mut self, sent: &Sent) -> ErrorCode {
        let first = stamps(sent)[0].2;
        let next = self.log.last().map_or(0, |(first, values)| first + i32::try_from(values.len()).expect("small"));
        if first < next {
            return ErrorCode::None;
        }
        if first > next {
            return ErrorCode::OutOfOrderSequenceNumber;
        }
        self.log.push((first, values(sent)));
        ErrorCode::None
    }

    /// The next broker leads. What no answer was given for may be lost, from some batch on.
    fn fail_over(&mut self, random: &mut Random, net: &mut Net) {
        let uncommitted = self.log.len() - self.committed;
        self.log.truncate(self.committed + random.below(uncommitted + 1));
        self.committed = self.log.len();
        (self.leader, self.epoch) = (1 + self.leader % 3, self.epoch + 1);
        net.topics = vec![("t", vec![(self.leader, self.epoch)])];
    }
}

fn answer(brokers: &mut Brokers, random: &mut Random, core: &mut ProducerCore, net: &mut Net, sent: &Sent) {
    let leads = sent.port == 9000 + u16::try_from(brokers.leader).expect("small");
    let code = if leads { brokers.append(sent) } else { ErrorCode::NotLeaderOrFollower };
    let ResponseKind::Produce(mut response) = reply(sent, code, 5) else { panic!("a produce response") };
    if !leads && random.below(2) == 0 {
        let row = &mut response.responses[0].partition_responses[0];
        row.current_leader.leader_id = brokers.leader.into();
        row.current_leader.leader_epoch = brokers.epoch;
    }
    if leads && random.below(8) == 0 {
        // It was appended, and the answer never leaves.
        return net.cut(core, sent.connection);
    }
    if leads {
        brokers.committed = brokers.log.len();
    }
    net.answer(core, sent, ResponseKind::Produce(response));
}

/// Serves the first produce request that a broker which runs has not answered.
fn serve(brokers: &mut Brokers, random: &mut Random, core: &mut ProducerCore, net: &mut Net) -> bool {
    let is_first =
        |at: usize, sent: &Sent| net.sent.iter().position(|other| other.connection == sent.connection) == Some(at);
    let runs = |sent: &Sent| !net.stopped.contains(&sent.port) && matches!(sent.request, RequestKind::Produce(_));
    let found = net.sent.iter().enumerate().position(|(at, sent)| runs(sent) && is_first(at, sent));
    let Some(sent) = found.and_then(|at| net.sent.remove(at)) else { return false };
    answer(brokers, random, core, net, &sent);
    net.run(core);
    true
}

fn disturb(brokers: &mut Brokers, random: &mut Random, core: &mut ProducerCore, net: &mut Net) {
    let port = 9000 + u16::try_from(brokers.leader).expect("small");
    match random.below(12) {
        0 => brokers.fail_over(random, net),
        1 => {
            // The leader stops and says nothing; the others elect after a while.
            net.stopped = vec![port];
            net.pass(core, 600 * MILLI);
            brokers.fail_over(random, net);
        }
        2 => {
            net.dead = vec![port];
            if let Some(connection) = net.sent.iter().find(|sent| sent.port == port).map(|sent| sent.connection) {
                net.cut(core, connection);
            }
            brokers.fail_over(random, net);
        }
        3 => (net.dead, net.stopped) = (Vec::new(), Vec::new()),
        _ => {}
    }
}

#[test]
fn every_record_is_in_the_log_once_and_in_order() {
    for seed in 0..100 {
        let mut random = Random::new(seed);
        let mut net = Net::new(&[("t", &[(1, 1)])]);
        net.brokers = vec![1, 2, 3];
        let mut config = config();
        config.linger = Duration::ZERO;
        let mut core = start(config, &mut net);
        send(&mut core, &net, 0, "0");
        net.run(&mut core);
        identify(&mut core, &mut net, 7);
        let mut brokers = Brokers { leader: 1, epoch: 1, log: Vec::new(), committed: 0 };
        for number in 1..60 {
            send(&mut core, &net, 0, &number.to_string());
            net.run(&mut core);
            for _ in 0..random.below(4) {
                serve(&mut brokers, &mut random, &mut core, &mut net);
            }
            disturb(&mut brokers, &mut random, &mut core, &mut net);
            net.pass(&mut core, MILLI * u32::try_from(random.below(80)).expect("small"));
            check(&mut core, seed);
        }
        (net.dead, net.stopped) = (Vec::new(), Vec::new());
        for _ in 0..3_000 {
            while serve(&mut brokers, &mut random, &mut core, &mut net) {}
            net.pass(&mut core, 10 * MILLI);
            check(&mut core, seed);
            if core.buffered_bytes() == 0 {
                break;
            }
        }
        assert_eq!(core.buffered_bytes(), 0, "all are acknowledged in the end, seed {seed}");
        let values: Vec<String> = brokers.log.iter().flat_map(|(_, values)| values.clone()).collect();
        assert_eq!(values, (0..60).map(|number| number.to_string()).collect::<Vec<_>>(), "seed {seed}");
    }
}

/// A batch that failed is a fault.
fn check(core: &mut ProducerCore, seed: u64) {
    for (id, result) in outcomes(core) {
        assert!(result.is_ok(), "batch {id}: {result:?}, seed {seed}");
    }
}
