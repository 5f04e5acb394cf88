//! The brokers' processes.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use super::options::Action;
use crate::child::{self, failed};
use crate::error::BenchError;

/// Processes that end with this value.
#[derive(Debug)]
pub(super) struct Brokers(BTreeMap<i32, Broker>);

#[derive(Debug)]
struct Broker {
    command: Vec<String>,
    process: Child,
}

impl Brokers {
    /// Starts all of them.
    pub(super) fn start(commands: &[(i32, Vec<String>)]) -> Result<Self, BenchError> {
        let mut brokers = BTreeMap::new();
        for (id, command) in commands {
            let process = spawn(*id, command)?;
            brokers.insert(*id, Broker { command: command.clone(), process });
        }
        Ok(Self(brokers))
    }

    /// Does to a process what the action says.
    pub(super) fn end(&mut self, id: i32, action: Action) -> Result<(), BenchError> {
        match action {
            Action::Kill => self.kill(id),
            Action::Term => self.signal(id, Signal::TERM),
            Action::Stop => self.signal(id, Signal::STOP),
        }
    }

    /// Takes back what the action did.
    pub(super) fn bring_back(&mut self, id: i32, action: Action) -> Result<(), BenchError> {
        match action {
            Action::Kill | Action::Term => self.restart(id),
            Action::Stop => self.signal(id, Signal::CONT),
        }
    }

    /// Ends a process at once.
    fn kill(&mut self, id: i32) -> Result<(), BenchError> {
        let broker = self.broker(id)?;
        broker.process.kill().map_err(failed(id, "kill"))
    }

    /// Starts a process again when it has ended.
    fn restart(&mut self, id: i32) -> Result<(), BenchError> {
        let broker = self.broker(id)?;
        broker.process.wait().map_err(failed(id, "wait for"))?;
        broker.process = spawn(id, &broker.command)?;
        Ok(())
    }

    fn signal(&mut self, id: i32, signal: Signal) -> Result<(), BenchError> {
        child::signal(id, &self.broker(id)?.process, signal)
    }

    fn broker(&mut self, id: i32) -> Result<&mut Broker, BenchError> {
        let unknown = || BenchError::Options(format!("broker {id} leads, and no --broker names it"));
        self.0.get_mut(&id).ok_or_else(unknown)
    }
}

impl Drop for Brokers {
    fn drop(&mut self) {
        for broker in self.0.values_mut() {
            // One that has ended already is what is wanted.
            let _gone = broker.process.kill();
            let _gone = broker.process.wait();
        }
    }
}

fn spawn(id: i32, command: &[String]) -> Result<Child, BenchError> {
    let (program, arguments) =
        command.split_first().ok_or_else(|| BenchError::Options("an empty command".to_owned()))?;
    let spawned = Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    spawned.map_err(failed(id, "start"))
}
