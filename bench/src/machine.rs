//! Names the machine and the commit a figure belongs to.

use std::fs;
use std::process::Command;

use serde::Serialize;

/// Unit of the times in `/proc`: Linux shows user space 100 ticks per second on every architecture.
pub(crate) const TICKS_PER_SECOND: f64 = 100.0;

/// The machine of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Machine {
    /// Name of the processor.
    pub(crate) cpu: String,
    /// Cores this process may use.
    pub(crate) cores: usize,
    /// Kernel release.
    pub(crate) kernel: String,
    /// Memory in MiB.
    pub(crate) memory_mib: u64,
}

impl Machine {
    /// This machine, as far as it tells.
    pub(crate) fn read() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Self {
            cpu: value(&text("/proc/cpuinfo"), "model name").unwrap_or("unknown").to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
            memory_mib: kib(&text("/proc/meminfo"), "MemTotal").unwrap_or(0) / 1024,
        }
    }
}

/// The value behind `key` in lines of `key : value`.
pub(crate) fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim())
}

/// The number behind `key`, which counts KiB.
pub(crate) fn kib(text: &str, key: &str) -> Option<u64> {
    value(text, key)?.split_whitespace().next()?.parse().ok()
}

/// CPU time of all processes and time stolen by the hypervisor since the start of the machine, in seconds.
pub(crate) fn stolen_seconds() -> Option<f64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let ticks: f64 = text.lines().next()?.split_whitespace().nth(8)?.parse().ok()?;
    Some(ticks / TICKS_PER_SECOND)
}

/// The commit of the current directory, with `-dirty` when files differ from it.
pub(crate) fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok()
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?.trim().to_owned();
    let is_dirty = git(&["status", "--porcelain"]).is_some_and(|changes| !changes.trim().is_empty());
    Some(if is_dirty { format!("{commit}-dirty") } else { commit })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_their_key() {
        let text = "processor\t: 0\nmodel name\t: Some CPU: fast\nMemTotal:       24105 kB\n";
        assert_eq!(value(text, "model name"), Some("Some CPU: fast"));
        assert_eq!(kib(text, "MemTotal"), Some(24105));
        assert_eq!(kib(text, "Missing"), None);
    }

    #[test]
    fn this_machine_has_a_core() {
        assert!(Machine::read().cores >= 1);
    }
}
