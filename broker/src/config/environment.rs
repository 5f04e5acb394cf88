//! Keys from the environment: `MILLRACE_NUM_PARTITIONS` is `num.partitions`.

use std::collections::BTreeMap;

use millrace_metadata::config::broker_keys;

use super::layers::Values;
use crate::error::StartError;

/// What variables of this program begin with.
const PREFIX: &str = "MILLRACE_";

/// Variables that are no keys: they belong to flags of the commands.
const OTHERS: [&str; 3] = ["MILLRACE_CONFIG", "MILLRACE_BOOTSTRAP", "MILLRACE_BOOTSTRAP_SERVER"];

/// Sets every key that has a variable; a variable that is no key's is refused, since it is a slip.
pub(super) fn read(environment: impl Iterator<Item = (String, String)>, values: &mut Values) -> Result<(), StartError> {
    let keys: BTreeMap<String, &'static str> = broker_keys().map(|key| (variable(key.name), key.name)).collect();
    // In the order of the names, so that the same environment gives the same error.
    let mine: BTreeMap<String, String> =
        environment.filter(|(name, _)| name.starts_with(PREFIX) && !OTHERS.contains(&name.as_str())).collect();
    for (name, value) in mine {
        let place = format!("environment variable {name}");
        match keys.get(&name) {
            Some(key) => values.set(key, &value, place)?,
            None => {
                let guess = name.trim_start_matches(PREFIX).to_ascii_lowercase().replace('_', ".");
                values.set(&guess, &value, place)?;
            }
        }
    }
    Ok(())
}

/// The variable of a key.
fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_ascii_uppercase().replace(['.', '-'], "_"))
}
