//! Keys from a TOML file: `num.partitions = 3`, or `partitions = 3` under `[num]`, which TOML holds to be the same.

use std::fs;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::layers::Values;
use super::place::Source;
use crate::error::StartError;

/// Sets every key of the file.
pub(super) fn read(path: &Path, values: &mut Values) -> Result<(), StartError> {
    let text = fs::read_to_string(path).map_err(|source| StartError::ConfigFile { path: path.to_owned(), source })?;
    parse(&path.display().to_string(), &text, values)
}

/// Sets every key of a file's text; `name` says which file it is.
pub(super) fn parse(name: &str, text: &str, values: &mut Values) -> Result<(), StartError> {
    let file = Source { name, text };
    let table = DeTable::parse(text).map_err(|error| StartError::ConfigSyntax {
        place: file.place(&error.span().unwrap_or(0..0)),
        reason: error.message().to_owned(),
    })?;
    set(file, "", table.get_ref(), values)
}

/// Sets every key of a table and of the tables in it.
fn set(file: Source<'_>, prefix: &str, table: &DeTable<'_>, values: &mut Values) -> Result<(), StartError> {
    for (key, value) in table {
        let name = if prefix.is_empty() { key.get_ref().to_string() } else { format!("{prefix}.{}", key.get_ref()) };
        match value.get_ref() {
            DeValue::Table(table) => set(file, &name, table, values)?,
            scalar => {
                let place = file.place(&key.span());
                match text(scalar) {
                    Some(value) => values.set(&name, &value, place)?,
                    None => {
                        let reason = format!("`{name}` is a {}, which no key takes", scalar.type_str());
                        return Err(StartError::ConfigSyntax { place, reason });
                    }
                }
            }
        }
    }
    Ok(())
}

/// A value as the table of keys takes it: an array is a list.
fn text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok().map(|n| n.to_string()),
        DeValue::Boolean(truth) => Some(truth.to_string()),
        DeValue::Array(elements) => {
            let elements: Option<Vec<String>> = elements
                .iter()
                .map(|element| if element.get_ref().is_array() { None } else { text(element.get_ref()) })
                .collect();
            elements.map(|elements| elements.join(","))
        }
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}
