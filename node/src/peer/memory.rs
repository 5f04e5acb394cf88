//! What is remembered of a broker's directories: the newest start of each, so that no older state of a disk comes back.
//!
//! A number alone would not do: a disk that is restored to an earlier state and started often enough passes it. So each
//! start has a random number too, and a hello must tell the start that is remembered.

use std::collections::BTreeMap;

use millrace_types::{BrokerId, DirectoryId};

use super::mutation::{Mutation, broken};
use super::{Hello, Refusal, Remembered, Start};

#[derive(Debug, Clone, Copy)]
struct Known {
    start: Start,
    /// Number of the put that makes it durable, until that is done.
    pending: Option<u64>,
    /// Whether two processes have claimed to be this start.
    cloned: bool,
}

/// The newest start seen of each directory of one broker.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    known: BTreeMap<DirectoryId, Known>,
    tokens: u64,
}

impl Memory {
    /// What the write-ahead store holds.
    pub(crate) fn new(broker: BrokerId, seen: impl IntoIterator<Item = Remembered>) -> Self {
        let mine = seen.into_iter().filter(|seen| seen.broker == broker);
        let known = mine.map(|seen| (seen.directory, Known { start: seen.start, pending: None, cloned: false }));
        Self { known: known.collect(), tokens: 0 }
    }

    /// Whether the sender of `hello` may be who it says.
    pub(crate) fn judge(&mut self, hello: &Hello) -> Result<Start, Refusal> {
        let start = hello.start().ok_or(Refusal::Malformed)?;
        let Some(known) = self.known.get_mut(&hello.directory) else { return Ok(start) };
        if start.incarnation < known.start.incarnation && !broken(Mutation::AcceptStale) {
            return Err(Refusal::Stale { known: known.start.incarnation });
        }
        if start.incarnation == known.start.incarnation && start != known.start && !broken(Mutation::IgnoreHistory) {
            known.cloned = true;
        }
        if known.cloned && start.incarnation == known.start.incarnation {
            return Err(Refusal::Cloned);
        }
        if start.incarnation > known.start.incarnation
            && !hello.starts.contains(&known.start)
            && !broken(Mutation::IgnoreHistory)
        {
            return Err(Refusal::History { known: known.start.incarnation });
        }
        Ok(start)
    }

    /// Notes a start that was judged good; what is to be made durable, if it is news.
    pub(crate) fn note(&mut self, directory: DirectoryId, start: Start) -> Option<u64> {
        if self.known.get(&directory).is_some_and(|known| known.start == start) {
            return None;
        }
        self.tokens += 1;
        self.known.insert(directory, Known { start, pending: Some(self.tokens), cloned: false });
        Some(self.tokens)
    }

    /// The put `token` is done, and with it all before.
    pub(crate) fn durable_up_to(&mut self, token: u64) {
        for known in self.known.values_mut() {
            known.pending = known.pending.filter(|pending| *pending > token);
        }
    }

    /// Whether the start is remembered for good.
    pub(crate) fn is_durable(&self, directory: DirectoryId, start: Start) -> bool {
        let durable = |known: &Known| known.start == start && known.pending.is_none();
        self.known.get(&directory).is_some_and(durable) || broken(Mutation::UpBeforeDurable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIRECTORY: DirectoryId = DirectoryId::from_u128(0xd2);

    fn hello(starts: &[(u64, u64)]) -> Hello {
        Hello {
            cluster_id: "c".to_owned(),
            protocol: 1,
            broker: BrokerId(2),
            to: BrokerId(1),
            directory: DIRECTORY,
            starts: starts
                .iter()
                .map(|(incarnation, nonce)| Start { incarnation: *incarnation, nonce: *nonce })
                .collect(),
            metadata_epoch: 0,
            generation: 0,
            shard: 0,
            shards: 1,
            attempt: 1,
        }
    }

    fn memory(incarnation: u64, nonce: u64) -> Memory {
        let start = Start { incarnation, nonce };
        Memory::new(BrokerId(2), [Remembered { broker: BrokerId(2), directory: DIRECTORY, start }])
    }

    #[test]
    fn the_next_start_of_the_same_disk_is_accepted_when_it_is_durable() {
        let mut memory = memory(5, 50);
        let start = memory.judge(&hello(&[(4, 40), (5, 50), (6, 60)])).expect("it knows its history");
        let token = memory.note(DIRECTORY, start).expect("news");
        assert!(!memory.is_durable(DIRECTORY, start));
        memory.durable_up_to(token);
        assert!(memory.is_durable(DIRECTORY, start));
        assert_eq!(memory.note(DIRECTORY, start), None);
        assert_eq!(memory.judge(&hello(&[(5, 50)])), Err(Refusal::Stale { known: 6 }));
    }

    #[test]
    fn a_disk_that_went_back_is_refused_however_often_it_starts() {
        let mut memory = memory(5, 50);
        assert_eq!(memory.judge(&hello(&[(3, 30), (4, 41)])), Err(Refusal::Stale { known: 5 }));
        assert_eq!(memory.judge(&hello(&[(3, 30), (4, 41), (5, 51), (6, 61)])), Err(Refusal::History { known: 5 }));
    }

    #[test]
    fn two_processes_of_one_start_are_both_refused_until_one_is_started_again() {
        let mut memory = memory(5, 50);
        assert_eq!(memory.judge(&hello(&[(5, 51)])), Err(Refusal::Cloned));
        assert_eq!(memory.judge(&hello(&[(5, 50)])), Err(Refusal::Cloned));
        assert!(memory.judge(&hello(&[(5, 50), (6, 60)])).is_ok(), "the one that was known first");
        assert_eq!(memory.judge(&hello(&[(5, 51), (6, 61)])), Err(Refusal::History { known: 5 }));
    }

    #[test]
    fn another_directory_is_another_replica() {
        let mut memory = memory(5, 50);
        let mut wiped = hello(&[(1, 10)]);
        wiped.directory = DirectoryId::from_u128(0xd3);
        assert!(memory.judge(&wiped).is_ok());
    }
}
