//! Sweeps seeds: `millrace-sim --cluster --seeds 1000`, or replays one: `millrace-sim --cluster --seed 7 --trace`.

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use millrace_sim::Counts;
use millrace_sim::mutation::{self, Catcher};
use millrace_sim::options::{Kinds, Profile};
use millrace_sim::sweep::{self, Sweep, Totals};

/// A run allocates more than anything else; this takes a tenth less time than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Deterministic simulation of brokers.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many seeds to run.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Only this seed.
    #[arg(long)]
    seed: Option<u64>,
    /// Several brokers: so many, or as many as the seed says. Without it there is one.
    #[arg(long, value_name = "BROKERS", num_args = 0..=1, default_missing_value = "0")]
    cluster: Option<usize>,
    /// Partitions move in every run.
    #[arg(long, requires = "cluster")]
    moves: bool,
    /// How many threads run seeds.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Leave out all faults but those of a kind.
    #[arg(long, value_enum, default_value_t = Faults::All)]
    faults: Faults,
    /// Go on after a violation, and list all seeds with one.
    #[arg(long)]
    go_on: bool,
    /// Print what happens.
    #[arg(long)]
    trace: bool,
    /// Break this rule, to see whether the checkers notice; needs the feature `mutations`.
    #[arg(long)]
    mutation: Option<String>,
    /// Break each rule in turn, and fail if the simulator misses one that it has to notice.
    #[arg(long)]
    all_mutations: bool,
    /// List the rules that can be broken.
    #[arg(long)]
    list: bool,
}

/// Kinds of faults, as they are named here.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Faults {
    /// Everything that is drawn.
    All,
    /// Processes and machines end, or stand still.
    Crash,
    /// Connections and ways between machines, and leaders that are asked to hand over.
    Network,
    /// Disks, and the power losses that show what they hold.
    Disk,
    /// None.
    None,
}

impl From<Faults> for Kinds {
    fn from(faults: Faults) -> Self {
        match faults {
            Faults::All => Self::All,
            Faults::Crash => Self::Crash,
            Faults::Network => Self::Network,
            Faults::Disk => Self::Disk,
            Faults::None => Self::None,
        }
    }
}

impl Arguments {
    const fn profile(&self) -> Profile {
        match self.cluster {
            None => Profile::Single,
            Some(0) if self.moves => Profile::Moving(5),
            Some(0) => Profile::Drawn,
            Some(brokers) if self.moves => Profile::Moving(brokers),
            Some(brokers) => Profile::Brokers(brokers),
        }
    }

    fn sweep(&self) -> Sweep {
        let (from, count) = self.seed.map_or((self.from, self.seeds), |seed| (seed, 1));
        Sweep {
            seeds: from..from.saturating_add(count),
            profile: self.profile(),
            kinds: self.faults.into(),
            trace: self.trace,
            threads: if self.trace { 1 } else { self.threads },
            go_on: self.go_on,
            mutation: self.mutation.clone(),
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.list {
        for rule in mutation::all() {
            println!("{:<30} {}", rule.name, rule.catcher(arguments.profile()));
        }
        return ExitCode::SUCCESS;
    }
    let outcome = if arguments.all_mutations { break_all(&arguments) } else { run(&arguments) };
    outcome.unwrap_or_else(|why| {
        eprintln!("{why}");
        ExitCode::from(2)
    })
}

/// Breaks every rule in turn.
fn break_all(arguments: &Arguments) -> Result<ExitCode, String> {
    let all = mutation::all();
    if all.is_empty() {
        return Err("to break rules, build with --features mutations".to_owned());
    }
    let mut missed = 0_u32;
    for rule in all {
        let (name, catcher) = (&rule.name, rule.catcher(arguments.profile()));
        let sweep = Sweep { mutation: Some(name.clone()), go_on: false, ..arguments.sweep() };
        let first = sweep.run(|_| {})?.failed.into_iter().next();
        match first.and_then(|report| Some((report.seed, report.violation?))) {
            Some((seed, violation)) => println!("{name:<30} seed {seed}: {violation}"),
            None if catcher == Catcher::Simulator => {
                missed += 1;
                println!("{name:<30} SURVIVES {} seeds", arguments.seeds);
            }
            None => println!("{name:<30} not within {} seeds; caught by {catcher}", arguments.seeds),
        }
    }
    Ok(if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The line that runs a seed again.
fn repro(seed: u64, sweep: &Sweep) -> String {
    let (features, rule) = match &sweep.mutation {
        None => ("", String::new()),
        Some(name) => (" --features mutations", format!(" --mutation {name}")),
    };
    let brokers = match sweep.profile {
        Profile::Single => String::new(),
        Profile::Drawn => " --cluster".to_owned(),
        Profile::Brokers(brokers) => format!(" --cluster {brokers}"),
        Profile::Moving(brokers) => format!(" --cluster {brokers} --moves"),
    };
    let faults = match sweep.kinds {
        Kinds::All => "",
        Kinds::Crash => " --faults crash",
        Kinds::Network => " --faults network",
        Kinds::Disk => " --faults disk",
        Kinds::None => " --faults none",
    };
    format!("repro: cargo run --profile sim -p millrace-sim{features} -- --seed {seed}{brokers}{faults}{rule} --trace")
}

fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    let sweep = arguments.sweep();
    let panicking = sweep.clone();
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        default(info);
        eprintln!("{}", repro(sweep::seed(), &panicking));
    }));
    let begin = Instant::now();
    let is_one = sweep.seeds.end - sweep.seeds.start == 1;
    let totals = sweep.run(|report| {
        if is_one {
            println!("{report:?}");
        }
    })?;
    print(&totals, begin);
    for report in &totals.failed {
        if let Some(violation) = &report.violation {
            println!("seed {} violates {violation}", report.seed);
            println!("{}", repro(report.seed, &sweep));
        }
    }
    Ok(if totals.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
fn print(totals: &Totals, begin: Instant) {
    let seconds = begin.elapsed().as_secs_f64().max(1e-9);
    let Totals { seeds, counts, trace, .. } = totals;
    let Counts { events, acks, reads, starts, power_losses, elections, commits, moves } = counts;
    println!(
        "{seeds} seeds, {:.1} seeds/s, {events} events ({:.0}/s), {acks} acknowledged, {reads} read, {starts} starts, \
         {power_losses} power losses, {elections} epochs led, {commits} batches committed, {moves} replicas moved, trace {trace:016x}",
        *seeds as f64 / seconds,
        *events as f64 / seconds,
    );
}
