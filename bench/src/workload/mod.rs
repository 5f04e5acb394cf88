//! The workloads: what is sent, read and measured.

mod consume;
mod end_to_end;
mod library;
mod produce;

use std::sync::Arc;

use crate::cli::{Client, Workload};
use crate::error::BenchError;
use crate::raw::Led;
use crate::tally::{Outcome, Tally};

/// Where a workload runs.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    /// Addresses to find the cluster by.
    pub(crate) bootstrap: String,
    /// The topic.
    pub(crate) topic: String,
    /// Its partitions by the brokers that lead them.
    pub(crate) leaders: Vec<Led>,
}

impl Field {
    /// The topic's partitions spread over `per_broker` connections to each leader. With more connections than partitions the
    /// rest shares partitions with others, or is left out when `is_exclusive`.
    fn connections(&self, per_broker: u32, is_exclusive: bool) -> Vec<Led> {
        let count = usize::try_from(per_broker).unwrap_or(usize::MAX);
        let mut spread = Vec::new();
        for led in &self.leaders {
            for at in 0..count {
                let own = led.partitions.iter().skip(at).step_by(count).copied().collect::<Vec<_>>();
                if own.is_empty() && is_exclusive {
                    continue;
                }
                let shared = || led.partitions.iter().cycle().skip(at % led.partitions.len().max(1)).take(1);
                let partitions = if own.is_empty() { shared().copied().collect() } else { own };
                spread.push(Led { address: led.address.clone(), partitions });
            }
        }
        spread
    }
}

/// What has to be there before the load: a filled topic for `consume`.
pub(crate) fn prepare(workload: &Workload, field: &Field, is_new: bool) -> Result<(), BenchError> {
    match workload {
        Workload::Consume(consume) if is_new => consume::fill(consume, field),
        _ => Ok(()),
    }
}

/// Runs a workload from the start to the end of the tally's window.
pub(crate) fn drive(workload: &Workload, field: &Field, tally: &Arc<Tally>) -> Result<Outcome, BenchError> {
    match (workload, workload.load().client) {
        (Workload::Produce(it), Client::Raw) => produce::run(it, field, tally),
        (Workload::Consume(it), Client::Raw) => consume::run(it, field, tally),
        (Workload::EndToEnd(it), Client::Raw) => end_to_end::run(it, field, tally),
        (workload, Client::Library) => library::run(workload, field, tally),
    }
}

/// Runs one worker per item on threads of their own and adds up what they measured; the first error ends the run.
fn on_threads<T: Send>(
    items: Vec<T>,
    work: impl Fn(T) -> Result<Outcome, BenchError> + Sync,
) -> Result<Outcome, BenchError> {
    let work = &work;
    std::thread::scope(|scope| {
        let threads: Vec<_> = items.into_iter().map(|item| scope.spawn(move || work(item))).collect();
        let mut sum = Outcome::default();
        let mut first = None;
        for thread in threads {
            match thread.join() {
                Ok(Ok(outcome)) => sum.merge(outcome),
                Ok(Err(error)) => first = first.or(Some(error)),
                Err(_) => first = first.or(Some(BenchError::Worker)),
            }
        }
        first.map_or(Ok(sum), Err)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(partitions: &[i32], per_broker: u32, is_exclusive: bool) -> Vec<Vec<i32>> {
        let led = Led { address: "a:1".to_owned(), partitions: partitions.to_vec() };
        let field = Field { bootstrap: String::new(), topic: String::new(), leaders: vec![led] };
        field.connections(per_broker, is_exclusive).into_iter().map(|led| led.partitions).collect()
    }

    #[test]
    fn every_partition_has_a_connection_and_every_connection_a_partition() {
        assert_eq!(spread(&[0, 1, 2, 3, 4], 2, false), [vec![0, 2, 4], vec![1, 3]]);
        assert_eq!(spread(&[5, 6], 5, true), [vec![5], vec![6]]);
        assert_eq!(spread(&[5, 6], 5, false), [vec![5], vec![6], vec![5], vec![6], vec![5]]);
    }

    #[test]
    fn the_first_error_ends_a_run() {
        let result = on_threads(vec![1, 2, 3], |item| match item {
            2 => Err(BenchError::Options("two".to_owned())),
            _ => Ok(Outcome::default()),
        });
        assert!(matches!(result, Err(BenchError::Options(message)) if message == "two"));
    }
}
