//! A partition loses two of three replicas for good: the operator has the survivor go on, and nobody who comes back undoes it.

#![allow(clippy::expect_used, reason = "a test ends where an expectation fails")]

mod common;

use common::cluster::Cluster;
use common::{DEADLINE, program, text, until};
use kafka_protocol::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use kafka_protocol::messages::{BrokerId, CreateTopicsRequest, TopicName};
use serde_json::{Value, json};

const TOPIC: &str = "dear";
const REPLICAS: [i32; 3] = [1, 2, 4];

/// Creates the topic with one partition on [`REPLICAS`]: the brokers 1 and 3, which survive, decide the metadata.
fn create(cluster: &Cluster) {
    let replicas = REPLICAS.map(BrokerId).to_vec();
    let assignment = CreatableReplicaAssignment::default().with_partition_index(0).with_broker_ids(replicas);
    let topic = CreatableTopic::default()
        .with_name(TopicName(text(TOPIC)))
        .with_num_partitions(-1)
        .with_replication_factor(-1)
        .with_assignments(vec![assignment]);
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
    until("the topic is created", || {
        let code = cluster.broker(1).connect().call(&request, 7).topics.first().expect("one topic").error_code;
        // Not all brokers are registered yet.
        (code == 0).then_some(())
    });
}

/// Writes to the leader; the offset.
fn write(cluster: &Cluster, value: &str) -> i64 {
    until("it is written", || {
        let leader = cluster.leader_by(1, TOPIC, 0)?;
        cluster.broker(leader).connect().produce(TOPIC, 0, &[value]).ok()
    })
}

fn force(cluster: &Cluster, body: &Value) -> (u16, Value) {
    let path = format!("/api/v1/topics/{TOPIC}/partitions/0/force-configuration");
    cluster.broker(1).json("POST", &path, &body.to_string())
}

fn refused(cluster: &Cluster, body: &Value) -> String {
    let (status, answer) = force(cluster, body);
    assert_eq!(status, 409, "{answer}");
    answer["error"].as_str().expect("a name").to_owned()
}

/// What `millrace partition` prints.
fn run(args: &[&str]) -> Value {
    let output = program().arg("partition").args(args).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one document")
}

#[test]
fn the_survivor_goes_on_and_those_who_come_back_follow() {
    let mut cluster = Cluster::start(4, &[], &[]);
    create(&cluster);
    for n in 0..5 {
        assert_eq!(write(&cluster, &format!("all {n}")), n);
    }
    cluster.await_in_sync(1, TOPIC, 3);
    assert_eq!(refused(&cluster, &json!({"voters": [1], "accept_loss": true})), "LEADER_KNOWN");

    // One disk is gone; the other broker is away, and its replica knows of nothing.
    cluster.kill(2);
    cluster.kill(4);
    std::fs::remove_dir_all(cluster.directory(2)).expect("removed");
    until("no leader is known", || {
        let refused = refused(&cluster, &json!({"voters": [1], "accept_loss": true}));
        (refused == "ELECTION_MAY_HELP").then_some(())
    });
    until("no election can help any more", || {
        let refused = refused(&cluster, &json!({"voters": [1, 3], "accept_loss": true}));
        (refused == "UNKNOWN_VOTER").then_some(())
    });
    assert_eq!(refused(&cluster, &json!({"voters": [1]})), "LOSS_NOT_ACCEPTED");
    assert_eq!(refused(&cluster, &json!({"voters": [4], "accept_loss": true})), "NOT_NAMED");
    let path = format!("/api/v1/topics/{TOPIC}/partitions/9/force-configuration");
    let (status, _) = cluster.broker(1).json("POST", &path, r#"{"voters": [1], "accept_loss": true}"#);
    assert_eq!(status, 404);

    let admin = cluster.broker(1).admin.to_string();
    let held = run(&["describe", TOPIC, "0", "--json", "--admin", &admin]);
    assert_eq!((&held["broker"], &held["replica"]["log_end_offset"]), (&json!(1), &json!(5)));
    let forced = run(&["force", TOPIC, "0", "--voters", "1", "--accept-loss", "--json", "--admin", &admin]);
    assert_eq!((&forced["generation"], &forced["voters"]), (&json!(1), &json!([1])));
    assert_eq!(forced["log_end_offset"], 5);
    assert_eq!(write(&cluster, "alone"), 5);

    cluster.restart(4);
    cluster.restart(2);
    cluster.await_in_sync(1, TOPIC, 3);
    let (begun, mut offset) = (std::time::Instant::now(), 0);
    while offset < 20 {
        offset = write(&cluster, "all again");
        assert!(begun.elapsed() < DEADLINE, "writes go on");
    }
    // With the survivor gone the others have everything.
    until("everything everywhere", || {
        let end = |id: usize| cluster.partitions(id, TOPIC)[0]["replica"]["log_end_offset"].as_i64();
        [1, 2, 4].into_iter().all(|id| end(id) == Some(offset + 1)).then_some(())
    });
    cluster.kill(1);
    let leader = until("another leader", || cluster.leader_by(3, TOPIC, 0).filter(|leader| *leader != 1));
    let values: Vec<String> =
        cluster.broker(leader).connect().fetch_all(TOPIC, 0).into_iter().map(|(_, value)| value).collect();
    assert_eq!(values[..6], ["all 0", "all 1", "all 2", "all 3", "all 4", "alone"]);
    assert_eq!(values.len(), usize::try_from(offset + 1).expect("small"));
}
