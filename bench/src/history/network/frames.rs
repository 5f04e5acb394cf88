//! A switch for Ethernet frames between the ends of virtual cables, which drops, loses and delays by [`Ways`].
//!
//! The kernel's own means for that (netem, filters) are not in every kernel; tap devices are. A frame that is delayed waits in a bounded line.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fs::File;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::super::draw::Draw;
use super::{Node, Ways};

/// A tap device puts this much before a frame: `struct virtio_net_hdr`. It is handed on as it is: it says what the kernel has not computed, as
/// checksums, and the device at the other end does or waives it.
const PREFIX_BYTES: usize = 10;
/// A frame with its prefix; the kernel may leave cutting segments to the receiver.
const FRAME_BYTES_MAX: usize = 128 << 10;
/// The first bytes of every node's hardware address: locally administered; the last byte is the node.
const HARDWARE: [u8; 5] = [0x02, 0x4d, 0x52, 0x00, 0x00];
/// Frames that may wait for their time; what comes above is lost, as in any full queue.
const LATE_MAX: usize = 16 << 10;
/// How often threads look whether they are to end.
const LOOK: Duration = Duration::from_millis(100);

/// The hardware address of a node.
pub(super) fn hardware(node: Node) -> String {
    let [a, b, c, d, e] = HARDWARE;
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{node:02x}")
}

/// A frame that arrives later: when, its number, where, and the frame.
type Late = Reverse<(Instant, u64, Node, Vec<u8>)>;

/// The threads of the switch. They end with the value.
#[derive(Debug)]
pub(super) struct Switch {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            // A thread that panicked has nothing to give back.
            let _panicked = thread.join();
        }
    }
}

impl Switch {
    /// Carries frames between the ends of cables.
    pub(super) fn start(ends: BTreeMap<Node, File>, ways: &Arc<Ways>, seed: u64) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let ends = Arc::new(ends);
        let (late, line) = sync_channel(LATE_MAX);
        let mut threads = Vec::new();
        for node in ends.keys().copied() {
            let port = Port {
                node,
                ends: Arc::clone(&ends),
                ways: Arc::clone(ways),
                draw: Draw::new(seed, u64::from(node)),
                late: late.clone(),
                stop: Arc::clone(&stop),
            };
            threads.push(std::thread::spawn(move || port.run()));
        }
        threads.push(std::thread::spawn(move || deliver(&line, &ends)));
        Self { stop, threads }
    }
}

/// One end of a cable, as the switch sees it.
struct Port {
    node: Node,
    ends: Arc<BTreeMap<Node, File>>,
    ways: Arc<Ways>,
    draw: Draw,
    late: SyncSender<Late>,
    stop: Arc<AtomicBool>,
}

impl Port {
    fn run(mut self) {
        let ends = Arc::clone(&self.ends);
        let Some(end) = ends.get(&self.node) else { return };
        let mut buffer = vec![0; FRAME_BYTES_MAX];
        let mut number = 0;
        let look = Timespec { tv_sec: 0, tv_nsec: LOOK.subsec_nanos().into() };
        while !self.stop.load(Ordering::Acquire) {
            let mut ready = [PollFd::new(end, PollFlags::IN)];
            match poll(&mut ready, Some(&look)) {
                Ok(0) | Err(_) => continue,
                Ok(_) => {}
            }
            let mut reader: &File = end;
            let Ok(count) = reader.read(&mut buffer) else { continue };
            let Some(to) = buffer.get(PREFIX_BYTES..count).and_then(receiver) else { continue };
            number += 1;
            self.pass(to, number, &buffer[..count]);
        }
    }

    fn pass(&mut self, to: Node, number: u64, frame: &[u8]) {
        let way = self.ways.get(self.node, to);
        let parts = 1_000_000;
        if way.is_cut || (self.draw.below(parts) as f64) < way.loss * parts as f64 {
            return;
        }
        if way.delay.is_zero() {
            write(&self.ends, to, frame);
        } else {
            let late = Reverse((Instant::now() + way.delay, number, to, frame.to_vec()));
            let _lost_where_full = self.late.try_send(late);
        }
    }
}

/// The node that a frame is for; none for frames to everybody, of which this network needs none.
fn receiver(frame: &[u8]) -> Option<Node> {
    let (start, rest) = frame.split_first_chunk::<5>()?;
    rest.first().copied().filter(|_| *start == HARDWARE)
}

fn write(ends: &BTreeMap<Node, File>, to: Node, frame: &[u8]) {
    if let Some(mut end) = ends.get(&to) {
        // A device that takes no frame drops it, as a network may.
        let _dropped = end.write(frame);
    }
}

/// Delivers frames when their time has come, until nobody sends any more.
fn deliver(line: &Receiver<Late>, ends: &BTreeMap<Node, File>) {
    let mut waiting = BinaryHeap::new();
    loop {
        let patience =
            waiting.peek().map_or(LOOK, |Reverse((at, ..)): &Late| at.saturating_duration_since(Instant::now()));
        match line.recv_timeout(patience) {
            Ok(late) => waiting.push(late),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while waiting.peek().is_some_and(|Reverse((at, ..))| *at <= Instant::now()) {
            if let Some(Reverse((_, _, to, frame))) = waiting.pop() {
                write(ends, to, &frame);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_names_its_receiver() {
        assert_eq!(hardware(3), "02:4d:52:00:00:03");
        assert_eq!(receiver(&[0x02, 0x4d, 0x52, 0, 0, 3, 9, 9]), Some(3));
        assert_eq!(receiver(&[0xff; 12]), None, "to everybody");
        assert_eq!(receiver(&[0x02, 0x4d]), None);
    }
}
