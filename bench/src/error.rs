//! What can end a run.

use std::io;

/// Why a run ended without a result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum BenchError {
    /// The options contradict each other.
    #[error("{0}")]
    Options(String),
    /// A connection could not be made or broke.
    #[error("{address}: {operation}: {source}")]
    Io {
        /// The broker's address.
        address: String,
        /// What was tried.
        operation: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A broker answered what the protocol does not allow, or what this tool cannot use.
    #[error("{address}: {message}")]
    Protocol {
        /// The broker's address.
        address: String,
        /// What was wrong.
        message: String,
    },
    /// A broker answered with an error code.
    #[error("{operation} was answered with {code}")]
    Refused {
        /// The request and what it was about.
        operation: String,
        /// The code, in words.
        code: millrace_types::ErrorCode,
    },
    /// The cluster did not reach a state in time.
    #[error("not within {seconds} s: {what}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// For how long.
        seconds: u64,
    },
    /// The client library failed.
    #[error("client: {0}")]
    Client(#[from] millrace_client::ClientError),
    /// A thread of the load generator panicked.
    #[error("a worker panicked")]
    Worker,
    /// Runs had faults; their report is written all the same.
    #[error("{0} runs had faults: they are no result")]
    Faults(usize),
    /// A history is not what it should be; what is wrong has been told.
    #[error("the history, or the cluster afterwards, is not in order")]
    Anomalies,
    /// A report could not be written.
    #[error("cannot write {path}: {source}")]
    Report {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}
