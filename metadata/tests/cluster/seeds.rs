//! Seeded runs.

use std::collections::BTreeSet;

use crate::plan::{Plan, Profile};
use crate::world::{Violated, World};

/// Seeds of a default run.
const SEEDS: u64 = 400;

pub(crate) fn run(seed: u64, profile: Option<Profile>) -> World {
    let mut world = World::new(Plan::draw(seed, profile));
    world.run();
    world
}

/// The trace of a seed.
pub(crate) fn trace(seed: u64, profile: Option<Profile>) -> String {
    let mut world = World::new(Plan::draw(seed, profile));
    world.keeps_trace = true;
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.run()));
    let lines = crate::setting("MILLRACE_TRACE").map_or(150, |lines| lines.parse().unwrap());
    let from = world.trace.len().saturating_sub(lines);
    format!("{:#?}\n{}\npanicked: {}", world.plan, world.trace[from..].join("\n"), result.is_err())
}

fn range() -> std::ops::Range<u64> {
    let Some(text) = crate::setting("MILLRACE_SEEDS") else { return 0..SEEDS };
    match text.split_once("..") {
        Some((low, high)) => low.parse().unwrap()..high.parse().unwrap(),
        None => text.parse().map(|seed| seed..seed + 1).unwrap(),
    }
}

fn outcome(seed: u64) -> (u64, Option<Violated>) {
    match std::panic::catch_unwind(|| run(seed, None)) {
        Ok(world) => (world.steps, world.violation),
        Err(_) => (0, Some(Violated { invariant: "panic", text: "see above".to_owned() })),
    }
}

#[test]
fn seeds_keep_every_invariant() {
    let mut steps = 0;
    let mut failed = Vec::new();
    for seed in range() {
        let (taken, violation) = outcome(seed);
        steps += taken;
        failed.extend(violation.map(|violation| (seed, violation)));
    }
    println!("{} seeds, {steps} steps", range().count());
    if let Some((seed, violation)) = failed.first() {
        let all: Vec<String> = failed.iter().map(|(seed, v)| format!("{seed} {}: {}", v.invariant, v.text)).collect();
        panic!(
            "{} of {} seeds fail\n{}\n{}\nMILLRACE_SEEDS={seed} cargo test -p millrace-metadata --test cluster seeds\n{violation:?}",
            failed.len(),
            range().count(),
            trace(*seed, None),
            all.join("\n"),
        );
    }
}

#[test]
fn a_seed_runs_the_same_way_each_time() {
    for seed in 0..9 {
        assert_eq!(trace(seed, None), trace(seed, None), "seed {seed}");
    }
}

/// A sweep that reaches nothing shows nothing: over the first seeds each of these happens.
#[test]
fn seeds_reach_what_they_are_for() {
    let seen: BTreeSet<&str> = (0..90).flat_map(|seed| run(seed, None).seen).collect();
    let wanted = [
        "promise of accepted",
        "nack",
        "fast path",
        "behind",
        "not acceptor",
        "undecided",
        "forwarded",
        "forward refused",
        "snapshot",
        "wiped",
        "refused",
    ];
    let missing: Vec<&&str> = wanted.iter().filter(|one| !seen.contains(**one)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Tells one seed of a profile: `MILLRACE_PROFILE=Wipe MILLRACE_SEEDS=7`, with `MILLRACE_MUTATION` perhaps.
#[test]
#[ignore = "a tool"]
fn tell() {
    let Some(name) = crate::setting("MILLRACE_PROFILE") else { return };
    let profile = Profile::ALL.into_iter().find(|profile| format!("{profile:?}") == name).expect("a profile");
    let wanted = crate::setting("MILLRACE_MUTATION");
    let all = millrace_metadata::log::mutation::Mutation::ALL;
    let mutation = wanted.map(|name| *all.iter().find(|one| format!("{one:?}") == name).expect("a mutation"));
    let text = millrace_metadata::log::mutation::with_broken(mutation, || trace(range().start, Some(profile)));
    panic!("{text}");
}
