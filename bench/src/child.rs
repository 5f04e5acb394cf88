//! Processes of brokers that this tool has started.

use std::io;
use std::process::Child;

use rustix::process::{Pid, Signal, kill_process};

use crate::error::BenchError;

/// Sends a signal to a broker's process.
///
/// # Errors
/// It is not there.
pub(crate) fn signal(broker: impl Into<i32>, process: &Child, signal: Signal) -> Result<(), BenchError> {
    let broker = broker.into();
    let gone = || BenchError::Options(format!("broker {broker} has no process"));
    let pid = i32::try_from(process.id()).ok().and_then(Pid::from_raw).ok_or_else(gone)?;
    kill_process(pid, signal).map_err(|error| failed(broker, "signal")(error.into()))
}

/// Makes the error of an operation on a broker.
pub(crate) fn failed(broker: impl Into<i32>, operation: &'static str) -> impl FnOnce(io::Error) -> BenchError {
    let broker = broker.into();
    move |source| BenchError::Io { address: format!("broker {broker}"), operation, source }
}
