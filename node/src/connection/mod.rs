//! One client connection: requests in, calls to other cores, responses out in the order of the requests.

mod core;
mod event;
#[cfg(test)]
mod fuzz;
mod load;
mod outbox;
mod request;
mod session;
#[cfg(test)]
mod tests;
mod watches;

pub use self::core::Connection;
pub use event::{ConnectionEffect, ConnectionEvent};
pub use load::ConnectionLoad;
pub(crate) use outbox::Outbox;
pub use session::{Origin, Session};
