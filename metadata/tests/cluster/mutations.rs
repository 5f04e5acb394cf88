//! Each rule broken on purpose: some seed of its profile, or a story, notices.

use millrace_metadata::log::mutation::{Mutation, with_broken};

use crate::plan::Profile;
use crate::seeds;
use crate::stories::{self, Story};

/// Seeds within which a profile finds its mutation.
const SEEDS: u64 = 3_000;

/// What notices a broken rule.
enum Finder {
    /// Some seed of this profile.
    Seeds(Profile),
    /// This story ends otherwise.
    Told(Story),
}

use Finder::{Seeds, Told};
use Mutation as M;

/// The one table: every rule, and what finds it broken.
const TABLE: &[(Mutation, Finder)] = &[
    (M::AcceptorsOfEarlierState, Seeds(Profile::Acceptors)),
    (M::PromiseBeforeDurable, Seeds(Profile::Crashes)),
    (M::AcceptBeforeDurable, Seeds(Profile::Crashes)),
    (M::AcceptBelowPromise, Seeds(Profile::Duel)),
    (M::AdoptAnyAccepted, Seeds(Profile::Duel)),
    (M::AdoptNothing, Seeds(Profile::Duel)),
    (M::OwnerWithoutIncarnation, Told(stories::owner_restarts)),
    (M::OwnerWithoutDirectory, Told(stories::owner_is_wiped)),
    (M::ForgetCellEarly, Seeds(Profile::Crashes)),
    (M::CountWipedAcceptor, Told(stories::acceptor_is_wiped)),
    (M::FoundByMajority, Seeds(Profile::Founding)),
    (M::AnswerWithoutBarrier, Seeds(Profile::Mixed)),
    (M::BarrierIgnoresAccepted, Seeds(Profile::Mixed)),
    (M::AnswerBeforeDurable, Seeds(Profile::Alone)),
    (M::ForgetOwnProposal, Seeds(Profile::Duel)),
    (M::ForwardChosen, Seeds(Profile::Duel)),
    (M::ForwardTwice, Seeds(Profile::Duel)),
    (M::AnswerLaterProcess, Seeds(Profile::Wipe)),
    (M::TellBeforeDurable, Seeds(Profile::Pair)),
    (M::RegisterOverLiving, Told(stories::old_directory_lives)),
];

fn seed_fails(mutation: Mutation, profile: Profile, seed: u64) -> Option<String> {
    let ran = std::panic::catch_unwind(|| with_broken(Some(mutation), || seeds::run(seed, Some(profile))));
    match ran {
        Ok(world) => world.violation.map(|violation| format!("{}: {}", violation.invariant, violation.text)),
        Err(_) => Some("panic".to_owned()),
    }
}

#[test]
fn every_mutation_has_a_finder() {
    for mutation in Mutation::ALL {
        assert_eq!(TABLE.iter().filter(|row| row.0 == *mutation).count(), 1, "{mutation:?}");
    }
    assert_eq!(TABLE.len(), Mutation::ALL.len());
}

#[test]
fn stories_notice_their_mutations() {
    for (mutation, finder) in TABLE {
        if let Told(story) = finder {
            assert_eq!(story(), Ok(()), "{mutation:?} is not broken");
            let told = with_broken(Some(*mutation), story);
            assert!(told.is_err(), "the story does not notice {mutation:?}");
            println!("noticed {mutation:?}: stories.rs");
        }
    }
}

/// Takes minutes in a debug build: `cargo test --release -p millrace-metadata --test cluster -- --ignored`.
#[test]
#[ignore = "takes minutes"]
fn seeds_notice_their_mutations() {
    std::panic::set_hook(Box::new(|_| {}));
    let only = crate::setting("MILLRACE_MUTATION");
    let mut missed = Vec::new();
    for (mutation, finder) in TABLE {
        let Seeds(profile) = finder else { continue };
        if only.as_ref().is_some_and(|only| *only != format!("{mutation:?}")) {
            continue;
        }
        match (0..SEEDS).find_map(|seed| Some((seed, seed_fails(*mutation, *profile, seed)?))) {
            Some((seed, by)) => {
                println!("noticed {mutation:?}: {profile:?} seed {seed} by {}", by.chars().take(90).collect::<String>())
            }
            None => missed.push(*mutation),
        }
    }
    let _ = std::panic::take_hook();
    assert!(missed.is_empty(), "not found: {missed:?}");
}
