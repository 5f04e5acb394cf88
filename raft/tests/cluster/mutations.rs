//! Each rule broken on purpose: some seed of its profile, or a golden script, notices.

use millrace_raft::mutation::{Mutation, with_broken};

use crate::golden;
use crate::plan::Profile;
use crate::seeds;

/// Seeds within which a profile finds its mutation.
const SEEDS: u64 = 2_000;

/// What notices a broken rule.
enum Finder {
    /// Some seed of this profile.
    Seeds(Profile),
    /// The outcome of this script is another.
    Script(&'static str),
}

use Finder::{Script, Seeds};
use Mutation as M;

/// The one table: every rule, and what finds it broken.
const TABLE: &[(Mutation, Finder)] = &[
    (M::AdoptEpochBeforeLog, Seeds(Profile::Storm)),
    (M::VoteForAnyPosition, Seeds(Profile::Storm)),
    (M::VoteWithoutMarkers, Seeds(Profile::Figure8)),
    (M::VoteBeforePut, Seeds(Profile::Crashes)),
    (M::VoteTwice, Seeds(Profile::Storm)),
    (M::CountEarlierEpoch, Seeds(Profile::Storm)),
    (M::CountMarkerBeforePut, Script("raft_5_4_2_commit")),
    (M::CountBeforeFlush, Seeds(Profile::Crashes)),
    (M::TakeStaleAnswer, Seeds(Profile::Storm)),
    (M::DivergeBeforeReset, Script("kip_595_reset_trimmed")),
    (M::CutKeepsEpochs, Seeds(Profile::Storm)),
    (M::CutToLeadersEnd, Seeds(Profile::Storm)),
    (M::AppendBeforeCut, Script("hole_03_cut")),
    (M::ForgetRecoveryCut, Script("hole_03_recovery_cut")),
    (M::PassMajority, Seeds(Profile::Storm)),
    (M::PassCopies, Seeds(Profile::Mixed)),
    (M::PassInSync, Seeds(Profile::Mixed)),
    (M::NoProvisional, Script("hole_10_provisional")),
    (M::JoinBehind, Seeds(Profile::Mixed)),
    (M::CleanVoteWhileRecovering, Seeds(Profile::PageCache)),
    (M::CountRecovering, Seeds(Profile::PageCache)),
    (M::ForgetRecovering, Seeds(Profile::PageCache)),
    (M::RecoverToHighWatermark, Script("hole_06_recovery_target")),
    (M::CountOldIncarnation, Seeds(Profile::PageCache)),
    (M::UncleanMajority, Seeds(Profile::PageCache)),
    (M::UnanimousCuresNobody, Seeds(Profile::PageCache)),
    (M::UnanimousAsksWitness, Script("hole_07_witness")),
    (M::UnanimousCuresLater, Seeds(Profile::Blackout)),
    (M::StayUncommittable, Seeds(Profile::PageCache)),
    (M::WitnessAtOnce, Seeds(Profile::Witness)),
    (M::JoinBehindWitness, Seeds(Profile::Witness)),
    (M::MeetLostEpochs, Script("force_epochs")),
    (M::VoteForOldConfiguration, Script("raft_6_old_configuration")),
    (M::ChangeBeforeConfiguration, Seeds(Profile::Members)),
    (M::ChangeBeforeEpoch, Seeds(Profile::Members)),
    (M::ChangeBeforeCommit, Script("raft_6_commit")),
    (M::ChangeWhileRecovering, Script("raft_6_recovering")),
    (M::CampaignOutside, Script("raft_6_outside")),
    (M::CountBeforeJoining, Script("raft_6_rejoin")),
    (M::PromoteBehind, Script("raft_6_rejoin")),
    (M::JoinUnaware, Script("raft_6_rejoin")),
    (M::LearnAsWitness, Script("raft_6_witness_learns")),
    (M::PreVoteAgainstLeader, Script("kip_996_pre_vote")),
    (M::NoPatience, Script("raft_5_2_patience")),
    (M::WaitAlike, Script("raft_5_2_voters")),
    (M::HurryFirstElection, Script("raft_5_2_first")),
    (M::NoPreVote, Script("kip_996_pre_vote")),
    (M::NoCheckQuorum, Script("thesis_6_2_check_quorum")),
    (M::IgnoreLaterEpoch, Script("raft_5_1_terms")),
    (M::TransferEarly, Script("thesis_3_10_transfer")),
    (M::TransferToUnfit, Script("thesis_3_10_transfer")),
    (M::TellLatestEarly, Seeds(Profile::Storm)),
    (M::IgnoreDirectory, Seeds(Profile::Wipe)),
    (M::LeadUndeleted, Script("kip_107_deletions")),
];

fn script_differs(mutation: Mutation, name: &str) -> bool {
    let scripts = golden::scripts();
    let (_, written) = scripts.iter().find(|(path, _)| path.file_stem().unwrap() == name).expect("the script is there");
    let ran = std::panic::catch_unwind(|| with_broken(Some(mutation), || golden::run(written)));
    ran.map_or(true, |ran| ran != *written)
}

fn seed_fails(mutation: Mutation, profile: Profile, seed: u64) -> Option<String> {
    let remembers = mutation != Mutation::ForgetRecovering;
    let ran = std::panic::catch_unwind(|| with_broken(Some(mutation), || seeds::run(seed, Some(profile), remembers)));
    match ran {
        Ok(world) => world.violation.map(|violation| violation.invariant.to_owned()),
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
fn scripts_notice_their_mutations() {
    for (mutation, finder) in TABLE {
        if let Script(name) = finder {
            assert!(script_differs(*mutation, name), "{name} does not notice {mutation:?}");
            println!("noticed {mutation:?}: script {name}");
        }
    }
}

/// Takes minutes in a debug build: `cargo test --release -p millrace-raft --test cluster -- --ignored`.
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
            Some((seed, by)) => println!("noticed {mutation:?}: {profile:?} seed {seed} by {by}"),
            None => missed.push(*mutation),
        }
    }
    let _ = std::panic::take_hook();
    assert!(missed.is_empty(), "not found: {missed:?}");
}

/// Tells one seed of one mutation: `MILLRACE_MUTATION=VoteTwice MILLRACE_SEEDS=7`.
#[test]
#[ignore = "a tool"]
fn tell() {
    let (Some(name), Some(seed)) = (crate::setting("MILLRACE_MUTATION"), crate::setting("MILLRACE_SEEDS")) else {
        return;
    };
    let (mutation, finder) = TABLE.iter().find(|row| format!("{:?}", row.0) == name).expect("a mutation");
    let Seeds(profile) = finder else { return };
    let remembers = *mutation != Mutation::ForgetRecovering;
    let lines = with_broken(Some(*mutation), || seeds::trace(seed.parse().unwrap(), *profile, remembers));
    panic!("{}", lines.join("\n"));
}
