//! The brokers that may take part, as they are known before the log is.

use std::collections::BTreeMap;

use millrace_types::BrokerId;

/// One broker as the cluster's file names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Host name or address on which it listens for brokers.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// The brokers of the cluster's file. It says who founds; from the second entry on the log's state names the acceptors.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members {
    brokers: BTreeMap<BrokerId, Member>,
}

impl Members {
    /// These brokers.
    #[must_use]
    pub const fn new(brokers: BTreeMap<BrokerId, Member>) -> Self {
        Self { brokers }
    }

    /// A broker without others.
    #[must_use]
    pub fn alone(broker: BrokerId) -> Self {
        Self::new(BTreeMap::from([(broker, Member { host: String::new(), port: 0 })]))
    }

    /// Every broker with its address.
    #[must_use]
    pub const fn brokers(&self) -> &BTreeMap<BrokerId, Member> {
        &self.brokers
    }

    /// Whether there is one broker.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.brokers.len() == 1
    }

    /// The brokers that found the cluster and decide first: an odd number, the lowest ids.
    #[must_use]
    pub fn acceptors(&self) -> Vec<BrokerId> {
        let wanted = match self.brokers.len() {
            0..3 => 1,
            3..7 => 3,
            _ => 5,
        };
        self.brokers.keys().copied().take(wanted).collect()
    }

    /// The brokers that must be heard before the cluster is founded. A single acceptor asks the other one as well: with
    /// its disk wiped nobody else could tell that there is a cluster.
    #[must_use]
    pub(crate) fn witnesses(&self) -> Vec<BrokerId> {
        let acceptors = self.acceptors();
        if acceptors.len() == 1 { self.brokers.keys().copied().collect() } else { acceptors }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acceptors_are_an_odd_number_of_the_lowest_ids() {
        let acceptors = |brokers: i32| {
            let member = Member { host: "h".to_owned(), port: 1 };
            Members::new((1..=brokers).rev().map(|id| (BrokerId(id), member.clone())).collect()).acceptors()
        };
        let lowest = |count: i32| (1..=count).map(BrokerId).collect::<Vec<_>>();
        for (brokers, wanted) in [(1, 1), (2, 1), (3, 3), (4, 3), (6, 3), (7, 5), (20, 5)] {
            assert_eq!(acceptors(brokers), lowest(wanted), "of {brokers}");
        }
    }
}
