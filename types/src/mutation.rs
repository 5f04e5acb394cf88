//! The switch by which tests break a crate's rules on purpose.

/// Makes the switch for the rules of `$mutation`, an enum of the crate that calls it: `with_broken`, which breaks a rule
/// on this thread while something runs, `broken`, by which the rule's code asks, and `any_broken`, by which checks of
/// invariants do.
///
/// The crate declares a feature `mutations`. Without it, and outside the crate's own tests, `broken` is a constant
/// false and the switch is not there.
#[macro_export]
macro_rules! mutation_switch {
    ($mutation:ty) => {
        #[cfg(any(test, feature = "mutations"))]
        thread_local! {
            static BROKEN: std::cell::Cell<Option<$mutation>> = const { std::cell::Cell::new(None) };
        }

        /// Breaks `mutation` on this thread while `body` runs, also when that panics.
        #[cfg(any(test, feature = "mutations"))]
        pub fn with_broken<T>(mutation: Option<$mutation>, body: impl FnOnce() -> T) -> T {
            struct Mend;
            impl Drop for Mend {
                fn drop(&mut self) {
                    BROKEN.set(None);
                }
            }
            let _mend = Mend;
            BROKEN.set(mutation);
            body()
        }

        /// Breaks each rule while its story runs, which has to fail then. `finder` names the test in the table of all rules.
        #[cfg(test)]
        #[allow(dead_code, reason = "not every crate tells its rules by stories")]
        pub(crate) fn assert_noticed(finder: &str, stories: &[($mutation, fn())]) {
            for (mutation, story) in stories {
                let noticed = with_broken(Some(*mutation), || std::panic::catch_unwind(*story));
                assert!(noticed.is_err(), "{mutation:?} goes unnoticed");
                println!("noticed {mutation:?}: {finder}");
            }
        }

        /// Whether `mutation` is broken on this thread.
        #[cfg(any(test, feature = "mutations"))]
        pub(crate) fn broken(mutation: $mutation) -> bool {
            BROKEN.get() == Some(mutation)
        }

        /// Whether `mutation` is broken: never outside tests.
        #[cfg(not(any(test, feature = "mutations")))]
        pub(crate) const fn broken(_mutation: $mutation) -> bool {
            false
        }

        /// Whether any rule is broken on this thread: then the state may well break its invariants.
        #[cfg(any(test, feature = "mutations"))]
        #[allow(dead_code, reason = "not every crate checks invariants that a broken rule breaks")]
        pub(crate) fn any_broken() -> bool {
            BROKEN.get().is_some()
        }

        /// Whether any rule is broken: never outside tests.
        #[cfg(not(any(test, feature = "mutations")))]
        #[allow(dead_code, reason = "not every crate checks invariants that a broken rule breaks")]
        pub(crate) const fn any_broken() -> bool {
            false
        }
    };
}
