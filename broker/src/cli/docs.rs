//! `millrace docs`: prints the tables that the documents are generated from.

use clap::{Args, ValueEnum};
use millrace_node::api::APIS;

use super::CliResult;
use crate::metrics::METRICS;

/// Arguments of `docs`.
#[derive(Debug, Args)]
pub struct DocsArgs {
    /// The table to print.
    table: Table,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Table {
    /// Every configuration key.
    Config,
    /// Every metric.
    Metrics,
    /// Every API served, with its versions.
    Apis,
}

/// Prints the table as markdown.
///
/// # Errors
/// None.
pub(super) fn run(args: &DocsArgs) -> CliResult {
    let text = match args.table {
        Table::Config => millrace_metadata::config::markdown(),
        Table::Metrics => metrics(),
        Table::Apis => apis(),
    };
    println!("{text}");
    Ok(())
}

fn metrics() -> String {
    let mut text = String::from("| metric | kind | unit | labels | what it says |\n| --- | --- | --- | --- | --- |\n");
    for metric in METRICS {
        let unit = metric.unit.as_str();
        let labels = if metric.labels.is_empty() { "-" } else { metric.labels };
        text += &format!("| `{}` | {:?} | {unit} | {labels} | {} |\n", metric.name, metric.kind, metric.doc);
    }
    text
}

fn apis() -> String {
    let mut text = String::from("| key | API | versions | advertised |\n| --- | --- | --- | --- |\n");
    for api in APIS {
        let (key, name) = (api.key as i16, format!("{:?}", api.key));
        text += &format!("| {key} | {name} | {}-{} | {}-{} |\n", api.min, api.max, api.advertised_min, api.max);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The highest key of Kafka 4.3.
    const HIGHEST: i16 = 92;

    /// The keys of the first column of a row: `1`, `1, 2` or `1 to 3, 5`.
    fn keys(row: &str) -> Vec<i16> {
        let column = row.strip_prefix("| ").and_then(|row| row.split(" |").next()).unwrap_or_default();
        let range = |part: &str| {
            let (first, last) = part.split_once(" to ").unwrap_or((part, part));
            Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
        };
        column.split(',').filter_map(range).flatten().collect()
    }

    #[test]
    fn every_api_is_served_or_has_its_reason() {
        let document = include_str!("../../../docs/compatibility.md");
        let missing: Vec<i16> = document.lines().flat_map(keys).collect();
        let served: BTreeSet<i16> = APIS.iter().map(|api| api.key as i16).collect();
        let both: Vec<_> = missing.iter().filter(|key| served.contains(key)).collect();
        assert!(both.is_empty(), "served and said not to be: {both:?}");
        let all: BTreeSet<i16> = missing.iter().chain(&served).copied().collect();
        assert_eq!(all, (0..=HIGHEST).collect(), "each has one row");
        assert_eq!(missing.len() + served.len(), all.len(), "and no second one");
    }
}
