//! I18: who was started again has nothing to say as who it was before (rule R8).

use std::collections::BTreeMap;

use millrace_raft::Peer;
use millrace_types::BrokerId;

/// A message of `from` reaches a replica of the broker `at`, which hears these processes.
///
/// # Errors
/// It does not hear that one.
pub fn check(from: &Peer, at: BrokerId, heard: &BTreeMap<BrokerId, Peer>) -> Result<(), String> {
    match heard.get(&from.key.broker) {
        Some(known) if known == from => Ok(()),
        _ => Err(format!("{from:?} speaks to {at}, which hears {heard:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_raft::ReplicaKey;
    use millrace_types::DirectoryId;

    #[test]
    fn an_earlier_process_is_found() {
        let key = ReplicaKey { broker: BrokerId(2), directory: DirectoryId::from_u128(1) };
        let now = Peer { key, incarnation: 4 };
        let heard = BTreeMap::from([(BrokerId(2), now)]);
        assert_eq!(check(&now, BrokerId(1), &heard), Ok(()));
        assert!(check(&Peer { incarnation: 3, ..now }, BrokerId(1), &heard).is_err());
        assert!(check(&now, BrokerId(1), &BTreeMap::new()).is_err());
    }
}
