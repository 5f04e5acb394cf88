//! A history: what client processes asked, what they were told, and when; as lines of JSON.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};

use serde::{Deserialize, Serialize};

/// A topic and partition as `topic-partition`.
pub(crate) type Key = String;

/// One line of a history. An operation is an [`Phase::Invoke`] and what follows of the same process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Event {
    /// Who does it. A process has one operation at a time.
    pub(crate) process: u32,
    /// When, in nanoseconds of one clock that all processes share and that does not go back.
    pub(crate) at: u64,
    /// What is known of the operation at this moment.
    pub(crate) phase: Phase,
    /// The operation.
    #[serde(flatten)]
    pub(crate) op: Op,
    /// Why it failed, or why nothing is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// What is known of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Phase {
    /// It begins.
    Invoke,
    /// It was done.
    Ok,
    /// It was not done, and never will be.
    Fail,
    /// It may have been done, or be done yet.
    Info,
}

/// An operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub(crate) enum Op {
    /// Records, in the order in which they were handed to the producer. Those of one operation may end in different phases, each in a line of
    /// its own.
    Send {
        /// The records.
        sends: Vec<Sent>,
    },
    /// Records that a consumer was given: offsets and values by partition, in the order of delivery.
    Poll {
        /// By partition.
        #[serde(default)]
        polls: BTreeMap<Key, Vec<(i64, u64)>>,
    },
    /// The question where partitions end.
    Ends {
        /// The first offset that cannot be read yet, by partition.
        #[serde(default)]
        ends: BTreeMap<Key, i64>,
    },
    /// A consumer reads these partitions from here on, and no others.
    Assign {
        /// The partitions.
        keys: Vec<Key>,
        /// All from their beginning; else those that it read before go on where they were.
        from_start: bool,
    },
    /// A consumer joins a group.
    Subscribe {
        /// The group.
        group: String,
    },
    /// A member of a group was given these partitions, as the outcome of a rebalance.
    Rebalance {
        /// The partitions.
        keys: Vec<Key>,
    },
    /// A member of a group commits offsets.
    Commit {
        /// The group.
        group: String,
        /// The next offset to read, by partition.
        offsets: BTreeMap<Key, i64>,
    },
    /// The question what a group has committed.
    Committed {
        /// The group.
        group: String,
        /// By partition; none before the answer.
        #[serde(default)]
        offsets: BTreeMap<Key, i64>,
    },
    /// The process's clients are gone and others take their place.
    Crash,
    /// Something is done to the cluster from its invocation until it is over; what is noted in between tells more of it.
    Fault {
        /// What.
        what: String,
    },
    /// After all faults: fresh consumers read everything. Done when each has reached the end of every partition.
    Drain,
}

/// A record of a send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sent {
    /// Its partition.
    pub(crate) key: Key,
    /// Its value, which no other record has.
    pub(crate) value: u64,
    /// Where it is, once acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) offset: Option<i64>,
}

/// Writes one line.
///
/// # Errors
/// Those of the writer.
pub(crate) fn write(event: &Event, to: &mut impl Write) -> std::io::Result<()> {
    serde_json::to_writer(&mut *to, event)?;
    to.write_all(b"\n")
}

/// Reads all lines, in the order of their time.
///
/// # Errors
/// Those of the reader, and a line that is no event, with its number.
pub(crate) fn read(from: impl BufRead) -> std::io::Result<Vec<Event>> {
    let mut events = Vec::new();
    for (number, line) in (1..).zip(from.lines()) {
        let event: Event = serde_json::from_str(&line?).map_err(|error| {
            let text = format!("line {number}: {error}");
            std::io::Error::new(std::io::ErrorKind::InvalidData, text)
        })?;
        events.push(event);
    }
    // A recorder writes in the order of time but for threads that overtake each other between the clock and the file. Stable, so that
    // the lines of a process stay in their order.
    events.sort_by_key(|event| event.at);
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events() -> Vec<Event> {
        let key = || "t-0".to_owned();
        let sent = |offset| Op::Send { sends: vec![Sent { key: key(), value: 7, offset }] };
        let ops = [
            (Phase::Invoke, sent(None)),
            (Phase::Ok, sent(Some(3))),
            (Phase::Ok, Op::Poll { polls: BTreeMap::from([(key(), vec![(3, 7), (4, 8)])]) }),
            (Phase::Ok, Op::Ends { ends: BTreeMap::from([(key(), 5)]) }),
            (Phase::Ok, Op::Assign { keys: vec![key()], from_start: true }),
            (Phase::Ok, Op::Subscribe { group: "g".to_owned() }),
            (Phase::Ok, Op::Rebalance { keys: vec![key()] }),
            (Phase::Info, Op::Commit { group: "g".to_owned(), offsets: BTreeMap::from([(key(), 5)]) }),
            (Phase::Invoke, Op::Committed { group: "g".to_owned(), offsets: BTreeMap::new() }),
            (Phase::Ok, Op::Crash),
            (Phase::Invoke, Op::Fault { what: "kill 1".to_owned() }),
            (Phase::Ok, Op::Drain),
        ];
        let event = |(at, (phase, op))| Event { process: 2, at, phase, op, error: None };
        (0..).zip(ops).map(event).collect()
    }

    #[test]
    fn what_is_written_is_read() {
        let mut text = Vec::new();
        for event in events().iter().rev() {
            write(event, &mut text).unwrap();
        }
        assert_eq!(read(text.as_slice()).unwrap(), events(), "in the order of time");
        let first = String::from_utf8(text).unwrap().lines().last().unwrap().to_owned();
        assert_eq!(first, r#"{"process":2,"at":0,"phase":"invoke","op":"send","sends":[{"key":"t-0","value":7}]}"#);
    }

    #[test]
    fn a_line_that_is_no_event_is_named() {
        let error = read("\n".as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("line 1: "), "{error}");
    }
}
