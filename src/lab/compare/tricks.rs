//! What each trick gains: this program beside itself without the trick.
//!
//! A patch in `notes/tricks` takes one trick out, and says above its first line what it is and
//! where it shows; `run.sh` builds the program without it. Entry points: [`read_all`], [`run`].

use super::measure::{Case, System};
use super::rows::{Figure, Row};
use super::servers::{CASES, balancing, four};
use super::{Comparison, Findings, differences};
use crate::bench::table::Table;
use crate::lab::fleet::Fleet;
use crate::lab::page::{BOLD, Part, number_or_dash};
use crate::lab::process::say;
use std::fs;
use std::path::{Path, PathBuf};

/// A trick, as its patch tells it.
pub(super) struct Trick {
    /// The stem of the patch.
    pub name: String,
    /// What it does, and what happens without it.
    title: String,
    without: String,
    /// Where it shows.
    case: Case,
    /// async_server or lb.
    system: String,
    /// The program without it.
    program: PathBuf,
}

/// All that the patches tell of, in the order of their names.
pub(super) fn read_all(compare: &Comparison) -> Result<Vec<Trick>, String> {
    let folder = &compare.patches;
    let wrong = |e| format!("cannot read '{}': {e}; see --patches", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(wrong)? {
        files.push(entry.map_err(wrong)?.path());
    }
    files.retain(|file| file.extension().is_some_and(|e| e == "patch"));
    files.sort();
    files.iter().map(|file| read(file, compare)).collect()
}

fn read(file: &Path, compare: &Comparison) -> Result<Trick, String> {
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
    let program = compare.without.join(&name);
    if !program.is_file() {
        return Err(format!(
            "there is no '{}', the program without a trick; ./run.sh compare tricks builds it",
            program.display()
        ));
    }
    Ok(Trick {
        title: told("Trick:")?,
        without: told("Without:")?,
        system: told("System:")?,
        case: Case { counts_calls: true, idle: case.idle.min(compare.idle), ..case },
        name,
        program,
    })
}

/// All tricks, one after the other; each in turn with and without it.
pub(super) fn run(tricks: Vec<Trick>, compare: &mut Comparison) -> Result<Findings, String> {
    let root = compare.site()?;
    let (mut rows, mut pairs) = (Vec::new(), Vec::new());
    let mut table = Table::new(&COLUMNS);
    for trick in tricks {
        if !compare.wants(&trick.name) {
            continue;
        }
        say(&format!("{}: {}", trick.name, trick.title));
        let mut fleet = Fleet::new(&compare.folder, &root)?;
        let with = start(&mut fleet, &trick, &format!("with {}", trick.name), compare)?;
        fleet.program.clone_from(&trick.program);
        let without = start(&mut fleet, &trick, &format!("without {}", trick.name), compare)?;
        let measured = compare.measure(&trick.case, &mut [with, without])?;
        fleet.check_running()?;
        let [with, without] = &measured[..] else { continue };
        pairs.push(with.pair(without, Figure::Cpu, "CPU time per request"));
        table.rows.push(cells(&trick, with, without));
        rows.extend(measured);
    }
    let parts = [Part::heading(BOLD, "Tricks"), Part::Table(table)];
    Ok(Findings {
        title: "What each trick gains",
        method: "Ratios: with, divided by without, in the same round; below 1 is good for CPU and system calls, above 1 for \
            requests/s."
            .to_owned(),
        parts: parts.into_iter().chain(differences(pairs)).collect(),
        rows,
        charts: Vec::new(),
    })
}

/// One server; or the load balancer before its backends, all of the same build.
fn start(
    fleet: &mut Fleet,
    trick: &Trick,
    name: &str,
    compare: &Comparison,
) -> Result<System, String> {
    let mut server = || fleet.start("async_server", 0, &["--quiet"], compare.stop);
    if trick.system == "async_server" {
        return Ok(System::new(name, &server()?, &[]));
    }
    let backends = four(|_| server())?;
    let mut arguments = balancing(&backends);
    arguments.push("--quiet".to_owned());
    let front = fleet.start("lb", 0, &arguments, compare.stop)?;
    Ok(System::new(name, &front, &backends))
}

const COLUMNS: [&str; 9] = [
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

fn cells(trick: &Trick, with: &Row, without: &Row) -> Vec<String> {
    let ratio = |figure: Figure| match with.ratio(without, figure) {
        Some(s) => format!("{:.2} ({:.2}–{:.2})", s.median, s.lowest, s.highest),
        None => "–".to_owned(),
    };
    let of = |row: &Row, figure: Figure| number_or_dash(row.median(figure));
    vec![
        format!("`{}`: {}", trick.name, trick.title),
        trick.without.clone(),
        format!("{}: {}", trick.system, trick.case.title),
        ratio(Figure::Cpu),
        ratio(Figure::Rate),
        of(with, Figure::Cpu),
        of(without, Figure::Cpu),
        of(with, Figure::Calls),
        of(without, Figure::Calls),
    ]
}
