//! What a core says of its past: elections, in-sync replicas, recoveries.

use millrace_raft::{Begin, End, Tally};

use crate::script::Stage;

fn play(stage: &mut Stage, commands: &[&str]) {
    commands.iter().for_each(|command| drop(stage.run(command)));
}

fn tally(stage: &Stage, broker: usize) -> Tally {
    stage.tally(broker).expect("it runs")
}

#[test]
fn elections_and_in_sync_replicas_are_counted() {
    let mut stage = Stage::new();
    play(&mut stage, &["start", "run 100"]);
    let first = tally(&stage, 1);
    assert_eq!((first.elections_begun, first.elections_won, first.began), (1, 1, Some(Begin::First)));
    assert_eq!((first.in_sync_shrinks, first.in_sync_expansions), (0, 0), "what a leader begins with is no news");
    play(&mut stage, &["kill 3", "reset 3", "run 200"]);
    assert_eq!((tally(&stage, 1).in_sync_shrinks, tally(&stage, 1).in_sync_expansions), (1, 0));
    play(&mut stage, &["start 3", "run 500"]);
    assert_eq!((tally(&stage, 1).in_sync_shrinks, tally(&stage, 1).in_sync_expansions), (1, 1));
    play(&mut stage, &["transfer 1 2", "run 500"]);
    assert_eq!((tally(&stage, 1).leaderships_ended, tally(&stage, 1).ended), (1, Some(End::HandedOver)));
    assert_eq!((tally(&stage, 2).elections_won, tally(&stage, 2).began), (1, Some(Begin::HandedOver)));
    play(&mut stage, &["kill 2", "reset 2", "run 1500"]);
    let won = [1, 3].map(|broker| tally(&stage, broker)).into_iter().find(|one| one.began == Some(Begin::NoLeader));
    assert!(won.is_some_and(|one| one.elections_won > 0 && one.unclean_recoveries == 0));
    play(&mut stage, &["kill 3", "reset 3", "run 1500"]);
    assert_eq!(tally(&stage, 1).ended, Some(End::NoMajority));
}

#[test]
fn a_recovery_by_all_says_what_may_be_lost() {
    let mut stage = Stage::new();
    play(&mut stage, &["cluster 3 page-cache", "start", "run 100", "produce 1 3", "run 400", "produce 1 2", "run 10"]);
    play(&mut stage, &["power-loss 1 0", "power-loss 2 5", "power-loss 3 0", "start 1 2", "run 1000"]);
    assert_eq!(tally(&stage, 2).unclean_recoveries, 0, "the third is waited for");
    play(&mut stage, &["start 3", "run 1000"]);
    let recovered = tally(&stage, 2);
    assert_eq!((recovered.unclean_recoveries, recovered.elections_won), (1, 1));
    let (high_watermark, end) = recovered.recovered.expect("it says so");
    assert_eq!(end, 5, "all that the winner has kept");
    assert!(high_watermark <= end);
}
