//! Calls of cargo in the project's folder.

use std::path::Path;
use std::process::{Command, Output};

/// The cargo that runs this program, else the one on the path.
fn command(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).args(arguments);
    command
}

/// Runs cargo with its output shown.
pub(crate) fn run(root: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Result<(), String> {
    let status = command(root, arguments).envs(environment.iter().copied()).status();
    let status = status.map_err(|error| format!("cannot start cargo: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("`cargo {}` failed", arguments.join(" "))) }
}

/// Runs cargo and returns what it printed.
pub(crate) fn output(root: &Path, arguments: &[&str]) -> Result<Vec<u8>, String> {
    let output = command(root, arguments).output().map_err(|error| format!("cannot start cargo: {error}"))?;
    let Output { status, stdout, stderr } = output;
    if status.success() {
        return Ok(stdout);
    }
    Err(format!("`cargo {}` failed: {}", arguments.join(" "), String::from_utf8_lossy(&stderr)))
}
