//! Calls that are banned by place, each with its replacement.

use super::Violation;
use super::source::Source;

/// Folders that hold deterministic cores: no clock, random source, thread, file or socket.
const CORES: &[&str] = &["types/", "raft/", "metadata/", "coordinator/", "node/", "client/src/core/"];
/// What may ask the clock, its cores apart: hosts, and the storage threads, which time the disk. Everything else is told.
const CLOCKS: &[&str] =
    &["broker/src/clock.rs", "storage/src/flusher/", "client/src/", "bench/", "sim/src/main.rs", "xtask/"];
/// What talks to a person on standard output.
const TERMINALS: &[&str] =
    &["broker/src/main.rs", "broker/src/serve.rs", "broker/src/cli/", "bench/", "sim/src/main.rs", "xtask/"];
/// What waits for other processes, which send no event.
const POLLS: &[&str] = &["broker/tests/common/", "bench/", "xtask/"];

/// Where a ban holds.
enum Place {
    Everywhere,
    Except(&'static [&'static str]),
    Below(&'static [&'static str]),
}

struct Ban {
    token: &'static str,
    place: Place,
    in_tests: bool,
    instead: &'static str,
}

const fn ban(token: &'static str, place: Place, in_tests: bool, instead: &'static str) -> Ban {
    Ban { token, place, in_tests, instead }
}

const BANS: &[Ban] = &[
    ban(".do_send(", Place::Everywhere, false, "`try_send`, which respects the mailbox's bound"),
    ban(".notify(", Place::Everywhere, false, "`try_send` to the own address, which respects the mailbox's bound"),
    ban("unbounded(", Place::Everywhere, true, "a bounded channel"),
    ban("unbounded_channel", Place::Everywhere, true, "a bounded channel"),
    ban("Instant::now", Place::Except(CLOCKS), false, "the `now` argument, or `broker/src/clock.rs` in the host"),
    ban("SystemTime::now", Place::Except(CLOCKS), false, "the `now` argument, or `broker/src/clock.rs` in the host"),
    ban("Instant::now", Place::Below(CORES), true, "the `now` argument"),
    ban("SystemTime::now", Place::Below(CORES), true, "the `now` argument"),
    ban("thread::sleep", Place::Except(POLLS), true, "waiting for the event itself with a deadline"),
    ban("thread_rng", Place::Everywhere, true, "randomness handed in by the host, from a seed in tests"),
    ban("rand::", Place::Below(CORES), true, "randomness handed in as an argument"),
    ban("Uuid::new_v4", Place::Below(CORES), true, "an id handed in as an argument"),
    ban("std::thread", Place::Below(CORES), false, "an effect that the host carries out"),
    ban("std::fs", Place::Below(CORES), false, "an effect that the host carries out"),
    ban("std::env", Place::Below(CORES), false, "a setting handed in by the host"),
    ban("TcpStream", Place::Below(CORES), false, "an effect that the host carries out"),
    ban("println!", Place::Except(TERMINALS), false, "`tracing`"),
    ban("print!", Place::Except(TERMINALS), false, "`tracing`"),
    ban("eprintln!", Place::Except(TERMINALS), false, "`tracing`"),
    ban("dbg!", Place::Everywhere, true, "an assertion or `tracing`"),
    ban("todo!", Place::Everywhere, true, "the code itself"),
    ban("unimplemented!", Place::Everywhere, true, "an error the caller can answer with"),
];

/// Reports each banned call.
pub(crate) fn check(source: &Source) -> Vec<Violation> {
    let bans: Vec<&Ban> = BANS.iter().filter(|ban| holds(&ban.place, source)).collect();
    let mut found = Vec::new();
    for (index, line) in source.code.iter().enumerate() {
        for ban in &bans {
            if (ban.in_tests || !source.is_test_line(index)) && contains_token(line, ban.token) {
                found.push(Violation {
                    check: "banned",
                    subject: format!("{}::{}", source.path, ban.token.trim_matches(['.', '('])),
                    line: index + 1,
                    measure: None,
                    message: format!("`{}` is banned here; instead: {}", ban.token, ban.instead),
                });
            }
        }
    }
    found
}

fn holds(place: &Place, source: &Source) -> bool {
    match place {
        Place::Everywhere => true,
        // An example is a small program: it has a terminal and a clock.
        Place::Except(prefixes) => !source.is_below(prefixes) && !source.path.contains("/examples/"),
        Place::Below(prefixes) => source.is_below(prefixes),
    }
}

/// Whether `token` occurs and is not the end of a longer identifier.
fn contains_token(line: &str, token: &str) -> bool {
    line.match_indices(token).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        !token.starts_with(char::is_alphanumeric) || !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subjects(path: &str, text: &str) -> Vec<String> {
        check(&Source::new(path, text)).into_iter().map(|violation| violation.subject).collect()
    }

    #[test]
    fn the_bound_of_a_mailbox_is_not_bypassed() {
        assert_eq!(subjects("broker/src/a.rs", "addr.do_send(Stop);"), ["broker/src/a.rs::do_send"]);
        assert_eq!(subjects("broker/src/a.rs", "// addr.do_send(Stop);\nlet x = \".do_send(\";"), Vec::<String>::new());
    }

    #[test]
    fn clocks_are_asked_in_one_place() {
        assert_eq!(subjects("storage/src/a.rs", "let x = Instant::now();"), ["storage/src/a.rs::Instant::now"]);
        assert_eq!(subjects("client/src/core/a.rs", "Instant::now()"), ["client/src/core/a.rs::Instant::now"]);
        assert_eq!(subjects("client/src/net.rs", "Instant::now()"), Vec::<String>::new());
        assert_eq!(subjects("broker/src/clock.rs", "Instant::now()"), Vec::<String>::new());
        assert_eq!(subjects("broker/tests/a.rs", "Instant::now()"), Vec::<String>::new());
        assert_eq!(subjects("storage/examples/a.rs", "Instant::now()"), Vec::<String>::new());
    }

    #[test]
    fn tests_are_held_to_some_bans() {
        let text = "#[cfg(test)]\nmod tests {\n    fn a() { thread::sleep(x); println!(); }\n}\n";
        assert_eq!(subjects("storage/src/a.rs", text), ["storage/src/a.rs::thread::sleep"]);
    }

    #[test]
    fn longer_names_are_not_banned() {
        assert_eq!(subjects("node/src/a.rs", "strand::x(); my_unbounded(); eprintln_x!()"), Vec::<String>::new());
        assert_eq!(subjects("node/src/a.rs", "bounded(4); unbounded(4);"), ["node/src/a.rs::unbounded"]);
    }
}
