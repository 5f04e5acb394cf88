//! What one connection has in flight, as the sum of its arbiter counts it.

use std::rc::Rc;

use millrace_node::connection::ConnectionLoad;

use super::arbiter::Local;

/// The share of a connection; taken back when the connection ends.
pub(super) struct Counted {
    local: Rc<Local>,
    shown: ConnectionLoad,
}

impl Counted {
    /// A connection without a request.
    pub(super) fn new(local: &Rc<Local>) -> Self {
        Self { local: Rc::clone(local), shown: ConnectionLoad::default() }
    }

    /// The connection has this in flight now.
    pub(super) fn show(&mut self, load: ConnectionLoad) {
        if load != self.shown {
            self.local.connections.exchange_load(self.shown, load);
            self.shown = load;
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.show(ConnectionLoad::default());
    }
}
