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
