//! The configuration of client metrics subscriptions.

use super::*;
use crate::command::{ConfigOperation, ConfigOperationKind, ConfigResource, ResourceChange, SetConfigs};
use ConfigOperationKind::{Append, Delete, Set};

type Operation<'a> = (&'a str, ConfigOperationKind, Option<&'a str>);

fn change(name: &str, operations: &[Operation<'_>]) -> ResourceChange {
    let operations =
        operations.iter().map(|(key, kind, value)| ((*key).to_owned(), *kind, value.map(str::to_owned))).collect();
    let resource = ConfigResource::ClientMetrics(name.to_owned());
    ResourceChange { resource, operation: ConfigOperation::Incremental(operations) }
}

fn alter(cluster: &mut Cluster, resources: Vec<ResourceChange>) -> Vec<Result<(), ErrorCode>> {
    match cluster.run(Command::SetConfigs(SetConfigs { resources, validate_only: false })) {
        CommandResult::SetConfigs(results) => {
            results.into_iter().map(|(_, outcome)| outcome.map_err(|error| error.code)).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn step(cluster: &mut Cluster, name: &str, operations: &[Operation<'_>]) -> Result<(), ErrorCode> {
    alter(cluster, vec![change(name, operations)]).remove(0)
}

fn value<'a>(cluster: &'a Cluster, name: &str, key: &str) -> Option<&'a str> {
    cluster.image.client_metrics().get(name)?.get(key).map(String::as_str)
}

#[test]
fn a_subscription_comes_with_its_first_key_and_goes_with_its_last() {
    let mut cluster = Cluster::new(1, &[]);
    let set = [("metrics", Set, Some("a., b.")), ("interval.ms", Set, Some("100"))];
    assert_eq!(step(&mut cluster, "s", &set), Ok(()));
    assert_eq!((value(&cluster, "s", "metrics"), value(&cluster, "s", "interval.ms")), (Some("a.,b."), Some("100")));
    assert_eq!(step(&mut cluster, "s", &[("metrics", Append, Some("c."))]), Ok(()));
    assert_eq!(value(&cluster, "s", "metrics"), Some("a.,b.,c."));
    assert_eq!(step(&mut cluster, "s", &[("metrics", Delete, None)]), Ok(()));
    assert_eq!(value(&cluster, "s", "interval.ms"), Some("100"));
    assert_eq!(step(&mut cluster, "s", &[("interval.ms", Delete, None)]), Ok(()));
    assert!(cluster.image.client_metrics().is_empty());
}

#[test]
fn values_are_refused_with_kafkas_codes() {
    let mut cluster = Cluster::new(1, &[]);
    let (request, config) = (ErrorCode::InvalidRequest, ErrorCode::InvalidConfig);
    let long = "x".repeat(5_000);
    let cases = [
        ("nonsense", "1", request),
        ("interval.ms", "99", request),
        ("interval.ms", "3600001", request),
        ("interval.ms", "x", config),
        ("match", "client_id", config),
        ("match", "client_id=a=b", config),
        ("match", "client_id=", config),
        ("match", "planet=earth", config),
        ("metrics", long.as_str(), config),
    ];
    for (key, bad, code) in cases {
        assert_eq!(step(&mut cluster, "s", &[(key, Set, Some(bad))]), Err(code), "{key}={bad}");
    }
    assert!(cluster.image.client_metrics().is_empty());
    let selectors = "client_software_name = apache-.*,client_id=x";
    assert_eq!(step(&mut cluster, "s", &[("match", Set, Some(selectors))]), Ok(()));
    assert_eq!(value(&cluster, "s", "match"), Some(selectors));
}

#[test]
fn names_and_their_number_are_bounded() {
    let mut cluster = Cluster::new(1, &[]);
    let set = [("interval.ms", Set, Some("100"))];
    assert_eq!(step(&mut cluster, "", &set), Err(ErrorCode::InvalidRequest));
    assert_eq!(step(&mut cluster, &"n".repeat(250), &set), Err(ErrorCode::InvalidRequest));
    let many = (0..1_001).map(|number| change(&number.to_string(), &set)).collect();
    let outcomes = alter(&mut cluster, many);
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1_000);
    assert_eq!(outcomes[1_000], Err(ErrorCode::PolicyViolation));
    assert_eq!(step(&mut cluster, "one more", &set), Err(ErrorCode::PolicyViolation));
    assert_eq!(step(&mut cluster, "7", &[("interval.ms", Set, Some("200"))]), Ok(()), "those that exist can change");
}
