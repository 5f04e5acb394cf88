//! Seeded runs, and the rules that they notice when broken.

use super::plan::{Plan, Profile};
use super::world::{Violated, World};
use crate::peer::mutation::{Mutation, with_broken};

/// Seeds of a default run.
const SEEDS: u64 = 300;
/// Seeds within which a broken rule is noticed.
const MUTATION_SEEDS: u64 = 200;

fn run(seed: u64, profile: Option<Profile>) -> World {
    let mut world = World::new(Plan::draw(seed, profile));
    world.run();
    world
}

/// Runs the seeds; what they have met, with how often.
fn run_all(seeds: std::ops::Range<u64>) -> std::collections::BTreeMap<&'static str, u64> {
    let mut seen = std::collections::BTreeMap::<&str, u64>::new();
    let (mut steps, mut delivered) = (0, 0);
    for seed in seeds {
        let world = run(seed, None);
        if let Some(Violated { invariant, text }) = &world.violation {
            panic!("seed {seed}: {invariant}: {text}\n{:#?}", world.plan);
        }
        steps += world.steps;
        delivered += world.delivered;
        world.seen.iter().for_each(|(name, count)| *seen.entry(name).or_default() += count);
    }
    println!("{steps} steps, {delivered} messages, {seen:?}");
    seen
}

#[test]
fn seeds_keep_every_invariant() {
    let seen: Vec<_> = run_all(0..SEEDS).into_keys().collect();
    let wanted = ["cloned", "history", "refetch", "stale", "taken"];
    assert_eq!(seen, wanted, "a sweep that reaches nothing shows nothing, and nothing is refused for another reason");
}

/// `MILLRACE_SEEDS=first..end cargo test --release -p millrace-node -- --ignored many_peer_seeds`
#[test]
#[ignore = "takes minutes"]
#[allow(clippy::disallowed_methods)] // A test's own setting.
fn many_peer_seeds() {
    let seeds = std::env::var("MILLRACE_SEEDS").unwrap_or_else(|_| "0..10000".to_owned());
    let (first, end) = seeds.split_once("..").expect("first..end");
    run_all(first.parse().expect("a number")..end.parse().expect("a number"));
}

#[test]
fn a_seed_runs_the_same_way_each_time() {
    for seed in 0..6 {
        let outcome = || {
            let world = run(seed, None);
            (world.steps, world.delivered, format!("{:?}", world.actions))
        };
        assert_eq!(outcome(), outcome(), "seed {seed}");
    }
}

/// Seed and invariant that notice the broken rule.
fn noticed(mutation: Mutation, profile: Profile) -> Option<(u64, &'static str)> {
    (0..MUTATION_SEEDS).find_map(|seed| {
        let broken = std::panic::catch_unwind(|| with_broken(Some(mutation), || run(seed, Some(profile)).violation));
        match broken {
            Ok(violation) => violation.map(|violation| (seed, violation.invariant)),
            Err(_) => Some((seed, "panic")),
        }
    })
}

#[test]
fn every_broken_rule_is_noticed() {
    let table = [
        (Mutation::AcceptStale, Profile::Disks, &["fenced"][..]),
        (Mutation::IgnoreHistory, Profile::Disks, &["fenced"][..]),
        (Mutation::UpBeforeDurable, Profile::Faults, &["durable"][..]),
        (Mutation::AcceptOldConnection, Profile::Doubles, &["calm"][..]),
        (Mutation::ForgetQueued, Profile::Faults, &["told", "healed"]),
        (Mutation::ShareControl, Profile::Calm, &["urgent"][..]),
        (Mutation::KeepSilent, Profile::Faults, &["silence"][..]),
        (Mutation::QueueWithoutBound, Profile::Faults, &["bounded"][..]),
        (Mutation::IgnoreQuota, Profile::Calm, &["bounded"][..]),
    ];
    // Stories tell of the others.
    assert_eq!(table.len() + 3, Mutation::ALL.len(), "each has a row");
    for (mutation, profile, by) in table {
        let found = noticed(mutation, profile);
        assert!(found.is_some_and(|found| by.contains(&found.1)), "{mutation:?}: {found:?}, expected {by:?}");
        println!("noticed {mutation:?}: {profile:?}, seed and invariant {found:?}");
    }
}
