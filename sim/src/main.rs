//! Sweeps seeds: `millrace-sim --seeds 1000`, or replays one: `millrace-sim --seed 7 --trace`.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clap::Parser;
use millrace_sim::mutation::{self, Catcher};
use millrace_sim::options::Profile;
use millrace_sim::{Report, run};

/// The seed being run, for the message of a panic.
static SEED: AtomicU64 = AtomicU64::new(0);

/// Deterministic simulation of a broker.
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
    /// Several brokers: so many, or as many as the seed says.
    #[arg(long, value_name = "BROKERS", num_args = 0..=1, default_missing_value = "0")]
    cluster: Option<usize>,
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

impl Arguments {
    const fn profile(&self) -> Profile {
        match self.cluster {
            None => Profile::Single,
            Some(0) => Profile::Drawn,
            Some(brokers) => Profile::Brokers(brokers),
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.list {
        for (name, catcher) in mutation::all() {
            println!("{name:<30} {catcher}");
        }
        return ExitCode::SUCCESS;
    }
    if arguments.all_mutations {
        return break_all(&arguments);
    }
    let (broken, profile) = (arguments.mutation.clone(), arguments.profile());
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        default(info);
        eprintln!("{}", repro(SEED.load(Ordering::Relaxed), profile, broken.as_deref()));
    }));
    match mutation::with_broken(arguments.mutation.as_deref(), || sweep(&arguments)) {
        Ok(code) => code,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

/// Breaks every rule in turn.
fn break_all(arguments: &Arguments) -> ExitCode {
    let all = mutation::all();
    if all.is_empty() {
        eprintln!("to break rules, build with --features mutations");
        return ExitCode::from(2);
    }
    let mut missed = 0_u32;
    for (name, catcher) in all {
        let seeds = arguments.from..arguments.from.saturating_add(arguments.seeds);
        let first = || seeds.clone().find_map(|seed| Some((seed, run(seed, arguments.profile(), false).violation?)));
        match mutation::with_broken(Some(&name), first) {
            Ok(Some((seed, violation))) => println!("{name:<30} seed {seed}: {violation}"),
            Ok(None) if catcher == Catcher::Simulator => {
                missed += 1;
                println!("{name:<30} SURVIVES {} seeds", arguments.seeds);
            }
            Ok(None) => println!("{name:<30} not within {} seeds; caught by {catcher}", arguments.seeds),
            Err(why) => {
                eprintln!("{why}");
                return ExitCode::from(2);
            }
        }
    }
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The line that runs a seed again.
fn repro(seed: u64, profile: Profile, broken: Option<&str>) -> String {
    let (features, rule) = match broken {
        None => ("", String::new()),
        Some(name) => (" --features mutations", format!(" --mutation {name}")),
    };
    let brokers = match profile {
        Profile::Single => String::new(),
        Profile::Drawn => " --cluster".to_owned(),
        Profile::Brokers(brokers) => format!(" --cluster {brokers}"),
    };
    format!("repro: cargo run --release -p millrace-sim{features} -- --seed {seed}{brokers}{rule} --trace")
}

fn sweep(arguments: &Arguments) -> ExitCode {
    let (from, count) = arguments.seed.map_or((arguments.from, arguments.seeds), |seed| (seed, 1));
    let begin = Instant::now();
    let mut total = Totals::default();
    for seed in from..from.saturating_add(count) {
        SEED.store(seed, Ordering::Relaxed);
        let report = run(seed, arguments.profile(), arguments.trace);
        total.add(&report);
        if count == 1 {
            println!("{report:?}");
        }
        if let Some(violation) = &report.violation {
            total.print(begin);
            println!("seed {seed} violates {violation}");
            println!("{}", repro(seed, arguments.profile(), arguments.mutation.as_deref()));
            return ExitCode::FAILURE;
        }
    }
    total.print(begin);
    ExitCode::SUCCESS
}

/// Figures of a sweep.
#[derive(Debug, Default)]
struct Totals {
    seeds: u64,
    events: u64,
    acks: u64,
    reads: u64,
    starts: u64,
    power_losses: u64,
    /// The traces of all seeds, folded.
    trace: u64,
}

impl Totals {
    fn add(&mut self, report: &Report) {
        self.seeds += 1;
        self.events += report.events;
        self.acks += report.acks;
        self.reads += report.reads;
        self.starts += report.starts;
        self.power_losses += report.power_losses;
        self.trace = self.trace.rotate_left(1) ^ report.trace;
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
    fn print(&self, begin: Instant) {
        let seconds = begin.elapsed().as_secs_f64().max(1e-9);
        println!(
            "{} seeds, {:.1} seeds/s, {} events ({:.0}/s), {} acknowledged, {} read, {} starts, {} power losses, trace {:016x}",
            self.seeds,
            self.seeds as f64 / seconds,
            self.events,
            self.events as f64 / seconds,
            self.acks,
            self.reads,
            self.starts,
            self.power_losses,
            self.trace
        );
    }
}
