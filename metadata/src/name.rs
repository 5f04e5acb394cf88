//! Kafka's rules for topic names.

/// The topic in which consumer groups keep their offsets.
pub const CONSUMER_OFFSETS: &str = "__consumer_offsets";

/// The log of Kafka's controllers, which clients know by this name. There is none here; a topic of this name would be
/// taken for it.
const CLUSTER_METADATA: &str = "__cluster_metadata";

/// The longest topic name, in characters.
const MAX_NAME_LENGTH: usize = 249;

/// Whether the cluster keeps its own state in the topic.
#[must_use]
pub fn is_internal(name: &str) -> bool {
    name == CONSUMER_OFFSETS
}

/// Whether no topic may have the name, though it is a valid one.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    name == CLUSTER_METADATA
}

/// Checks a topic's name; the texts are those of Kafka's `Topic.validate`.
///
/// # Errors
/// What is wrong with the name.
pub fn check_topic_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("Topic name is invalid: the empty string is not allowed".to_owned());
    }
    if name == "." {
        return Err("Topic name is invalid: '.' is not allowed".to_owned());
    }
    if name == ".." {
        return Err("Topic name is invalid: '..' is not allowed".to_owned());
    }
    if name.chars().count() > MAX_NAME_LENGTH {
        return Err(format!(
            "Topic name is invalid: the length of '{name}' is longer than the max allowed length {MAX_NAME_LENGTH}"
        ));
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')) {
        return Err(format!(
            "Topic name is invalid: '{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' \
             and '-'"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_kafkas_rules() {
        for good in ["a", "a.b", "a_b-C9", "...", &"x".repeat(249)] {
            assert_eq!(check_topic_name(good), Ok(()), "{good}");
        }
        for bad in ["", ".", "..", "a b", "a/b", "ä", "a\0", &"x".repeat(250)] {
            assert!(check_topic_name(bad).is_err(), "{bad}");
        }
    }
}
