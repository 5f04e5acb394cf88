//! The brokers of a run: their processes, their files and what they tell of themselves.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::network::{Network, Node};
use super::replicas::differing;
use crate::child::{self, failed};
use crate::error::BenchError;

/// How long a broker may take to answer a question about itself.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an orderly stop may take.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a state that nobody announces is looked at.
pub(crate) const POLL: Duration = Duration::from_millis(20);

/// Brokers, numbered from 1. Their processes and their files go with the value.
#[derive(Debug)]
pub(crate) struct Cluster {
    network: Network,
    program: PathBuf,
    folder: PathBuf,
    keep: bool,
    settings: Vec<String>,
    processes: BTreeMap<Node, Child>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for process in self.processes.values_mut() {
            // One that has ended already is what is wanted.
            let _gone = process.kill();
            let _gone = process.wait();
        }
        if !self.keep {
            let _left_behind = std::fs::remove_dir_all(&self.folder);
        }
    }
}

impl Cluster {
    /// Starts brokers 1 to `brokers` in `folder`, which is removed in the end unless `keep` says otherwise.
    ///
    /// # Errors
    /// A file cannot be written, or the program does not run.
    pub(crate) fn start(
        network: Network,
        program: &Path,
        folder: &Path,
        keep: bool,
        brokers: Node,
    ) -> Result<Self, BenchError> {
        let settings = [
            // Damage is to be found while the run lasts.
            "log.scrub.bytes.per.second=33554432",
            "log.retention.check.interval.ms=1000",
            "offsets.topic.num.partitions=4",
            "min.insync.replicas=2",
        ];
        let settings = settings.map(str::to_owned).to_vec();
        let (program, folder) = (program.to_owned(), folder.to_owned());
        std::fs::create_dir_all(&folder).map_err(failed(0, "make the folder of"))?;
        let mut cluster = Self { network, program, folder, keep, settings, processes: BTreeMap::new() };
        for id in 1..=brokers {
            cluster.write_cluster_file(id, brokers).map_err(failed(id, "write the cluster file of"))?;
            cluster.launch(id)?;
        }
        Ok(cluster)
    }

    fn write_cluster_file(&self, id: Node, brokers: Node) -> io::Result<()> {
        let line = |to| format!("[[brokers]]\nid = {to}\npeer = \"{}\"\n", self.network.peer(id, to));
        let lines: String = (1..=brokers).map(line).collect();
        std::fs::write(self.folder.join(format!("{id}.toml")), format!("cluster_id = \"history\"\n{lines}"))
    }

    /// Starts the process of a broker that has none.
    ///
    /// # Errors
    /// The program does not run.
    pub(crate) fn launch(&mut self, id: Node) -> Result<(), BenchError> {
        let log = File::options().append(true).create(true).open(self.log(id)).map_err(failed(id, "log of"))?;
        let mut command = self.network.command(id, &self.program);
        command.args(["serve", "--broker-id", &id.to_string(), "--cluster-file"]);
        command.arg(self.folder.join(format!("{id}.toml"))).arg("--data-dir").arg(self.data(id));
        command.args(["--listen", &self.network.addresses.client(id), "--admin", &self.network.addresses.admin(id)]);
        for setting in &self.settings {
            command.args(["--set", setting]);
        }
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.processes.insert(id, command.spawn().map_err(failed(id, "start"))?);
        Ok(())
    }

    /// What a broker wrote to its log.
    pub(crate) fn log(&self, id: Node) -> PathBuf {
        self.folder.join(format!("{id}.log"))
    }

    /// Where a broker keeps its data.
    pub(crate) fn data(&self, id: Node) -> PathBuf {
        self.folder.join(id.to_string())
    }

    /// Where everything of the run is.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Leaves the folder in place.
    pub(crate) fn keep(&mut self) {
        self.keep = true;
    }

    /// What lies between them.
    pub(crate) fn network(&self) -> &Network {
        &self.network
    }

    /// Where clients find the cluster.
    pub(crate) fn bootstrap(&self) -> String {
        self.ids().map(|id| self.network.addresses.client(id)).collect::<Vec<_>>().join(",")
    }

    /// All brokers.
    pub(crate) fn ids(&self) -> impl Iterator<Item = Node> + use<> {
        1..=self.processes.keys().copied().max().unwrap_or(0)
    }

    /// Sends a signal to a broker's process.
    ///
    /// # Errors
    /// It is not there.
    pub(crate) fn signal(&mut self, id: Node, signal: Signal) -> Result<(), BenchError> {
        child::signal(id, self.process(id)?, signal)
    }

    /// Whether a broker's process has ended, and how.
    ///
    /// # Errors
    /// The system does not tell.
    pub(crate) fn ended(&mut self, id: Node) -> Result<Option<std::process::ExitStatus>, BenchError> {
        self.process(id)?.try_wait().map_err(failed(id, "wait for"))
    }

    fn process(&mut self, id: Node) -> Result<&mut Child, BenchError> {
        self.processes.get_mut(&id).ok_or_else(|| BenchError::Options(format!("broker {id} was never started")))
    }

    /// Stops all brokers in order, has `millrace check` look at what they leave, and compares their logs: what is not in order.
    ///
    /// # Errors
    /// A process cannot be signalled, does not stop in time, or the program does not run.
    pub(crate) fn stop_and_check(&mut self) -> Result<Vec<String>, BenchError> {
        for id in self.ids() {
            self.signal(id, Signal::TERM)?;
        }
        let deadline = Instant::now() + STOP_TIMEOUT;
        let mut faults = Vec::new();
        for id in self.ids() {
            let status = loop {
                match self.ended(id)? {
                    Some(status) => break status,
                    None if Instant::now() < deadline => std::thread::sleep(POLL),
                    None => {
                        let what = format!("an orderly stop of broker {id}");
                        return Err(BenchError::Timeout { what, seconds: STOP_TIMEOUT.as_secs() });
                    }
                }
            };
            if !status.success() {
                faults.push(format!("broker {id} stopped with {status}"));
            }
            let check = std::process::Command::new(&self.program).arg("check").arg(self.data(id)).output();
            let check = check.map_err(failed(id, "check"))?;
            if !check.status.success() {
                faults.push(format!("broker {id}: {}", String::from_utf8_lossy(&check.stdout).trim()));
            }
        }
        let folders: Vec<(Node, PathBuf)> = self.ids().map(|id| (id, self.data(id))).collect();
        faults.extend(differing(&folders).map_err(failed(0, "compare the logs of"))?);
        Ok(faults)
    }
}

/// Asks the admin interface of a broker; the body of an answer with status 200.
///
/// # Errors
/// It does not answer, or with another status.
pub(crate) fn ask(network: &Network, id: Node, path: &str) -> io::Result<String> {
    let mut stream = network.connect_admin(id)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let is_ok = head.split(' ').nth(1) == Some("200");
    if is_ok { Ok(body.to_owned()) } else { Err(io::Error::other(head.lines().next().unwrap_or_default().to_owned())) }
}

/// The sum over all labels of a metric, in the text of `/metrics`.
pub(crate) fn metric(text: &str, name: &str) -> u64 {
    let of_it = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
    let values = text.lines().filter(of_it).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.sum::<f64>() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_labels() {
        let text =
            "# TYPE a_total counter\na_total{cause=\"start\"} 2\na_total{cause=\"scrub\"} 3\na_total_bytes 50\nb 1\n";
        assert_eq!((metric(text, "a_total"), metric(text, "b"), metric(text, "c")), (5, 1, 0));
    }
}
