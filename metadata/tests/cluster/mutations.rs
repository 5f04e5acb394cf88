//! Each rule broken on purpose: some seed of its profile notices.

use millrace_metadata::log::mutation::{Mutation, with_broken};

use crate::plan::Profile;
use crate::seeds;

/// Seeds within which a profile finds its mutation.
const SEEDS: u64 = 3_000;

use Mutation as M;

/// The one table: every rule, and the profile whose seeds find it broken.
const TABLE: &[(Mutation, Profile)] = &[
    (M::AcceptorsOfEarlierState, Profile::Acceptors),
    (M::PromiseBeforeDurable, Profile::Crashes),
    (M::AcceptBeforeDurable, Profile::Crashes),
    (M::AcceptBelowPromise, Profile::Duel),
    (M::AdoptAnyAccepted, Profile::Duel),
    (M::AdoptNothing, Profile::Duel),
    (M::OwnerWithoutIncarnation, Profile::Crashes),
    (M::OwnerWithoutDirectory, Profile::Wipe),
    (M::ForgetCellEarly, Profile::Crashes),
    (M::CountWipedAcceptor, Profile::Wipe),
    (M::FoundByMajority, Profile::Founding),
    (M::AnswerWithoutBarrier, Profile::Mixed),
    (M::BarrierIgnoresAccepted, Profile::Mixed),
    (M::AnswerBeforeDurable, Profile::Alone),
    (M::ForgetOwnProposal, Profile::Duel),
    (M::ForwardChosen, Profile::Duel),
    (M::ForwardTwice, Profile::Duel),
    (M::TellBeforeDurable, Profile::Pair),
    (M::RegisterOverLiving, Profile::Wipe),
];

fn seed_fails(mutation: Mutation, profile: Profile, seed: u64) -> Option<String> {
    let ran = std::panic::catch_unwind(|| with_broken(Some(mutation), || seeds::run(seed, Some(profile))));
    match ran {
        Ok(world) => world.violation.map(|violation| format!("{}: {}", violation.invariant, violation.text)),
        Err(_) => {
            with_broken(None, || ());
            Some("panic".to_owned())
        }
    }
}

#[test]
fn every_mutation_has_a_finder() {
    for mutation in Mutation::ALL {
        assert_eq!(TABLE.iter().filter(|row| row.0 == *mutation).count(), 1, "{mutation:?}");
    }
    assert_eq!(TABLE.len(), Mutation::ALL.len());
}

/// Takes minutes in a debug build: `cargo test --release -p millrace-metadata --test cluster -- --ignored`.
#[test]
#[ignore = "takes minutes"]
fn seeds_notice_their_mutations() {
    std::panic::set_hook(Box::new(|_| {}));
    let only = crate::setting("MILLRACE_MUTATION");
    let mut missed = Vec::new();
    for (mutation, profile) in TABLE {
        if only.as_ref().is_some_and(|only| *only != format!("{mutation:?}")) {
            continue;
        }
        match (0..SEEDS).find_map(|seed| Some((seed, seed_fails(*mutation, *profile, seed)?))) {
            Some((seed, by)) => {
                println!("{mutation:?}: {profile:?} seed {seed} by {}", by.chars().take(90).collect::<String>())
            }
            None => missed.push(*mutation),
        }
    }
    let _ = std::panic::take_hook();
    assert!(missed.is_empty(), "not found: {missed:?}");
}
