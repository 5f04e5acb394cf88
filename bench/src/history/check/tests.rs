//! For each anomaly a history that has it and a near one that does not.

use std::collections::BTreeMap;

use super::super::event::{Event, Key, Op, Phase, Sent};
use super::{Kind, check};

const KEY: &str = "t-0";

/// Writes a history; each call is a moment later than the one before.
#[derive(Default)]
struct History(Vec<Event>);

fn at(places: &[(i64, u64)]) -> BTreeMap<Key, Vec<(i64, u64)>> {
    BTreeMap::from([(KEY.to_owned(), places.to_vec())])
}

fn offsets(offset: i64) -> BTreeMap<Key, i64> {
    BTreeMap::from([(KEY.to_owned(), offset)])
}

fn sends(sends: &[(u64, Option<i64>)]) -> Op {
    let sent = |(value, offset): &(u64, Option<i64>)| Sent { key: KEY.to_owned(), value: *value, offset: *offset };
    Op::Send { sends: sends.iter().map(sent).collect() }
}

impl History {
    fn push(mut self, process: u32, phase: Phase, op: Op) -> Self {
        let at = self.0.len() as u64;
        self.0.push(Event { process, at, phase, op, error: None });
        self
    }

    fn invoke(self, process: u32, values: &[u64]) -> Self {
        let values: Vec<_> = values.iter().map(|value| (*value, None)).collect();
        self.push(process, Phase::Invoke, sends(&values))
    }

    fn ack(self, process: u32, value: u64, offset: i64) -> Self {
        self.push(process, Phase::Ok, sends(&[(value, Some(offset))]))
    }

    fn send(self, process: u32, value: u64, offset: i64) -> Self {
        self.invoke(process, &[value]).ack(process, value, offset)
    }

    fn poll(self, process: u32, places: &[(i64, u64)]) -> Self {
        self.push(process, Phase::Ok, Op::Poll { polls: at(places) })
    }

    fn assign(self, process: u32, from_start: bool) -> Self {
        self.push(process, Phase::Ok, Op::Assign { keys: vec![KEY.to_owned()], from_start })
    }

    fn ends(self, process: u32, end: i64) -> Self {
        self.push(process, Phase::Invoke, Op::Ends { ends: BTreeMap::new() }).end(process, end)
    }

    fn end(self, process: u32, end: i64) -> Self {
        self.push(process, Phase::Ok, Op::Ends { ends: offsets(end) })
    }

    fn commit(self, process: u32, offset: i64) -> Self {
        let commit = |offsets| Op::Commit { group: "g".to_owned(), offsets };
        self.push(process, Phase::Invoke, commit(offsets(offset))).push(process, Phase::Ok, commit(offsets(offset)))
    }

    fn committed(self, process: u32, offsets: BTreeMap<Key, i64>) -> Self {
        let committed = |offsets| Op::Committed { group: "g".to_owned(), offsets };
        self.push(process, Phase::Invoke, committed(BTreeMap::new())).push(process, Phase::Ok, committed(offsets))
    }

    fn member(self, process: u32) -> Self {
        self.push(process, Phase::Ok, Op::Subscribe { group: "g".to_owned() })
    }

    /// The kinds of anomalies, once all was read by a fresh consumer.
    fn drained(self, places: &[(i64, u64)]) -> Vec<Kind> {
        self.assign(99, true).poll(99, places).push(99, Phase::Ok, Op::Drain).kinds()
    }

    fn kinds(self) -> Vec<Kind> {
        check(&self.0, 0).by_kind().into_keys().collect()
    }
}

/// Three records of one process, as they should be.
fn three() -> History {
    History::default().send(0, 10, 0).send(0, 11, 1).send(0, 12, 2)
}

const ALL: &[(i64, u64)] = &[(0, 10), (1, 11), (2, 12)];

#[test]
fn a_history_in_order_has_no_anomaly() {
    let history = three().poll(1, &[(0, 10), (1, 11)]).poll(1, &[(2, 12)]).ends(2, 3);
    assert_eq!(history.drained(ALL), []);
}

#[test]
fn one_offset_has_one_value() {
    let sent = || History::default().invoke(0, &[10]).invoke(1, &[11]);
    assert_eq!(sent().poll(2, &[(0, 10)]).drained(&[(0, 10)]), []);
    assert_eq!(sent().poll(2, &[(0, 10)]).drained(&[(0, 11)]), [Kind::InconsistentOffsets]);
    assert_eq!(
        sent().ack(0, 10, 0).drained(&[(0, 11)]),
        [Kind::InconsistentOffsets, Kind::LostWrite],
        "an acknowledgement is an observation too"
    );
}

#[test]
fn one_value_has_one_offset() {
    let sent = || History::default().invoke(0, &[10]);
    assert_eq!(sent().drained(&[(0, 10)]), []);
    assert_eq!(sent().drained(&[(0, 10), (1, 10)]), [Kind::Duplicate]);
    assert_eq!(sent().ack(0, 10, 0).drained(&[(1, 10)]), [Kind::Duplicate], "read elsewhere than acknowledged");
}

#[test]
fn what_is_acknowledged_below_the_highest_read_is_read() {
    assert_eq!(three().drained(&[(0, 10), (2, 12)]), [Kind::LostWrite, Kind::IntPollSkip]);
    let later = three().poll(1, &[(0, 10)]);
    assert_eq!(later.kinds(), [Kind::Undrained], "a slow consumer is no loss, but proves nothing");
}

#[test]
fn what_is_acknowledged_is_seen_after_the_drain() {
    assert_eq!(three().drained(&[(0, 10), (1, 11)]), [Kind::Unseen]);
    assert_eq!(three().invoke(0, &[13]).drained(ALL), [], "of 13 nothing is known");
}

#[test]
fn what_was_refused_is_not_read() {
    let refused = || three().invoke(0, &[13]).push(0, Phase::Fail, sends(&[(13, None)]));
    assert_eq!(refused().drained(ALL), []);
    assert_eq!(refused().drained(&[(0, 10), (1, 11), (2, 12), (3, 13)]), [Kind::RefusedRead]);
    let unknown = three().invoke(0, &[13]).push(0, Phase::Info, sends(&[(13, None)]));
    assert_eq!(unknown.drained(&[(0, 10), (1, 11), (2, 12), (3, 13)]), []);
}

#[test]
fn what_nobody_sent_is_not_read() {
    assert_eq!(three().drained(&[(0, 10), (1, 11), (2, 12), (3, 77)]), [Kind::Phantom]);
    let elsewhere = Op::Poll { polls: BTreeMap::from([("t-1".to_owned(), vec![(0, 10)])]) };
    assert_eq!(three().push(1, Phase::Ok, elsewhere).drained(ALL), [Kind::Phantom], "nor sent there");
}

#[test]
fn a_poll_does_not_go_back() {
    assert_eq!(three().poll(1, &[(1, 11), (0, 10)]).drained(ALL), [Kind::IntNonmonotonicPoll]);
    assert_eq!(three().poll(1, &[(1, 11), (1, 11)]).drained(ALL), [Kind::IntNonmonotonicPoll]);
    assert_eq!(three().poll(1, &[(0, 10), (1, 11)]).drained(ALL), []);
}

#[test]
fn a_poll_passes_nothing_over() {
    assert_eq!(three().poll(1, &[(0, 10), (2, 12)]).drained(ALL), [Kind::IntPollSkip]);
    let gap = History::default().send(0, 10, 0).send(0, 12, 2);
    assert_eq!(gap.drained(&[(0, 10), (2, 12)]), [], "an offset at which nobody saw a record is none");
}

#[test]
fn the_next_poll_does_not_go_back() {
    let read = || three().poll(1, &[(0, 10), (1, 11)]);
    assert_eq!(read().poll(1, &[(1, 11)]).drained(ALL), [Kind::NonmonotonicPoll]);
    assert_eq!(read().poll(1, &[(0, 10)]).drained(ALL), [Kind::NonmonotonicPoll]);
    assert_eq!(read().poll(2, &[(0, 10)]).drained(ALL), [], "another consumer");
    assert_eq!(read().assign(1, true).poll(1, &[(0, 10)]).drained(ALL), [], "sought");
    assert_eq!(read().assign(1, false).poll(1, &[(0, 10)]).drained(ALL), [Kind::NonmonotonicPoll], "kept");
    let without = read().push(1, Phase::Ok, Op::Assign { keys: vec![], from_start: false });
    assert_eq!(without.poll(1, &[(0, 10)]).drained(ALL), [], "given up and taken again");
    assert_eq!(read().push(1, Phase::Ok, Op::Crash).poll(1, &[(0, 10)]).drained(ALL), []);
}

#[test]
fn the_next_poll_passes_nothing_over() {
    assert_eq!(three().poll(1, &[(0, 10)]).poll(1, &[(2, 12)]).drained(ALL), [Kind::PollSkip]);
    let rebalanced = three().member(1).poll(1, &[(0, 10)]).push(1, Phase::Ok, Op::Rebalance { keys: vec![] });
    assert_eq!(rebalanced.poll(1, &[(2, 12)]).drained(ALL), [], "another member may have read it");
    let failed = three().poll(1, &[(0, 10)]).push(1, Phase::Fail, Op::Poll { polls: BTreeMap::new() });
    assert_eq!(failed.poll(1, &[(2, 12)]).drained(ALL), [Kind::PollSkip], "a failed poll moves nothing");
}

#[test]
fn a_consumer_is_not_told_of_a_cut() {
    let told = |text: &str| {
        let mut history = three().push(1, Phase::Fail, Op::Poll { polls: BTreeMap::new() });
        history.0.last_mut().unwrap().error = Some(text.to_owned());
        history.drained(ALL)
    };
    assert_eq!(told("t-0 was truncated to 1, below the position 2"), [Kind::Truncated]);
    assert_eq!(told("poll was not finished in time"), []);
}

#[test]
fn records_of_one_operation_keep_their_order() {
    let sent = |first, second| History::default().invoke(0, &[10, 11]).ack(0, 10, first).ack(0, 11, second);
    assert_eq!(sent(0, 1).drained(&[(0, 10), (1, 11)]), []);
    assert_eq!(sent(1, 0).drained(&[(0, 11), (1, 10)]), [Kind::IntNonmonotonicSend]);
    let heard_late = History::default().invoke(0, &[10, 11]).ack(0, 11, 1).ack(0, 10, 0);
    assert_eq!(heard_late.drained(&[(0, 10), (1, 11)]), [], "the order of answers is no order of records");
}

#[test]
fn records_of_operations_keep_their_order() {
    // Both were invoked before either was acknowledged, so that real time says nothing.
    let sent = |process, first, second| {
        History::default().invoke(0, &[10]).invoke(process, &[11]).ack(0, 10, first).ack(process, 11, second)
    };
    assert_eq!(sent(0, 0, 1).drained(&[(0, 10), (1, 11)]), []);
    assert_eq!(sent(0, 1, 0).drained(&[(0, 11), (1, 10)]), [Kind::NonmonotonicSend]);
    assert_eq!(sent(1, 1, 0).drained(&[(0, 11), (1, 10)]), [], "two processes");
}

#[test]
fn what_was_acknowledged_before_stands_below() {
    let late = History::default().send(0, 10, 1).send(1, 11, 0);
    assert_eq!(late.drained(&[(0, 11), (1, 10)]), [Kind::RealtimeOrder]);
    let at_once = History::default().invoke(0, &[10]).invoke(1, &[11]).ack(0, 10, 1).ack(1, 11, 0);
    assert_eq!(at_once.drained(&[(0, 11), (1, 10)]), []);
}

#[test]
fn an_end_is_above_what_was_acknowledged() {
    assert_eq!(three().ends(2, 3).drained(ALL), []);
    assert_eq!(three().ends(2, 2).drained(ALL), [Kind::StaleEnd]);
    let meanwhile = History::default().send(0, 10, 0).push(2, Phase::Invoke, Op::Ends { ends: BTreeMap::new() });
    let meanwhile = meanwhile.send(0, 11, 1).end(2, 1);
    assert_eq!(meanwhile.drained(&[(0, 10), (1, 11)]), [], "acknowledged after the question");
}

#[test]
fn an_end_does_not_go_back() {
    let sent = || History::default().invoke(0, &[10]).invoke(1, &[11]);
    assert_eq!(sent().ends(2, 2).ends(3, 1).drained(&[(0, 10), (1, 11)]), [Kind::StaleEnd]);
    assert_eq!(sent().ends(2, 1).ends(3, 2).drained(&[(0, 10), (1, 11)]), []);
}

#[test]
fn a_committed_offset_does_not_go_back() {
    let read = || three().member(1).poll(1, ALL).commit(1, 2);
    assert_eq!(read().committed(2, offsets(2)).drained(ALL), []);
    assert_eq!(read().committed(2, offsets(1)).drained(ALL), [Kind::LostCommit]);
    assert_eq!(read().committed(2, BTreeMap::new()).drained(ALL), [Kind::LostCommit], "forgotten");
    assert_eq!(read().commit(1, 3).committed(2, offsets(2)).drained(ALL), [Kind::LostCommit]);
    let before = read().committed(2, offsets(3)).committed(3, offsets(2));
    assert_eq!(before.drained(ALL), [Kind::LostCommit], "an answer is known too");
}

#[test]
fn a_commit_of_which_nothing_was_heard_may_come_late() {
    let commit = || Op::Commit { group: "g".to_owned(), offsets: offsets(1) };
    let begun = || three().member(1).poll(1, ALL).push(1, Phase::Invoke, commit());
    let late = |end| begun().push(1, end, commit()).commit(1, 2).committed(2, offsets(1)).drained(ALL);
    assert_eq!(late(Phase::Info), []);
    assert_eq!(late(Phase::Ok), [Kind::LostCommit]);
    assert_eq!(late(Phase::Fail), [Kind::LostCommit]);
    assert_eq!(begun().commit(3, 2).committed(2, offsets(1)).drained(ALL), [], "under way");
    let other = begun().push(1, Phase::Info, commit()).commit(1, 3).committed(2, offsets(2));
    assert_eq!(other.drained(ALL), [Kind::LostCommit], "another offset than the one in doubt");
}

#[test]
fn an_answer_may_be_behind_by_what_is_allowed() {
    let history = || three().ends(2, 2).member(1).poll(1, ALL).commit(1, 2).committed(2, offsets(1));
    let history = history().assign(99, true).poll(99, ALL).push(99, Phase::Ok, Op::Drain);
    let kinds = |stale| check(&history.0, stale).by_kind().into_keys().collect::<Vec<_>>();
    assert_eq!(kinds(0), [Kind::StaleEnd, Kind::LostCommit]);
    assert_eq!(kinds(1), [], "what was acknowledged one moment before the question does not count");
}

#[test]
fn a_group_passes_nothing_over() {
    let read = |places| three().member(1).poll(1, places).commit(1, 2).drained(ALL);
    assert_eq!(read(&[(0, 10), (1, 11)]), []);
    assert_eq!(read(&[(1, 11)]), [Kind::GroupSkip]);
    let two = three().member(1).member(2).poll(1, &[(0, 10)]).poll(2, &[(1, 11)]).commit(2, 2);
    assert_eq!(two.drained(ALL), [], "whichever member was given it");
}

#[test]
fn a_history_that_was_not_drained_proves_nothing() {
    assert_eq!(three().poll(1, ALL).kinds(), [Kind::Undrained]);
}

#[test]
fn what_happened_is_counted() {
    let history = three().invoke(0, &[13, 14]).push(0, Phase::Fail, sends(&[(13, None)])).poll(1, ALL);
    let counts = check(&history.0, 0).counts;
    assert_eq!((counts.ops, counts.sent, counts.acknowledged), (5, 5, 3));
    assert_eq!((counts.unknown, counts.refused, counts.read), (1, 1, 3));
}

#[test]
fn the_longest_times_without_an_acknowledgement_are_told() {
    let fault = |what: &str| Op::Fault { what: what.to_owned() };
    let begun = |history: History, what| history.push(1_000, Phase::Invoke, fault(what));
    let over = |history: History, what| history.push(1_000, Phase::Ok, fault(what));
    let history = over(begun(three(), "before"), "before");
    let mut history = over(begun(begun(history, "kill"), "later"), "kill");
    let moments = [0, 10, 20, 30, 40, 95, 5, 25, 50, 96, 60];
    for (event, ms) in history.0.iter_mut().zip(moments) {
        event.at = ms * 1_000_000;
    }
    history.0.sort_by_key(|event| event.at);
    let counts = check(&history.0, 0).counts;
    assert_eq!((counts.longest_gap_ms, counts.longest_partition_gap_ms), (65, 65));
    assert_eq!(counts.longest_gap_faults, ["kill"]);
}
