//! What each trick gains: this program beside itself without the trick.
//!
//! A patch in `notes/tricks` takes one trick out, and says above its first line what it is and
//! where it shows; `run.sh` builds the program without it. Entry points: [`read_all`], [`run`].

use super::calls::Counter;
use super::cases::{CASES, Case, LARGE};
use super::lineup::{ASYNC_SERVER, BACKENDS, Role, System, workers};
use super::load::{Load, Sample};
use super::page::{Page, Part};
use super::settings::{Settings, traces_folder};
use super::{COUNTED, WARMUP, hand_in, site};
use crate::assignment::program;
use crate::assignment::servers::Servers;
use crate::assignment::{End, say};
use crate::bench::stats::Spread;
use crate::cli::shutdown::Stop;
use crate::lab::notes;
use crate::lab::report::circumstances;
use crate::lab::report::words::number;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A trick, as its patch tells it.
#[derive(Debug)]
pub struct Trick {
    /// The stem of the patch.
    pub name: String,
    /// What it does, and what happens without it.
    title: String,
    without: String,
    /// Where it shows.
    case: Case,
    balances: bool,
    /// The program without it.
    program: PathBuf,
}

/// One round: with the trick, and without.
type Pair = [Sample; 2];

/// What was measured of a trick.
#[derive(Debug)]
struct Gain {
    trick: Trick,
    rounds: Vec<Pair>,
    /// System calls per request, with and without.
    calls: [Option<f64>; 2],
}

/// All that the patches tell of, in the order of their names.
pub fn read_all(settings: &Settings) -> Result<Vec<Trick>, String> {
    let folder = &settings.patches;
    let wrong = |e| format!("cannot read '{}': {e}; see --patches", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(wrong)? {
        files.push(entry.map_err(wrong)?.path());
    }
    files.retain(|file| file.extension().is_some_and(|e| e == "patch"));
    files.sort();
    files.iter().map(|file| read(file, &settings.without)).collect()
}

fn read(file: &Path, programs: &Path) -> Result<Trick, String> {
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let text =
        fs::read_to_string(file).map_err(|e| format!("cannot read '{}': {e}", file.display()))?;
    let told = |label: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(label));
        let missing = || format!("'{}' has no line '{label}'", file.display());
        Ok::<_, String>(line.ok_or_else(missing)?.trim().to_owned())
    };
    let case = told("Case:")?;
    let case = CASES.into_iter().find(|known| known.name == case);
    let case = case.ok_or_else(|| format!("'{}': no such case", file.display()))?;
    let program = programs.join(&name);
    if !program.is_file() {
        return Err(format!(
            "there is no '{}', the program without a trick; ./run.sh compare tricks builds it",
            program.display()
        ));
    }
    Ok(Trick {
        title: told("Trick:")?,
        without: told("Without:")?,
        balances: told("System:")? != ASYNC_SERVER,
        name,
        case,
        program,
    })
}

/// All tricks, one after the other; each in turn with and without it.
pub fn run(tricks: Vec<Trick>, settings: &Settings, stop: &Stop) -> Result<(), End> {
    let begun = Instant::now();
    if let Some(folder) = &settings.notes {
        notes::check(folder)?;
    }
    let folder = traces_folder(settings)?;
    let root = site(settings, &folder)?;
    let load = Load { length: settings.length, idle: 0, wrk: None, ab: program::find(&["ab"]) };
    let mut gains = Vec::new();
    let measured: Result<(), End> =
        tricks.into_iter().filter(|trick| settings.wants(&trick.name)).try_for_each(|trick| {
            if !load.can(&trick.case) {
                say(&format!("{} is left out: ab is not installed", trick.name));
                return Ok(());
            }
            say(&format!("{}: {}", trick.name, trick.title));
            gains.push(measure(trick, &load, &root, &folder, settings, stop)?);
            Ok(())
        });
    // The large file is of no further use.
    let _ = fs::remove_file(root.join(LARGE));
    measured?;
    let page = page(&gains, settings);
    hand_in(&page, &csv(&gains), settings, begun)
}

fn measure(
    trick: Trick,
    load: &Load,
    root: &Path,
    folder: &Path,
    settings: &Settings,
    stop: &Stop,
) -> Result<Gain, End> {
    let with = std::env::current_exe().map_err(|e| format!("cannot find this program: {e}"))?;
    let mut fleets = Vec::new();
    for (name, program) in [("with", &with), ("without", &trick.program)] {
        let logs = folder.join(name);
        fs::create_dir_all(&logs)
            .map_err(|e| format!("cannot write in '{}': {e}", logs.display()))?;
        let mut servers = Servers::new(&logs, root).of(program);
        let system = start(&mut servers, &trick, stop)?;
        load.active(&trick.case, &system, WARMUP, stop)?;
        fleets.push((servers, system));
    }
    let mut rounds = Vec::new();
    for round in 1..=settings.rounds {
        let mut pair = Pair::default();
        // Who comes first takes turns, too.
        for i in [round % 2, 1 - round % 2] {
            pair[i] = load.run(&trick.case, &fleets[i].1, stop)?;
        }
        rounds.push(pair);
    }
    let mut calls = [None, None];
    for counter in Counter::all() {
        for (calls, (_, system)) in calls.iter_mut().zip(&fleets) {
            let mut work = || load.active(&trick.case, system, COUNTED, stop);
            *calls = counter.per_request(&system.pids, folder, stop, &mut work)?;
        }
        if calls.iter().all(Option::is_some) {
            break;
        }
    }
    let gain = Gain { trick, rounds, calls };
    say(&format!(
        "      requests/s {}, CPU per request {}",
        gain.ratio(|s| Some(s.rate)),
        gain.ratio(|s| s.cpu)
    ));
    Ok(gain)
}

/// One server; or the load balancer before its backends, all without the trick.
fn start(servers: &mut Servers, trick: &Trick, stop: &Stop) -> Result<System, End> {
    let quiet = "--quiet".to_owned();
    let mut pids = Vec::new();
    let mut arguments = vec![quiet.clone(), format!("--workers={}", workers())];
    let mut address = None;
    for _ in 0..if trick.balances { BACKENDS } else { 1 } {
        let server = servers.start("async_server", 0, std::slice::from_ref(&quiet), stop)?;
        pids.push(server.pid());
        arguments.push(format!("--backend={}", server.address));
        address = Some(server.address);
    }
    if trick.balances {
        let server = servers.start("lb", 0, &arguments, stop)?;
        pids.push(server.pid());
        address = Some(server.address);
    }
    Ok(System {
        name: "it",
        role: Role::Server,
        address: address.ok_or(End::Stopped)?,
        pids,
        can: |_| true,
    })
}

impl Gain {
    /// A figure with the trick, divided by the same without, round by round: the median, the
    /// lowest and the highest.
    fn ratio(&self, of: impl Fn(&Sample) -> Option<f64>) -> String {
        let pairs = self.rounds.iter();
        let ratios = pairs.filter_map(|[with, without]| Some(of(with)? / of(without)?));
        Spread::of(ratios).map_or_else(
            || "–".to_owned(),
            |s| format!("{:.2} ({:.2}–{:.2})", s.median, s.lowest, s.highest),
        )
    }
}

fn page(gains: &[Gain], settings: &Settings) -> Page {
    let method = format!(
        "{} Medians of {} rounds of {} s; in each round the program with the trick and without it, by turns. Ratios: with, divided by \
         without, in the same round; below 1 is good for CPU and system calls, above 1 for requests/s.",
        circumstances(&settings.command),
        settings.rounds,
        settings.length.as_secs_f64(),
    );
    let heading = [
        "Trick",
        "Without it",
        "Case",
        "CPU ratio (lowest–highest)",
        "Requests/s ratio (lowest–highest)",
        "CPU µs/request",
        "without",
        "System calls/request",
        "without",
    ];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    let shown = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), number);
    for gain in gains {
        let trick = &gain.trick;
        let cpu = |i: usize| {
            let values = gain.rounds.iter().filter_map(|pair| pair[i].cpu);
            shown(Spread::of(values).map(|spread| spread.median))
        };
        let system = if trick.balances { "lb" } else { ASYNC_SERVER };
        rows.push(vec![
            format!("`{}`: {}", trick.name, trick.title),
            trick.without.clone(),
            format!("{system}: {}", trick.case.title),
            gain.ratio(|s| s.cpu),
            gain.ratio(|s| Some(s.rate)),
            cpu(0),
            cpu(1),
            shown(gain.calls[0]),
            shown(gain.calls[1]),
        ]);
    }
    Page {
        name: "tricks",
        title: "What each trick gains",
        method,
        parts: vec![Part { heading: "Tricks", rows, sentences: Vec::new() }],
        charts: Vec::new(),
    }
}

fn csv(gains: &[Gain]) -> String {
    let mut text = String::from("trick,case,round,with,requests_per_second,cpu_us_per_request\n");
    for gain in gains {
        for (round, pair) in (1..).zip(&gain.rounds) {
            for (sample, with) in pair.iter().zip(["yes", "no"]) {
                let cpu = sample.cpu.map_or_else(String::new, |v| format!("{v:.3}"));
                let (name, case, rate) = (&gain.trick.name, gain.trick.case.name, sample.rate);
                let _ = writeln!(text, "{name},{case},{round},{with},{rate:.1},{cpu}");
            }
        }
    }
    text
}
