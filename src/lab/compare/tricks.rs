//! What each trick gains: this program beside itself without the trick.
//!
//! A patch in `notes/tricks` takes one trick out, and says above its first line what it is and
//! where it shows; `run.sh` builds the program without it. Entry point: [`list`].

use super::measure::Case;
use super::rows::CPU;
use super::servers::{balancing, cases, four};
use super::{Comparison, List};
use crate::bench::Plan;
use crate::bench::verdict::Pair;
use crate::cli::Result;
use crate::cli::args::Given;
use crate::lab::fleet::Fleet;
use crate::lab::notes::texts;
use std::path::{Path, PathBuf};

/// A trick, as its patch tells it.
struct Trick {
    /// Where it shows: called as the patch is, and saying what the trick does.
    case: Case,
    /// async_server or lb.
    system: String,
    /// The program without it.
    program: PathBuf,
}

/// How the two programs of a trick are called.
const WITH: &str = "with it";
const WITHOUT: &str = "without it";

/// All tricks that patches tell of, in the order of their names; each in turn with and without it.
pub(super) fn list<'a>(compare: &Comparison, given: &Given) -> Result<List<'a>> {
    let [folder, without] =
        ["--patches", "--without"].map(|f| Path::new(given.text(f).unwrap_or(".")));
    let files = texts(folder, "patch").map_err(|e| format!("{e}; see --patches"))?;
    let tricks = files.iter().map(|(file, text)| read(file, text, without, compare.idle));
    let tricks = tricks.collect::<Result<Vec<Trick>>>()?;
    Ok(List {
        title: "What each trick gains",
        method: "CPU: user and system time of all processes of a system.".to_owned(),
        heading: "Tricks",
        columns: ["Trick", "Program"],
        below: "Ratios: to the program without it, round by round.",
        cases: tricks.iter().map(|trick| trick.case.clone()).collect(),
        start: Box::new(move |fleet, case| {
            let trick = tricks.iter().find(|trick| trick.case.name == case.name);
            let Trick { system, program, .. } = trick.ok_or("there is no such trick")?;
            let with = start(fleet, case, WITH, system)?;
            fleet.program.clone_from(program);
            Ok(vec![with, start(fleet, case, WITHOUT, system)?])
        }),
        reference: |case, _| case.iter().find(|row| row.cell.name() == WITHOUT),
        pairs: |case| {
            let [with, without] = case else { return Vec::new() };
            let pair = with.pair(without, CPU, "CPU time per request");
            vec![Pair { names: [WITH, WITHOUT].map(|name| format!("the program {name}")), ..pair }]
        },
        charts: |_| Vec::new(),
    })
}

fn read(file: &Path, text: &str, programs: &Path, idle: usize) -> Result<Trick> {
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let shown = file.display();
    let told = |label: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(label));
        line.map(str::trim).ok_or_else(|| format!("'{shown}' has no line '{label}'"))
    };
    let (trick, without, system) = (told("Trick:")?, told("Without:")?, told("System:")?);
    let case = told("Case:")?;
    let case = cases(idle).into_iter().find(|known| known.name == case);
    let case = case.ok_or_else(|| format!("'{shown}': no such case"))?;
    let title = format!("`{name}`: {trick}; without it: {without} ({system}, {})", case.name);
    let program = programs.join(&name);
    if !program.is_file() {
        return Err(format!(
            "there is no '{}', the program without a trick; ./run.sh compare tricks builds it",
            program.display()
        ));
    }
    Ok(Trick { system: system.to_owned(), case: Case { name, title, ..case }, program })
}

/// One server; or the load balancer before its backends, all of the same build.
fn start(fleet: &mut Fleet, case: &Case, name: &str, topic: &str) -> Result<Plan> {
    let mut server = || fleet.start("async_server", 0, &["--quiet"]);
    if topic == "async_server" {
        return case.on(name, &server()?, &[]);
    }
    let backends = four(|_| server())?;
    let arguments = [balancing(&backends), vec!["--quiet".to_owned()]].concat();
    case.on(name, &fleet.start("lb", 0, &arguments)?, &backends)
}
