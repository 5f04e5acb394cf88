//! Who decides the entries of the log from the next one on.

use millrace_types::ErrorCode;

use super::Planned;
use crate::entry::Change;
use crate::identity::Acceptor;
use crate::image::Image;
use crate::outcome::CommandResult;

/// Acceptors are registered brokers under their registered directories: any other could never answer as one.
pub(super) fn plan(image: &Image, mut acceptors: Vec<Acceptor>) -> Planned {
    acceptors.sort_unstable();
    acceptors.dedup();
    let registered = |one: &Acceptor| image.broker(one.broker).is_some_and(|broker| broker.directory == one.directory);
    if acceptors.is_empty() || !acceptors.iter().all(registered) {
        return Planned::refused(ErrorCode::InvalidRequest, "An acceptor is not registered with this directory.");
    }
    let same = *acceptors == *image.acceptors();
    let changes = if same { Vec::new() } else { vec![Change::SetAcceptors { acceptors }] };
    Planned::new(changes, CommandResult::AcceptorsSet)
}
