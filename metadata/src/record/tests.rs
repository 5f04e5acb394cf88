//! A journal replays to the image that wrote it, or says what is wrong with it.

use super::*;
use crate::command::{Command, ConfigOperation, ConfigResource, CreateTopics, NewTopic, ResourceChange, SetConfigs};
use crate::image::tests::broker;
use crate::topic_ids::TopicIds;
use crate::{apply, plan};
use millrace_types::BrokerId;

fn local() -> Local {
    Local { broker: Some(BrokerId(1)), ..Local::default() }
}

/// A cluster with a few topics and settings, and its journal.
fn journal() -> (Image, Vec<Vec<u8>>) {
    let mut image = Image::new(local());
    let mut records = Vec::new();
    let mut ids = TopicIds::new(3);
    let found = Entry::new(vec![
        Change::Genesis { cluster_id: "c".to_owned(), acceptors: Vec::new() },
        Change::RegisterBroker(broker(1)),
    ]);
    apply(&mut image, &found).unwrap();
    records.push(entry_record(&found, &image).unwrap());
    let topic = |name: &str| NewTopic { partitions: 3, ..NewTopic::with_defaults(name) };
    let set = ResourceChange {
        resource: ConfigResource::Broker(None),
        operation: ConfigOperation::Replace(vec![("log.retention.ms".to_owned(), Some("9".to_owned()))]),
    };
    let metrics = ResourceChange {
        resource: ConfigResource::ClientMetrics("m".to_owned()),
        operation: ConfigOperation::Replace(vec![("metrics".to_owned(), Some("*".to_owned()))]),
    };
    let commands = [
        Command::CreateTopics(CreateTopics { topics: vec![topic("a"), topic("b.c")], validate_only: false }),
        Command::SetConfigs(SetConfigs { resources: vec![set, metrics], validate_only: false }),
        Command::EnsureInternalTopic { name: crate::CONSUMER_OFFSETS.to_owned() },
    ];
    for command in commands {
        let entry = plan(&image, &mut ids, command).entry.unwrap();
        apply(&mut image, &entry).unwrap();
        records.push(entry_record(&entry, &image).unwrap());
    }
    (image, records)
}

fn replay<'a>(records: impl IntoIterator<Item = &'a Vec<u8>>) -> Result<Image, ReplayError> {
    let mut replay = Replay::new(local());
    for record in records {
        replay.feed(record)?;
    }
    replay.finish()
}

fn assert_same(left: &Image, right: &Image) {
    assert_eq!(format!("{left:?}"), format!("{right:?}"));
}

#[test]
fn entries_replay_to_the_image_that_wrote_them() {
    let (image, records) = journal();
    let replayed = replay(&records).unwrap();
    assert_same(&replayed, &image);
    assert_eq!(replayed.hash(), image.hash());
    assert!(replayed.colliding("b_c").is_some());
}

#[test]
fn a_snapshot_stands_for_the_entries_before_it() {
    let (image, records) = journal();
    let half = replay(&records[..2]).unwrap();
    let snapshot = snapshot_records(&half).unwrap();
    assert_same(&replay(snapshot.iter().chain(&records[2..])).unwrap(), &image);
    assert_same(&replay(&snapshot_records(&image).unwrap()).unwrap(), &image);
}

#[test]
fn a_large_snapshot_has_several_parts() {
    let (mut image, _) = journal();
    let mut ids = TopicIds::new(5);
    let topics = (0..20)
        .map(|number| NewTopic { partitions: 400, ..NewTopic::with_defaults(format!("large-{number}")) })
        .collect::<Vec<_>>();
    for _ in 0..10 {
        let topics = topics.iter().map(|topic| NewTopic { name: format!("{}x", topic.name), ..topic.clone() });
        let topics: Vec<_> =
            topics.map(|topic| NewTopic { name: format!("{}{}", topic.name, image.epoch()), ..topic }).collect();
        let command = Command::CreateTopics(CreateTopics { topics, validate_only: false });
        let entry = plan(&image, &mut ids, command).entry.unwrap();
        apply(&mut image, &entry).unwrap();
    }
    let records = snapshot_records(&image).unwrap();
    assert!(records.len() > 2, "{}", records.len());
    assert!(records.iter().all(|record| record.len() < 4 * PART_BYTES));
    assert_same(&replay(&records).unwrap(), &image);
    let error = replay(&records[..records.len() - 1]).unwrap_err();
    assert!(matches!(error, ReplayError::Order { .. }), "{error}");
    let error = replay([&records[0], &records[2]]).unwrap_err();
    assert!(matches!(error, ReplayError::Order { .. }), "{error}");
}

#[test]
fn a_directory_goes_on_with_its_own_broker_and_cluster() {
    let (_, records) = journal();
    let finish = |cluster: &str, broker: &Broker| {
        let mut replay = Replay::new(local());
        records.iter().for_each(|record| replay.feed(record).unwrap());
        replay.restore_for(cluster, broker).map(|restored| restored.image)
    };
    assert!(finish("c", &broker(1)).is_ok());
    assert!(matches!(finish("d", &broker(1)).unwrap_err(), ReplayError::OtherCluster { .. }));
    let renamed = Broker { id: BrokerId(2), ..broker(1) };
    let error = finish("c", &renamed).unwrap_err();
    assert_eq!(error.to_string(), "the data directory belongs to broker 1, but node.id is 2");
    assert!(finish("c", &broker(2)).is_ok(), "another broker with a directory of its own");
}

#[test]
fn a_missing_entry_is_found() {
    let (_, mut records) = journal();
    records.remove(1);
    assert!(matches!(replay(&records).unwrap_err(), ReplayError::Order { number: 1, .. }));
    let (_, mut records) = journal();
    records.insert(1, records[1].clone());
    assert!(matches!(replay(&records).unwrap_err(), ReplayError::Order { number: 2, .. }));
}

#[test]
fn a_changed_entry_breaks_the_chain() {
    let (_, mut records) = journal();
    let text = String::from_utf8(records[1].clone()).unwrap();
    records[1] = text.replace("b.c", "b.d").into_bytes();
    assert!(matches!(replay(&records).unwrap_err(), ReplayError::Hash { epoch: 2, .. }));
}

#[test]
fn what_is_no_record_is_refused() {
    for bytes in ["", "{}", "[]", "null", r#"{"entry":{}}"#, r#"{"other":1}"#] {
        let error = replay([&bytes.as_bytes().to_vec()]).unwrap_err();
        assert!(matches!(error, ReplayError::Malformed { number: 0, .. }), "{bytes}: {error}");
    }
    let later = r#"{"snapshot":{"format":9,"epoch":1,"hash":"","parts":0}}"#;
    assert!(matches!(replay([&later.as_bytes().to_vec()]).unwrap_err(), ReplayError::Format { found: 9 }));
    let part = r#"{"part":{"number":0,"changes":[]}}"#;
    assert!(matches!(replay([&part.as_bytes().to_vec()]).unwrap_err(), ReplayError::Order { number: 0, .. }));
}

#[test]
fn an_entry_that_does_not_fit_is_refused() {
    let (mut image, mut records) = journal();
    let again = Entry::new(vec![Change::Genesis { cluster_id: "c".to_owned(), acceptors: Vec::new() }]);
    image.epoch += 1;
    records.push(entry_record(&again, &image).unwrap());
    let error = replay(&records).unwrap_err();
    assert!(matches!(error, ReplayError::Apply { number: 4, source: ApplyError::Genesis }), "{error}");
}

/// What a field that a later release added means for the chain: this release passes over it, yet its hash counts.
#[test]
fn the_chain_covers_the_bytes_as_they_were_written() {
    let changes = r#"[{"kind":"Genesis","version":2,"minReader":1,"required":true,"body":{"clusterId":"c","region":"x"}},{"kind":"Hint","version":1,"minReader":1,"required":false,"body":null}]"#;
    let hash = ChainHash::default().extend(changes.as_bytes());
    let record = format!(r#"{{"entry":{{"epoch":1,"hash":"{hash}","changes":{changes}}}}}"#);
    let image = replay([&record.into_bytes()]).unwrap();
    assert_eq!((image.cluster_id(), image.epoch(), image.hash()), ("c", 1, hash));
}
