//! `progjar exhibit NAME`: experiments, each played and explained: the ways to get a wrong
//! table, and what the load balancer's policies and pipelining do.
//!
//! Every exhibit starts its own servers, small and faulty on purpose where that is the point,
//! and ends them. Entry point: [`main`]. Notes: `notes/wrong-table.md`, `notes/lb.md`.

// a thread per connection, as small as can be
mod server;
// tables and bars for a terminal
mod text;
// a thread that never ends
mod spin;
// 404 in a table without a column for it
mod not_found;
// a rate from a port where nothing listens
mod dead_port;
// a stall that hides from those who wait for it
mod omission;
// the same run ten times
mod noise;
// four async_servers, and load balancers in front of them
mod fleet;
// one slow backend, three policies
mod policies;
// many requests, one write
mod pipeline;

use crate::assignment::say;
use crate::cli::args::{Failure, Given, Topic, flag};
use crate::cli::shutdown::Stop;
use crate::lab::notes;
use crate::lab::report::{circumstances, put};
use std::fs;
use std::path::Path;

/// `progjar exhibit`
pub const TOPIC: Topic = Topic {
    name: "exhibit",
    summary: "experiments, explained: ways to get a wrong table, policies, pipelining",
    operand: "NAME",
    operand_default: "",
    flags: &[&[
        flag("--quick", "", "", "less of everything, for a first look"),
        flag(
            "--notes",
            "DIR",
            "",
            "also refresh the exhibits' results blocks in DIR/*.md, and their charts",
        ),
    ]],
    more: "NAME is spin, not-found, dead-port, omission, noise, policies, pipeline, or all; without\n\
        NAME they are listed. Each takes less than half a minute, on free ports. Ctrl-C stops everything.",
};

/// One experiment.
struct Exhibit {
    name: &'static str,
    title: &'static str,
    /// What will happen.
    does: &'static str,
    /// Lets it happen.
    play: fn(Size, &Stop) -> Result<Played, String>,
    /// What to learn from it.
    means: &'static str,
}

/// What came of an exhibit.
struct Played {
    /// Lines for a terminal.
    text: String,
    /// A chart for the notes: its name, and the SVG.
    picture: Option<(&'static str, String)>,
}

impl From<String> for Played {
    fn from(text: String) -> Played {
        Played { text, picture: None }
    }
}

const EXHIBITS: [Exhibit; 7] = [
    spin::EXHIBIT,
    not_found::EXHIBIT,
    dead_port::EXHIBIT,
    omission::EXHIBIT,
    noise::EXHIBIT,
    policies::EXHIBIT,
    pipeline::EXHIBIT,
];

/// How much of everything.
#[derive(Clone, Copy)]
enum Size {
    Full,
    Quick,
}

impl Size {
    fn of<T>(self, full: T, quick: T) -> T {
        match self {
            Size::Full => full,
            Size::Quick => quick,
        }
    }
}

/// Runs the topic. Ctrl-C is no failure: everything is stopped, and that is said.
pub fn main(given: &Given, stop: &Stop) -> Result<(), Failure> {
    let Some(name) = given.operands.first() else {
        say(&list());
        return Ok(());
    };
    let chosen: Vec<&Exhibit> =
        EXHIBITS.iter().filter(|exhibit| name == "all" || name == exhibit.name).collect();
    if chosen.is_empty() {
        let known = EXHIBITS.map(|exhibit| exhibit.name).join(", ");
        return Err(Failure::Usage(format!(
            "exhibit: there is no exhibit '{name}'; there are {known}, and all"
        )));
    }
    let cannot = |e: String| Failure::CannotWork(format!("exhibit: {e}"));
    let folder = given.text("--notes").map(Path::new);
    if let Some(folder) = folder {
        notes::check(folder).map_err(cannot)?;
    }
    let (size, flags) = match given.has("--quick") {
        true => (Size::Quick, " --quick"),
        false => (Size::Full, ""),
    };
    let (mut blocks, mut pictures) = (Vec::new(), Vec::new());
    for exhibit in chosen {
        let result = show(exhibit, size, stop);
        if stop.is_raised() {
            say("exhibit: stopped before the end; every server has been stopped");
            return Ok(());
        }
        let result = result.map_err(|e| cannot(format!("{}: {e}", exhibit.name)))?;
        let command = format!("./run.sh exhibit {}{flags}", exhibit.name);
        blocks.push((
            format!("exhibit-{}", exhibit.name),
            format!("{}\n\n```text\n{}\n```\n", circumstances(&command), result.text.trim_end()),
        ));
        pictures.extend(result.picture);
    }
    let Some(folder) = folder else { return Ok(()) };
    let of = |name: &str| {
        let found = blocks.iter().find(|(n, _)| n == name);
        found.map(|(_, block)| block.clone())
    };
    let count = notes::refresh(folder, &of).map_err(cannot)?;
    for (name, svg) in pictures {
        let images = folder.join("img");
        // What is wrong with the folder is said of the file.
        let _ = fs::create_dir_all(&images);
        put(&images, name, svg.as_bytes()).map_err(cannot)?;
    }
    say(&format!("results blocks refreshed: {count}"));
    Ok(())
}

fn list() -> String {
    let mut text = String::from("usage: progjar exhibit NAME\n\n");
    for exhibit in &EXHIBITS {
        text.push_str(&format!("  {:<10} {}\n", exhibit.name, exhibit.title));
    }
    text + "  all        one after the other"
}

/// What it does, the result, what it means: each is said when it is known.
fn show(exhibit: &Exhibit, size: Size, stop: &Stop) -> Result<Played, String> {
    let (name, title) = (exhibit.name, exhibit.title);
    say(&format!("== {name}: {title}\n\n{}\n", exhibit.does));
    let result = (exhibit.play)(size, stop)?;
    if !stop.is_raised() {
        for line in result.text.lines() {
            say(format!("  {line}").trim_end());
        }
        say(&format!("\n{}\n", exhibit.means));
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exhibit_has_its_results_block_and_stands_in_the_help() {
        for exhibit in &EXHIBITS {
            let block = format!("exhibit-{}", exhibit.name);
            assert!(notes::NAMES.contains(&block.as_str()), "{block}");
            assert!(TOPIC.more.contains(exhibit.name), "{}", exhibit.name);
        }
    }
}
