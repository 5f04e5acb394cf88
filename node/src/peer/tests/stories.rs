//! Single cores, event by event.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use millrace_raft::Message;
use millrace_types::{DirectoryId, Instant, Now};

use super::process::{CLASSES, PARTITIONS, broker, message};
use crate::core::Core;
use crate::peer::mutation::{Mutation, assert_noticed};
use crate::peer::{
    Hello, LENGTH_LEN, LinkId, LocalBroker, Outgoing, PROTOCOL, Peer, PeerEffect, PeerEvent, PeerFrame, PeerSettings,
    Refusal, Start, decode, hello_frame, keepalive_frame, shard_of,
};
use crate::wire::Frame;

const KEY: u128 = 0xd0;

fn local(side: usize) -> LocalBroker {
    LocalBroker {
        cluster_id: "millrace".to_owned(),
        broker: broker(side),
        directory: DirectoryId::from_u128(KEY + side as u128),
        starts: vec![Start { incarnation: 4, nonce: 40 }],
        told: BTreeMap::new(),
        generation: 1,
    }
}

/// A hello of `side`, for the first dial of a shard.
fn hello(side: usize, shard: u8) -> Hello {
    let local = local(side);
    Hello {
        cluster_id: local.cluster_id,
        protocol: PROTOCOL,
        broker: local.broker,
        to: broker(1 - side),
        directory: local.directory,
        starts: local.starts,
        metadata_epoch: 3,
        generation: 1,
        shard,
        shards: 2,
        attempt: 1,
    }
}

/// A core of `side` that has done nothing yet.
pub(super) fn local_core(side: usize, settings: PeerSettings) -> Peer {
    Peer::new(local(side), broker(1 - side), [], settings, 9)
}

/// A hello that the accepting side takes.
pub(super) fn accepted_hello(shard: u8) -> Hello {
    hello(0, shard)
}

/// A core and the time.
struct Story {
    core: Peer,
    now: u64,
}

impl Story {
    fn new(side: usize, settings: PeerSettings) -> Self {
        Self { core: local_core(side, settings), now: 1_000_000 }
    }

    fn step(&mut self, event: PeerEvent) -> Vec<PeerEffect> {
        let mut out = Vec::new();
        let instant = Instant::from_micros(self.now);
        self.core.step(Now { instant, wall: 0 }, event, &mut out);
        out
    }

    /// The accepting side with an open connection for each shard: 10 for control, 11 and 12, and 13 for catching up.
    fn accepted(settings: PeerSettings) -> Self {
        let mut story = Self::new(1, settings);
        for (shard, connection) in (0_u8..).zip(10..14) {
            story.step(PeerEvent::Accepted { connection, hello: hello(0, shard) });
            story.step(PeerEvent::Remembered { token: 1 });
            story.hear(connection);
        }
        assert_eq!(story.core.status().open, 4);
        story
    }

    fn hear(&mut self, connection: LinkId) -> Vec<PeerEffect> {
        self.step(PeerEvent::Frame { connection, frame: keepalive_frame(0).slice(LENGTH_LEN..) })
    }

    fn say(&mut self, slot: usize, serial: i64, records: usize) -> Vec<PeerEffect> {
        let records = Frame::from(Bytes::from(vec![0; records]));
        self.step(PeerEvent::Send(vec![Outgoing { message: message(slot, 0, serial, records), catch_up: false }]))
    }
}

fn frames(effects: &[PeerEffect]) -> Vec<(LinkId, PeerFrame)> {
    let written = effects.iter().filter_map(|effect| match effect {
        PeerEffect::Write { connection, frame } => Some((*connection, frame.to_bytes().slice(LENGTH_LEN..))),
        _ => None,
    });
    written.map(|(connection, frame)| (connection, decode(frame).expect("a frame"))).collect()
}

fn names(effects: &[PeerEffect]) -> Vec<&'static str> {
    let name = |effect: &PeerEffect| match effect {
        PeerEffect::Dial { .. } => "dial",
        PeerEffect::Write { .. } => "write",
        PeerEffect::Keepalives { .. } => "keepalives",
        PeerEffect::Close { .. } => "close",
        PeerEffect::Remember { .. } => "remember",
        PeerEffect::SessionUp(_) => "up",
        PeerEffect::SessionDown { .. } => "down",
        PeerEffect::Deliver { .. } => "deliver",
        PeerEffect::Refetch(_) => "refetch",
        PeerEffect::Ahead { .. } => "ahead",
        PeerEffect::Refused { .. } => "refused",
        PeerEffect::Timer(_) => "timer",
        PeerEffect::Plane { .. } => "plane",
        PeerEffect::Told(_) => "told",
    };
    effects.iter().map(name).filter(|name| *name != "timer").collect()
}

#[test]
fn who_dials_says_hello_and_answers_only_when_the_other_is_remembered() {
    let mut story = Story::new(0, PeerSettings::default());
    assert_eq!(names(&story.step(PeerEvent::Start)), ["dial"]);
    let effects = story.step(PeerEvent::Connected { shard: 0, attempt: 1, connection: 7 });
    assert!(matches!(frames(&effects)[..], [(7, PeerFrame::Hello(_))]));
    let frame = hello_frame(&hello(1, 0)).slice(LENGTH_LEN..);
    assert_eq!(names(&story.step(PeerEvent::Frame { connection: 7, frame })), ["remember", "ahead"]);
    let effects = story.step(PeerEvent::Remembered { token: 1 });
    assert_eq!(names(&effects), ["keepalives", "up", "told", "dial", "dial", "dial"]);
}

#[test]
fn who_accepts_counts_the_session_from_the_first_frame_behind_its_hello() {
    let mut story = Story::new(1, PeerSettings::default());
    let effects = story.step(PeerEvent::Accepted { connection: 7, hello: hello(0, 0) });
    assert_eq!(names(&effects), ["remember", "ahead"]);
    assert_eq!(names(&story.step(PeerEvent::Remembered { token: 1 })), ["write"]);
    assert_eq!(story.core.status().session, None);
    assert_eq!(names(&story.hear(7)), ["keepalives", "up", "told"]);
    let held = story.step(PeerEvent::Accepted { connection: 8, hello: hello(0, 1) });
    assert_eq!(names(&held), ["write"], "what is remembered is not put again");
}

#[test]
fn hellos_that_are_not_meant_for_this_broker_are_refused_with_the_reason() {
    type Change = fn(&mut Hello);
    let cases: [(Change, Refusal); 8] = [
        (|hello| hello.cluster_id = "other".to_owned(), Refusal::Cluster),
        (|hello| hello.to = broker(0), Refusal::Broker),
        (|hello| hello.broker = broker(1), Refusal::Broker),
        (|hello| hello.protocol = PROTOCOL - 1, Refusal::Protocol),
        (|hello| hello.generation = 2, Refusal::Generation),
        (|hello| hello.starts.clear(), Refusal::Malformed),
        (|hello| hello.shard = 4, Refusal::Malformed),
        (|hello| hello.shards = 200, Refusal::Malformed),
    ];
    for (change, expected) in cases {
        let mut story = Story::new(1, PeerSettings::default());
        let mut hello = hello(0, 0);
        change(&mut hello);
        let effects = story.step(PeerEvent::Accepted { connection: 7, hello });
        assert_eq!(names(&effects), ["refused", "write", "close"]);
        assert!(matches!(frames(&effects)[..], [(7, PeerFrame::HelloRefused(reason))] if reason == expected));
    }
}

#[test]
fn a_thousand_votes_leave_in_few_frames() {
    let mut story = Story::accepted(PeerSettings::default());
    for serial in 1..=1_000 {
        story.say(usize::try_from(serial).expect("small") % PARTITIONS * CLASSES, serial, 0);
    }
    let sent = frames(&story.step(PeerEvent::Flush));
    assert_eq!(sent.len(), 1, "control carries them");
    let count = |frame: &PeerFrame| if let PeerFrame::Messages(batch) = frame { batch.messages.len() } else { 0 };
    assert_eq!(sent.iter().map(|(_, frame)| count(frame)).sum::<usize>(), 1_000);
}

#[test]
fn a_vote_does_not_wait_for_fetch_responses() {
    let mut story = Story::accepted(PeerSettings { window: 100_000, frame_bytes: 50_000, ..PeerSettings::default() });
    (1..=40).for_each(|serial| drop(story.say(1, serial, 40_000)));
    let connection = 10 + LinkId::from(shard_of(super::process::partition(0), 2));
    let begun = frames(&story.step(PeerEvent::Flush));
    assert_eq!(begun.len(), 3, "no more than the window and a frame");
    assert!(begun.iter().all(|(by, _)| *by == connection && connection != 10));
    story.say(0, 1, 0);
    let vote = frames(&story.step(PeerEvent::Flush));
    assert!(
        matches!(&vote[..], [(10, PeerFrame::Messages(batch))] if batch.messages.len() == 1),
        "by control, at once"
    );
    let next = frames(&story.step(PeerEvent::Written { connection, bytes: 45_000 }));
    assert_eq!(story.core.status().queued_messages, 40 - 3 - next.len());
}

/// Two seconds in which one connection brings a long frame, a piece at a time, and the others keepalives.
fn a_long_frame_arrives_slowly() {
    let mut story = Story::accepted(PeerSettings::default());
    for _ in 0..20 {
        story.now += 100_000;
        [10, 12, 13].into_iter().for_each(|connection| drop(story.hear(connection)));
        story.step(PeerEvent::Progress { connection: 11 });
        story.step(PeerEvent::Timer);
    }
    assert_eq!((story.core.status().open, story.core.status().resets), (4, 0));
}

#[test]
fn who_speaks_slowly_is_heard() {
    a_long_frame_arrives_slowly();
    assert_noticed("who_speaks_slowly_is_heard", &[(Mutation::HearWholeFrames, a_long_frame_arrives_slowly)]);
}

/// A follower asks again and again for what is on its way, as it does when it is reminded of who leads.
fn an_answer_is_on_its_way() {
    let mut story = Story::accepted(PeerSettings { frame_bytes: 50_000, ..PeerSettings::default() });
    let connection = 10 + LinkId::from(shard_of(super::process::partition(0), 2));
    let answer = |story: &mut Story, offset: i64, bytes: usize| {
        let records = Frame::from(Bytes::from(vec![0; bytes]));
        let mut message = message(1, 0, 1, records);
        let Message::FetchResponse(response) = &mut message.message else { panic!("an answer") };
        response.position.offset = offset;
        story.step(PeerEvent::Send(vec![Outgoing { message, catch_up: false }]));
        frames(&story.step(PeerEvent::Flush)).len()
    };
    assert_eq!(answer(&mut story, 7, 3_000_000), 1);
    for _ in 0..40 {
        story.now += 400_000;
        [10, 11, 12, 13].into_iter().for_each(|connection| drop(story.hear(connection)));
        assert_eq!(answer(&mut story, 7, 3_000_000) + story.core.status().queued_messages, 0, "it is on its way");
    }
    story.step(PeerEvent::Written { connection, bytes: 2_900_000 });
    assert_eq!(answer(&mut story, 7, 10), 0, "it has just left");
    assert_eq!(answer(&mut story, 8, 10), 1, "another question");
    story.now += 100_000;
    assert_eq!(answer(&mut story, 7, 10), 1, "another again");
    story.now += 400_000;
    assert_eq!(answer(&mut story, 7, 10), 1, "it did not come");
}

#[test]
fn a_question_is_answered_once_while_the_answer_is_on_its_way() {
    an_answer_is_on_its_way();
    assert_noticed(
        "a_question_is_answered_once_while_the_answer_is_on_its_way",
        &[(Mutation::AnswerTwice, an_answer_is_on_its_way)],
    );
}

/// What is lost with a connection is on its way no longer.
#[test]
fn an_answer_that_was_lost_is_given_again() {
    let mut story = Story::accepted(PeerSettings::default());
    let shard = shard_of(super::process::partition(0), 2);
    story.say(1, 1, 3_000_000);
    assert_eq!(frames(&story.step(PeerEvent::Flush)).len(), 1);
    story.step(PeerEvent::Closed { connection: 10 + LinkId::from(shard) });
    story.step(PeerEvent::Accepted { connection: 20, hello: Hello { attempt: 2, ..hello(0, shard) } });
    assert_eq!(names(&story.hear(20)), ["keepalives", "refetch"]);
    story.say(1, 1, 3_000_000);
    assert_eq!(frames(&story.step(PeerEvent::Flush)).len(), 1);
}

#[test]
fn what_one_connection_brings_says_nothing_of_another() {
    let mut story = Story::accepted(PeerSettings::default());
    for _ in 0..5 {
        story.now += 100_000;
        [11, 12, 13].into_iter().for_each(|connection| drop(story.step(PeerEvent::Progress { connection })));
        story.step(PeerEvent::Timer);
    }
    assert_eq!(story.core.status().session, None, "control brought nothing");
}

#[test]
fn a_full_queue_ends_the_connection_and_both_sides_ask_again() {
    let mut story = Story::accepted(PeerSettings { queue_bytes: 1_200, ..PeerSettings::default() });
    let slot = (0..PARTITIONS).find(|slot| shard_of(super::process::partition(slot * CLASSES), 2) == 1).expect("one");
    (1..=3).for_each(|serial| assert!(names(&story.say(slot * CLASSES + 1, serial, 0)).is_empty()));
    assert_eq!(names(&story.say(slot * CLASSES + 1, 4, 0)), ["close"], "the other end sees it");
    assert_eq!((story.core.status().queued_messages, story.core.status().dropped), (0, 4));
    assert!(story.core.status().session.is_some(), "the session goes on");
    let mut again = hello(0, 1);
    again.attempt = 2;
    story.step(PeerEvent::Accepted { connection: 20, hello: again });
    assert_eq!(names(&story.hear(20)), ["keepalives", "refetch"]);
}

/// All partitions speak as soon as a session begins.
fn a_hundred_thousand_partitions_speak_at_once() {
    let mut story = Story::accepted(PeerSettings::default());
    let fetch = |serial| Outgoing { message: message(0, 0, serial, Frame::new()), catch_up: false };
    assert!(names(&story.step(PeerEvent::Send((0..100_000).map(fetch).collect()))).is_empty());
    assert_eq!(story.core.status().queued_messages, 100_000);
}

#[test]
fn a_session_begins_however_many_partitions_it_has() {
    a_hundred_thousand_partitions_speak_at_once();
    assert_noticed(
        "a_session_begins_however_many_partitions_it_has",
        &[(Mutation::BoundByNumber, a_hundred_thousand_partitions_speak_at_once)],
    );
}

#[test]
fn silence_ends_the_session_and_lag_of_our_own_delays_that() {
    let heard_until = |lag: u64| {
        let mut story = Story::accepted(PeerSettings::default());
        let start = story.now;
        story.step(PeerEvent::Lag(Duration::from_millis(lag)));
        while story.core.status().session.is_some() {
            story.now += 10_000;
            story.step(PeerEvent::Timer);
        }
        (story.now - start) / 1_000
    };
    assert_eq!(heard_until(0), 400);
    assert_eq!(heard_until(50), 600);
    assert_eq!(heard_until(10_000), 1_600);
}

#[test]
fn a_refused_dial_of_any_shard_says_that_the_process_is_gone() {
    let mut story = Story::new(0, PeerSettings::default());
    story.step(PeerEvent::Start);
    story.step(PeerEvent::Connected { shard: 0, attempt: 1, connection: 7 });
    let frame = hello_frame(&hello(1, 0)).slice(LENGTH_LEN..);
    story.step(PeerEvent::Frame { connection: 7, frame });
    story.step(PeerEvent::Remembered { token: 1 });
    let effects = story.step(PeerEvent::DialFailed { shard: 1, attempt: 1, refused: true });
    assert_eq!(names(&effects), ["close", "down"]);
}

#[test]
fn a_later_start_ends_what_the_earlier_one_began() {
    let mut story = Story::accepted(PeerSettings::default());
    let mut restarted = hello(0, 0);
    restarted.starts.push(Start { incarnation: 5, nonce: 50 });
    let effects = story.step(PeerEvent::Accepted { connection: 30, hello: restarted });
    assert_eq!(names(&effects), ["down", "close", "close", "close", "close", "remember"]);
    assert!(story.hear(10).is_empty(), "what comes from the earlier start is nobody's");
    let stale = story.step(PeerEvent::Accepted { connection: 31, hello: hello(0, 0) });
    assert!(matches!(frames(&stale)[..], [(31, PeerFrame::HelloRefused(Refusal::Stale { known: 5 }))]));
}

/// The starts that the side tells in its first hello when `told` of its starts is known to be remembered there.
fn tells(kept: std::ops::Range<u64>, told: Option<u64>) -> Vec<u64> {
    let start = |incarnation| Start { incarnation, nonce: incarnation * 10 };
    let told = told.map(|told| (broker(1), start(told))).into_iter().collect();
    let local = LocalBroker { starts: kept.map(start).collect(), told, ..local(0) };
    let core = Peer::new(local, broker(1), [], PeerSettings::default(), 7);
    let mut story = Story { core, now: 1_000_000 };
    story.step(PeerEvent::Start);
    let effects = story.step(PeerEvent::Connected { shard: 0, attempt: 1, connection: 7 });
    let [(7, PeerFrame::Hello(hello))] = &frames(&effects)[..] else { panic!("{effects:?}") };
    assert!(hello.is_sound() && hello.starts.iter().all(|start| start.nonce == start.incarnation * 10));
    hello.starts.iter().map(|start| start.incarnation).collect()
}

#[test]
fn a_hello_tells_the_start_that_is_remembered_however_long_ago_it_was() {
    assert_eq!(tells(90..93, None), [90, 91, 92]);
    assert_eq!(tells(90..93, Some(3)), [3, 90, 91, 92]);
    assert_eq!(tells(90..93, Some(91)), [90, 91, 92], "it is among them");
}

#[test]
fn what_the_other_remembers_is_noted_once_for_each_start() {
    let mut story = Story::accepted(PeerSettings::default());
    story.step(PeerEvent::Closed { connection: 10 });
    let again = Hello { attempt: 2, ..hello(0, 0) };
    story.step(PeerEvent::Accepted { connection: 20, hello: again });
    let effects = story.hear(20);
    assert!(names(&effects).contains(&"up") && !names(&effects).contains(&"told"), "{effects:?}");
}

#[test]
fn a_frame_that_is_none_ends_its_connection() {
    let mut story = Story::accepted(PeerSettings::default());
    let effects = story.step(PeerEvent::Frame { connection: 11, frame: Bytes::from_static(b"garbage") });
    assert_eq!(names(&effects), ["close"]);
    assert_eq!(story.core.status().open, 3);
}
