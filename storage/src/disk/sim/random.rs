//! The simulated disk's only source of chance, seeded, so that a seed repeats a run exactly.

use millrace_types::Random as Numbers;

#[derive(Debug, Clone)]
pub(super) struct Random(Numbers);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(Numbers::new(seed))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0.number()
    }

    /// A number below `bound`; 0 for a bound of 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        if bound == 0 {
            return 0;
        }
        (self.next() % bound as u64) as usize
    }

    /// True in `percent` of 100 cases.
    pub(super) fn chance(&mut self, percent: u8) -> bool {
        self.below(100) < usize::from(percent)
    }
}
