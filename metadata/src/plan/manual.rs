//! Replicas that the client chose itself.

use millrace_types::{BrokerId, ErrorCode};

use crate::image::Image;
use crate::outcome::ItemError;

/// Checks the replicas of one partition: registered brokers, none twice, as many as the partitions before have.
pub(super) fn check_replicas(image: &Image, replicas: &[BrokerId], factor: Option<usize>) -> Result<(), ItemError> {
    let error = |text: String| {
        Err(ItemError::new(ErrorCode::InvalidReplicaAssignment, format!("The manual partition assignment {text}")))
    };
    if replicas.is_empty() {
        return error("includes an empty replica list.".to_owned());
    }
    let mut sorted = replicas.to_vec();
    sorted.sort_unstable();
    for (at, id) in sorted.iter().enumerate() {
        let Some(broker) = image.broker(*id) else {
            return error(format!("includes broker {id}, but no such broker is registered."));
        };
        if !broker.holds_data() {
            return error(format!("includes broker {id}, which is a witness and holds no records."));
        }
        if at > 0 && sorted.get(at - 1) == Some(id) {
            return error(format!("includes the broker {id} more than once."));
        }
    }
    match factor {
        Some(factor) if factor != replicas.len() => error(format!(
            "includes a partition with {} replica(s), but this is not consistent with previous partitions, which have \
             {factor} replica(s).",
            replicas.len()
        )),
        _ => Ok(()),
    }
}

/// The error of a topic that shall have more replicas than there are brokers.
pub(super) fn too_few_brokers(factor: i16, image: &Image) -> ItemError {
    let brokers = image.data_brokers().count();
    // Kafka's words, as long as they are true: a witness is registered, too.
    let kind = if brokers == image.brokers().len() { "broker(s)" } else { "broker(s) that hold data" };
    let message = format!(
        "Unable to replicate the partition {factor} time(s): The target replication factor of {factor} cannot be \
         reached because only {brokers} {kind} are registered."
    );
    ItemError::new(ErrorCode::InvalidReplicationFactor, message)
}
