//! What happened, as lines: hashed always, printed on demand. Two runs of one seed have the same hash.

use std::fmt;
use std::io::Write;

/// The trace of one run.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    lines: u64,
    print: bool,
    line: String,
}

impl Trace {
    /// An empty trace; with `print` its lines go to the standard output.
    #[must_use]
    pub fn new(print: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, lines: 0, print, line: String::new() }
    }

    /// Adds a line.
    pub fn line(&mut self, at: u64, text: fmt::Arguments<'_>) {
        use fmt::Write as _;
        self.line.clear();
        // A String takes everything.
        let _infallible = write!(self.line, "{at:>10} {text}");
        self.hash = fnv(self.hash, self.line.as_bytes());
        self.lines += 1;
        if self.print {
            // Whoever reads may have stopped reading.
            let _closed = writeln!(std::io::stdout().lock(), "{}", self.line);
        }
    }

    /// The hash of all lines.
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.hash
    }

    /// Number of lines.
    #[must_use]
    pub const fn lines(&self) -> u64 {
        self.lines
    }
}

/// FNV-1a, continued from `hash`.
#[must_use]
pub fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
