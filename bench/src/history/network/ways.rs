//! What happens to what one node sends to another.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::watch;

/// A node: a broker by its number, or [`CLIENTS`].
pub(crate) type Node = u8;

/// Where the clients are.
pub(crate) const CLIENTS: Node = 0;

/// The way from a node to another, in this direction alone.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Way {
    /// Nothing arrives.
    pub(crate) is_cut: bool,
    /// How long everything takes.
    pub(crate) delay: Duration,
    /// How much is lost, from 0 to 1.
    pub(crate) loss: f64,
}

type Faulty = BTreeMap<(Node, Node), Way>;

/// All ways; those that are not named are in order.
#[derive(Debug)]
pub(crate) struct Ways(watch::Sender<Faulty>);

impl Default for Ways {
    fn default() -> Self {
        Self(watch::Sender::new(Faulty::new()))
    }
}

impl Ways {
    /// Changes the way from a node to another.
    pub(crate) fn set(&self, from: Node, to: Node, way: Way) {
        self.0.send_modify(|faulty| {
            faulty.insert((from, to), way);
        });
    }

    /// Puts all of them in order.
    pub(crate) fn heal(&self) {
        self.0.send_modify(Faulty::clear);
    }

    /// The way from a node to another.
    pub(crate) fn get(&self, from: Node, to: Node) -> Way {
        self.0.borrow().get(&(from, to)).copied().unwrap_or_default()
    }

    /// Waits until something arrives on this way.
    pub(crate) async fn open(&self, from: Node, to: Node) {
        let is_open = |faulty: &Faulty| !faulty.get(&(from, to)).is_some_and(|way| way.is_cut);
        // The sender is this value: it lives as long as the wait.
        let mut changes = self.0.subscribe();
        let _open = changes.wait_for(is_open).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_way_has_one_direction_and_heals() {
        let ways = Ways::default();
        ways.set(1, 2, Way { is_cut: true, ..Way::default() });
        assert!(ways.get(1, 2).is_cut && !ways.get(2, 1).is_cut);
        ways.open(2, 1).await;
        let (waited, ()) = tokio::join!(ways.open(1, 2), async { ways.heal() });
        assert_eq!((waited, ways.get(1, 2)), ((), Way::default()));
    }
}
