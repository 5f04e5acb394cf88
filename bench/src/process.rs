//! CPU time and memory of the brokers' processes, from `/proc`; nothing is found on other machines or systems.

use std::collections::BTreeSet;
use std::fs;
use std::net::ToSocketAddrs;

use serde::Serialize;

use crate::machine::{TICKS_PER_SECOND, kib};

/// What a process has used since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Usage {
    /// CPU seconds in user space.
    pub(crate) user_s: f64,
    /// CPU seconds in the kernel.
    pub(crate) system_s: f64,
    /// Resident memory, in KiB.
    pub(crate) resident_kib: u64,
    /// Resident memory that no file backs, in KiB: without mapped segments.
    pub(crate) anonymous_kib: u64,
    /// Highest resident memory since it was reset, in KiB.
    pub(crate) peak_kib: u64,
    /// Bytes written to disks.
    pub(crate) written_bytes: u64,
}

impl Usage {
    /// Usage of a process, none when it is gone or cannot be read.
    fn read(pid: u32) -> Option<Self> {
        let text = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}"));
        let (user_s, system_s) = cpu_seconds(&text("stat").ok()?)?;
        let status = text("status").ok()?;
        let io = text("io").unwrap_or_default();
        Some(Self {
            user_s,
            system_s,
            resident_kib: kib(&status, "VmRSS").unwrap_or(0),
            anonymous_kib: kib(&status, "RssAnon").unwrap_or(0),
            peak_kib: kib(&status, "VmHWM").unwrap_or(0),
            written_bytes: kib(&io, "write_bytes").unwrap_or(0),
        })
    }
}

/// User and system time in a `/proc/PID/stat` line, whose second field is a name that may hold anything.
fn cpu_seconds(stat: &str) -> Option<(f64, f64)> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut seconds = || Some(fields.next()?.parse::<f64>().ok()? / TICKS_PER_SECOND);
    Some((seconds()?, seconds()?))
}

/// Measures processes from its start to its end.
#[derive(Debug)]
pub(crate) struct Meter {
    pids: Vec<u32>,
    before: Vec<Option<Usage>>,
}

/// What the brokers used between two moments.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct BrokerUse {
    /// The processes.
    pub(crate) pids: Vec<u32>,
    /// CPU seconds in all.
    pub(crate) cpu_s: f64,
    /// CPU seconds in user space.
    pub(crate) user_s: f64,
    /// CPU seconds in the kernel.
    pub(crate) system_s: f64,
    /// Resident memory at the end, in MiB.
    pub(crate) resident_mib: f64,
    /// Resident memory that no file backs, in MiB.
    pub(crate) anonymous_mib: f64,
    /// Highest resident memory, in MiB.
    pub(crate) peak_mib: f64,
    /// Bytes written to disks, in MB.
    pub(crate) written_mb: f64,
}

impl Meter {
    /// Starts to measure, and resets the highest resident memory where the system allows it.
    pub(crate) fn start(pids: &[u32]) -> Self {
        for pid in pids {
            // Not permitted for another user's process: the peak is then that since the process started.
            let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
        }
        Self { pids: pids.to_vec(), before: pids.iter().map(|pid| Usage::read(*pid)).collect() }
    }

    /// What was used since; none without a process that lived all the time.
    pub(crate) fn stop(self) -> Option<BrokerUse> {
        let mut sum = Usage::default();
        let mut pids = Vec::new();
        for (pid, before) in self.pids.iter().zip(&self.before) {
            let (Some(before), Some(after)) = (before, Usage::read(*pid)) else { continue };
            pids.push(*pid);
            sum.user_s += after.user_s - before.user_s;
            sum.system_s += after.system_s - before.system_s;
            sum.resident_kib += after.resident_kib;
            sum.anonymous_kib += after.anonymous_kib;
            sum.peak_kib += after.peak_kib;
            sum.written_bytes += after.written_bytes.saturating_sub(before.written_bytes);
        }
        let mib = |kib: u64| kib as f64 / 1024.0;
        (!pids.is_empty()).then(|| BrokerUse {
            pids,
            cpu_s: sum.user_s + sum.system_s,
            user_s: sum.user_s,
            system_s: sum.system_s,
            resident_mib: mib(sum.resident_kib),
            anonymous_mib: mib(sum.anonymous_kib),
            peak_mib: mib(sum.peak_kib),
            written_mb: sum.written_bytes as f64 / 1e6,
        })
    }
}

/// CPU seconds of this process so far.
pub(crate) fn own_cpu_seconds() -> f64 {
    Usage::read(std::process::id()).map_or(0.0, |usage| usage.user_s + usage.system_s)
}

/// The processes of this machine that listen on the ports of loopback addresses in `bootstrap`.
pub(crate) fn listening(bootstrap: &str) -> Vec<u32> {
    let mut ports = BTreeSet::new();
    for address in bootstrap.split(',') {
        let addresses = address.trim().to_socket_addrs().into_iter().flatten();
        ports.extend(addresses.filter(|address| address.ip().is_loopback()).map(|address| address.port()));
    }
    let mut inodes = BTreeSet::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        inodes.extend(listeners(&fs::read_to_string(table).unwrap_or_default(), &ports));
    }
    if inodes.is_empty() { Vec::new() } else { owners(&inodes) }
}

/// Socket inodes that listen on one of the ports, from a table as in `/proc/net/tcp`.
fn listeners(table: &str, ports: &BTreeSet<u16>) -> Vec<String> {
    let mut found = Vec::new();
    for line in table.lines().skip(1) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (Some(local), Some(&"0A"), Some(inode)) = (fields.get(1), fields.get(3), fields.get(9)) else { continue };
        let port = local.rsplit_once(':').and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
        if port.is_some_and(|port| ports.contains(&port)) {
            found.push((*inode).to_owned());
        }
    }
    found
}

/// Processes that hold one of the sockets open.
fn owners(inodes: &BTreeSet<String>) -> Vec<u32> {
    let names: BTreeSet<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut found: Vec<u32> = pids.filter(|pid| holds(*pid, &names)).collect();
    found.sort_unstable();
    found
}

fn holds(pid: u32, names: &BTreeSet<String>) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut targets = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
    targets.any(|target| target.to_str().is_some_and(|target| names.contains(target)))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn cpu_time_stands_behind_a_name_of_any_form() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 3 0";
        assert_eq!(cpu_seconds(stat), Some((1.5, 0.5)));
        assert_eq!(cpu_seconds("7 (x"), None);
    }

    #[test]
    fn only_listening_sockets_of_the_port_are_taken() {
        let table = "  sl  local_address rem_address st\n\
            0: 0100007F:2384 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 111 1\n\
            1: 0100007F:2384 0100007F:9C40 01 00000000:00000000 00:00000000 00000000 0 0 222 1\n\
            2: 0100007F:2385 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 333 1\n";
        assert_eq!(listeners(table, &BTreeSet::from([9092])), ["111"]);
    }

    #[test]
    fn a_listener_is_found_and_measured() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let pids = listening(&listener.local_addr().unwrap().to_string());
        assert_eq!(pids, [std::process::id()]);
        let used = Meter::start(&pids).stop().unwrap();
        assert!(used.resident_mib > 0.0 && used.cpu_s >= 0.0);
    }

    #[test]
    fn a_process_that_is_not_there_is_left_out() {
        assert!(Meter::start(&[u32::MAX]).stop().is_none());
    }
}
