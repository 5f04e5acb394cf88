//! Seeded runs.

use crate::plan::{Plan, Profile};
use crate::world::{Violated, World};

/// Seeds of a default run.
const SEEDS: u64 = 1_000;

/// Runs a seed.
pub(crate) fn run(seed: u64, profile: Option<Profile>, remembers_recovery: bool) -> World {
    let mut world = World::new(Plan::draw(seed, profile));
    world.remembers_recovery = remembers_recovery;
    world.run();
    if world.violation.is_none() {
        world.check_end();
    }
    world
}

/// The trace of a seed.
pub(crate) fn trace(seed: u64, profile: Profile, remembers_recovery: bool) -> Vec<String> {
    let mut world = World::new(Plan::draw(seed, Some(profile)));
    (world.keeps_trace, world.talkative, world.remembers_recovery) = (true, true, remembers_recovery);
    world.run();
    world.check_end();
    world.trace
}

/// Runs a seed once more and tells it.
fn tell(seed: u64) -> String {
    let mut world = World::new(Plan::draw(seed, None));
    (world.keeps_trace, world.talkative) = (true, true);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        world.run();
        world.check_end();
    }));
    let lines = crate::setting("MILLRACE_TRACE").map_or(120, |lines| lines.parse().unwrap());
    let from = world.trace.len().saturating_sub(lines);
    let panicked = result.is_err();
    format!("{:#?}\n{}\npanicked: {panicked}", world.plan, world.trace[from..].join("\n"))
}

fn range() -> std::ops::Range<u64> {
    let Some(text) = crate::setting("MILLRACE_SEEDS") else { return 0..SEEDS };
    match text.split_once("..") {
        Some((low, high)) => low.parse().unwrap()..high.parse().unwrap(),
        None => text.parse().map(|seed| seed..seed + 1).unwrap(),
    }
}

/// Steps of a seed's cores, and what was violated.
fn outcome(seed: u64) -> (u64, Option<Violated>) {
    match std::panic::catch_unwind(|| run(seed, None, true)) {
        Ok(world) => (world.steps, world.violation),
        Err(_) => (0, Some(Violated { invariant: "panic", text: "see above".to_owned() })),
    }
}

#[test]
fn seeds_keep_every_invariant() {
    let seeds: Vec<u64> = range().collect();
    let outcomes: Vec<(u64, (u64, Option<Violated>))> = std::thread::scope(|scope| {
        let parts: Vec<_> = (0..2)
            .map(|part| {
                let mine: Vec<u64> = seeds.iter().copied().filter(|seed| seed % 2 == part).collect();
                scope.spawn(move || mine.into_iter().map(|seed| (seed, outcome(seed))).collect::<Vec<_>>())
            })
            .collect();
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
    });
    println!("{} seeds, {} steps", seeds.len(), outcomes.iter().map(|(_, (steps, _))| steps).sum::<u64>());
    let failed: Vec<(u64, Violated)> =
        outcomes.into_iter().filter_map(|(seed, (_, violation))| Some((seed, violation?))).collect();
    if let Some((seed, violation)) = failed.first() {
        let all: Vec<String> = failed.iter().map(|(seed, v)| format!("{seed} {}: {}", v.invariant, v.text)).collect();
        panic!(
            "{} of {} seeds fail\n{}\nMILLRACE_SEEDS={seed} cargo test -p millrace-raft --test cluster seeds\n{}\n{violation:?}",
            failed.len(),
            seeds.len(),
            all.join("\n"),
            tell(*seed),
        );
    }
}

/// Nothing happens in a partition that is well and idle: no replica asks for a timer, none sends.
#[test]
fn an_idle_cluster_asks_for_no_timer() {
    let mut world = World::new(Plan::scripted(3));
    world.begin();
    world.run_until(1_000_000);
    let leader = world.leaders().pop().expect("there is a leader");
    assert!(world.produce(leader, 3));
    world.run_until(2_000_000);
    let steps = world.steps;
    world.run_until(60_000_000);
    assert_eq!(world.steps, steps, "no step in a minute");
    for host in &world.hosts {
        let raft = host.raft.as_ref().expect("it runs");
        assert_eq!(raft.deadline(), millrace_types::Instant::NEVER, "{:?}", raft.status());
        assert_eq!(raft.status().high_watermark, 3);
    }
}

#[test]
fn a_seed_runs_the_same_way_each_time() {
    for seed in 0..9 {
        let trace = || {
            let mut world = World::new(Plan::draw(seed, None));
            (world.keeps_trace, world.talkative) = (true, true);
            world.run();
            (world.trace, world.steps)
        };
        assert_eq!(trace(), trace(), "seed {seed}");
    }
}

/// A sweep that reaches nothing shows nothing: over the default seeds each of these happens.
#[test]
fn seeds_reach_what_they_are_for() {
    let mut seen: std::collections::BTreeSet<&str> = std::collections::BTreeSet::new();
    for seed in 0..60 {
        let mut world = World::new(Plan::draw(seed, None));
        (world.keeps_trace, world.talkative) = (true, true);
        world.run();
        let wanted = [
            "cuts its log",
            "begins anew",
            "has recovered",
            "diverging",
            "leads epoch",
            "recovering",
            "as successor",
            "crashes",
            "learners",
            "is wiped",
            "denied",
            "log start",
            "fenced",
            "all machines lose power",
        ];
        for line in &world.trace {
            seen.extend(wanted.iter().filter(|word| line.contains(**word)));
        }
    }
    assert_eq!(seen.len(), 14, "{seen:?}");
}
