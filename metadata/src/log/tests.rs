//! One core and what it asks for.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_types::{BrokerId, DirectoryId, ErrorCode, Instant};

use super::codec::MAX_VALUE_BYTES;
use super::*;
use crate::chain::ChainHash;
use crate::command::{Command, CreateTopics, NewTopic};
use crate::identity::Proposer;
use crate::image::Local;
use crate::outcome::{CommandResult, ItemError};
use crate::record::Replay;

fn log(id: i32, brokers: i32) -> Log {
    let member = Member { host: "h".to_owned(), port: 1 };
    let mut broker = crate::image::tests::broker(id);
    broker.directory = process(id).directory;
    let options = LogOptions {
        cluster_id: "cluster".to_owned(),
        broker,
        members: Members::new((1..=brokers).map(|id| (BrokerId(id), member.clone())).collect::<BTreeMap<_, _>>()),
        settings: Settings::default(),
        seed: 7,
    };
    let restored = Replay::new(Local { broker: Some(BrokerId(id)), ..Local::default() }).restore().unwrap();
    Log::new(options, restored)
}

fn process(id: i32) -> Proposer {
    Proposer {
        broker: BrokerId(id),
        directory: DirectoryId::from_u128(u128::try_from(id).unwrap() + 50),
        incarnation: 1,
    }
}

fn step(log: &mut Log, event: Event) -> Vec<Effect> {
    let mut out = Vec::new();
    log.step(Instant::ZERO, event, &mut out);
    out
}

fn create(name: &str) -> Command {
    let topic = NewTopic { partitions: 1, ..NewTopic::with_defaults(name) };
    Command::CreateTopics(CreateTopics { topics: vec![topic], validate_only: false })
}

/// The tokens of the writes among some effects.
fn writes(effects: &[Effect]) -> Vec<u64> {
    let token = |effect: &Effect| match effect {
        Effect::Persist { token, .. } => Some(*token),
        _ => None,
    };
    effects.iter().filter_map(token).collect()
}

#[test]
fn a_broker_alone_decides_by_one_write_and_asks_for_no_timer() {
    let mut log = log(1, 1);
    let founded = step(&mut log, Event::Start);
    let [token] = writes(&founded)[..] else { panic!("one write founds and registers") };
    assert_eq!(founded.len(), 1);
    step(&mut log, Event::Persisted { token });
    assert_eq!((log.image().epoch(), log.is_member()), (1, true));
    assert_eq!(log.deadline(), Instant::NEVER);
    let asked = step(&mut log, Event::Commit { ticket: 1, command: create("a") });
    let [token] = writes(&asked)[..] else { panic!("one write") };
    assert_eq!(asked.len(), 1, "no message, no answer yet");
    let done = step(&mut log, Event::Persisted { token });
    assert!(matches!(done[..], [Effect::Applied { .. }, Effect::Answer { ticket: 1, epoch: 2, .. }]), "{done:?}");
    assert_eq!(log.image().proposal(), None, "a broker alone writes what it always wrote");
    assert_eq!(log.deadline(), Instant::NEVER);
    let refused = step(&mut log, Event::Commit { ticket: 2, command: create("a") });
    assert!(matches!(refused[..], [Effect::Answer { ticket: 2, epoch: 2, .. }]), "nobody is asked: {refused:?}");
}

#[test]
fn nobody_founds_before_every_founder_says_that_it_has_nothing() {
    let mut log = log(1, 3);
    let blank = |id: i32| {
        let message = Message::Status { applied: 0, hash: ChainHash::default() };
        Event::Receive { from: process(id), message }
    };
    let prepares = |effects: &[Effect]| {
        let prepare =
            |effect: &&Effect| matches!(effect, Effect::Send { message: Message::Prepare { slot: 1, .. }, .. });
        effects.iter().filter(prepare).count()
    };
    assert!(step(&mut log, Event::Start).is_empty());
    step(&mut log, Event::SessionUp(process(2)));
    assert_eq!(prepares(&step(&mut log, blank(2))), 0, "broker 3 may know a cluster");
    assert_eq!(prepares(&step(&mut log, Event::SessionUp(process(3)))), 0, "it has not said so");
    assert_eq!(prepares(&step(&mut log, blank(3))), 2);
}

#[test]
fn what_one_process_says_is_not_taken_from_another() {
    let mut log = log(1, 3);
    step(&mut log, Event::Start);
    step(&mut log, Event::SessionUp(process(2)));
    let earlier = Proposer { incarnation: 0, ..process(2) };
    let ballot = Ballot { n: 1, by: earlier };
    let message = Message::Prepare { slot: 1, ballot };
    assert!(step(&mut log, Event::Receive { from: earlier, message: message.clone() }).is_empty());
    let taken = step(&mut log, Event::Receive { from: process(2), message });
    assert_eq!(writes(&taken).len(), 1);
    assert!(!taken.iter().any(|one| matches!(one, Effect::Send { .. })), "a promise waits for its write: {taken:?}");
}

#[test]
fn other_hashes_at_one_epoch_stop_the_log() {
    let mut log = log(1, 1);
    let [token] = writes(&step(&mut log, Event::Start))[..] else { panic!("one write") };
    step(&mut log, Event::Persisted { token });
    step(&mut log, Event::SessionUp(process(2)));
    let message = Message::Status { applied: 1, hash: ChainHash::default() };
    let stopped = step(&mut log, Event::Receive { from: process(2), message });
    assert!(matches!(stopped[..], [Effect::Halted(Halt::Hash { epoch: 1, .. })]), "{stopped:?}");
    let answered = step(&mut log, Event::Commit { ticket: 1, command: create("a") });
    let [Effect::Answer { result: CommandResult::Failed(ItemError { code, .. }), .. }] = &answered[..] else {
        panic!("{answered:?}");
    };
    assert_eq!(*code, ErrorCode::KafkaStorageError);
}

#[test]
fn the_largest_entry_fits_into_every_message_that_carries_one() {
    let value: Value = Arc::from(vec![b'x'; MAX_VALUE_BYTES]);
    let ballot = Ballot { n: 1, by: process(1) };
    let messages = [
        Message::Promise { slot: 1, ballot, accepted: Some((ballot, value.clone())) },
        Message::Accept { slot: 1, ballot, value: value.clone() },
        Message::Chosen { first: 1, values: vec![value.clone()], hash: ChainHash::default() },
    ];
    for message in messages {
        assert!(message.encode().len() <= MAX_MESSAGE_BYTES);
    }
    let settings = Settings::default();
    assert!(settings.message_bytes >= MAX_VALUE_BYTES + 4, "the tail serves every entry that was proposed");
    let bytes: Value = Arc::from(vec![0; settings.message_bytes]);
    let part = Message::Snapshot { epoch: 1, total: 1, offset: 0, bytes };
    assert!(part.encode().len() <= MAX_MESSAGE_BYTES);
}

/// Whatever a peer says, the core does not panic: numbers at their limits, slots that are not, entries that are none.
#[test]
fn fuzz_peers() {
    bolero::check!().with_iterations(2_000).with_type::<Vec<(u8, u64, u64, u8)>>().for_each(|said| {
        let mut log = log(1, 3);
        let mut token = 0;
        step(&mut log, Event::Start);
        [2, 3].into_iter().for_each(|id| drop(step(&mut log, Event::SessionUp(process(id)))));
        for (kind, a, b, c) in said.iter().take(40) {
            let from = process(2 + i32::from(*c & 1));
            let (a, b) = if *c & 2 == 0 { (*a % 3, *b % 3) } else { (*a, *b) };
            let by = if *c & 4 == 0 { from } else { process(1) };
            let ballot = Ballot { n: b, by };
            let value: Value = Arc::from(if *c & 8 == 0 { &b"[]"[..] } else { &b"[{}]"[..] });
            let hash = ChainHash::default();
            let message = match kind % 16 {
                0 => Message::Prepare { slot: a, ballot },
                1 => Message::Promise { slot: a, ballot, accepted: Some((ballot, value)) },
                2 => Message::Nack { slot: a, ballot, promised: Ballot { n: u64::MAX, by } },
                3 => Message::Accept { slot: a, ballot, value },
                4 => Message::Accepted { slot: a, ballot },
                5 => Message::Chosen { first: a, values: vec![value.clone(), value], hash },
                6 => Message::Behind { slot: a, applied: b },
                7 => Message::Status { applied: a, hash },
                8 => Message::Query { id: b, slot: a },
                9 => Message::Head { id: b, applied: a, undecided: *c & 16 == 0 },
                10 => Message::Fetch { after: a, snapshot: (*c & 16 == 0).then_some((b, a)) },
                11 => Message::Snapshot { epoch: a, total: b, offset: u64::from(*c & 16), bytes: value },
                12 => Message::Forward { id: a, slot: b, number: a, commands: vec![create("f")] },
                13 => Message::Forwarded { id: a, outcome: Some((b, Vec::new())) },
                14 => Message::Promise { slot: a, ballot, accepted: None },
                _ => Message::NotAcceptor { slot: a },
            };
            let mut effects = step(&mut log, Event::Receive { from, message });
            effects.extend(step(&mut log, Event::Timer));
            token = writes(&effects).last().copied().unwrap_or(token);
            if *c & 32 == 0 {
                step(&mut log, Event::Persisted { token });
            }
        }
    });
}
