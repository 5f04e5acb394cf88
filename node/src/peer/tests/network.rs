//! Connections: two directions, each in order, each of which may fall silent for good.

use millrace_types::Instant;

use crate::peer::LinkId;

/// A connection between two processes.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Who dialed, and who accepted.
    pub(crate) ends: [Option<usize>; 2],
    pub(crate) shard: u8,
    /// Whether the end has closed it, or was told that it is closed.
    pub(crate) closed: [bool; 2],
    /// Whether frames to the end vanish.
    pub(crate) mute: [bool; 2],
    /// When the last thing sent to the end arrives.
    pub(crate) arrived: [Instant; 2],
    /// Frames that have come to the end, and when the last one did.
    pub(crate) frames: [(u64, Instant); 2],
    /// Whether the accepting end has read a hello.
    pub(crate) greeted: bool,
}

impl Connection {
    pub(crate) fn new(dialer: Option<usize>, acceptor: usize, shard: u8) -> Self {
        Self {
            ends: [dialer, Some(acceptor)],
            shard,
            closed: [false; 2],
            mute: [false; 2],
            arrived: [Instant::ZERO; 2],
            frames: [(0, Instant::ZERO); 2],
            greeted: false,
        }
    }
}

/// The name that an end's process has for a connection.
pub(crate) fn name(connection: usize, end: usize) -> LinkId {
    LinkId::try_from(connection * 2 + end).expect("small")
}

/// Connection and end of a name.
pub(crate) fn of_name(link: LinkId) -> (usize, usize) {
    let link = usize::try_from(link).expect("small");
    (link / 2, link % 2)
}
