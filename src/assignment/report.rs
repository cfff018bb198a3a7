//! What `all` hands in: report.md in the assignment's order, report.html with the tables first,
//! results.csv and results.json for other programs; and the results blocks of the notes.
//!
//! Every number comes from [`Findings`]; nothing is measured here. Entry points: [`write()`],
//! [`summary`], [`block`]. Note: `notes/README.md`.

use super::ab;
use super::measure::{LEVELS, Measured, SYSTEMS};
use crate::bench::Outcome;
use crate::bench::report::{Parts, ab_text};
use crate::bench::rounds::{self, Cell, WARMUP};
use crate::bench::saved::{self, now};
use crate::bench::stats::Spread;
use crate::bench::table;
use crate::bench::verdict::{self, Verdict};
use crate::lab::chart::{Chart, Scale, Series};
use crate::lab::fleet::Server;
use crate::lab::notes::{circumstances, compiler};
use crate::lab::page::{Page, Part, put};
use crate::lab::process::lines;
use std::path::Path;

const SOAL: &str = "\
1. Pull update terbaru
2. Jalankan async_server.py pada port 9002, 9003, 9004, 9005 (lihat pada BackendList)
3. Jalankan file lb.py, jalankan di port 44444
4. Jalankan browser, akseslah http://localhost:44444/page.html
5. Lihatlah di log program, bahwa setiap request akan dilayani oleh backend yang bergantian
6. Lakukan performance test seperti pada tugas 9, bandingkan penggunaan load balancer dengan async_server dengan server_thread_http pada folder progjar5
7. Buatlah tabel hasilnya

The programs here are `progjar async_server`, `progjar lb` and `progjar thread_server` in place of
async_server.py, lb.py and server_thread_http; `./run.sh all` wrote this report.";

pub(super) struct Findings {
    pub requests: u64,
    /// Runs of each system at each level.
    pub rounds: usize,
    pub started: Vec<Server>,
    /// What the page shows, fetched and compared.
    pub fetched: Vec<String>,
    /// The same in the log of lb.
    pub rotation: Vec<String>,
    pub measured: Measured,
}

impl Findings {
    pub fn in_order(&self) -> impl Iterator<Item = &Cell> {
        SYSTEMS.iter().flat_map(|(_, title)| of(&self.measured.cells, title))
    }

    /// What makes the tables worth less than they look: one sentence, if there is any.
    pub fn trouble(&self) -> Option<String> {
        let cells = &self.measured.cells;
        let sum = |of: fn(&Outcome) -> u64| cells.iter().map(|cell| cell.sum(of)).sum::<u64>();
        let (failed, non_2xx) = (sum(|o| o.tally.failed.all()), sum(|o| o.tally.non_2xx));
        (failed + non_2xx > 0).then(|| {
            let done = sum(|o| o.tally.done);
            format!(
                "of {done} requests {failed} failed and {non_2xx} were answered with another status than 2xx; the report says where"
            )
        })
    }

    /// Corrected together: on each two systems at each level; on each row of ours beside ab's.
    fn verdicts(&self) -> (Vec<Verdict>, Vec<Verdict>) {
        let mut pairs = rounds::pairs(&self.measured.cells);
        let systems = pairs.len();
        pairs.extend(ab::pairs(self));
        let mut verdicts = verdict::judge(pairs);
        let beside_ab = verdicts.split_off(systems);
        (verdicts, beside_ab)
    }
}

fn of<'a>(cells: &'a [Cell], title: &'a str) -> impl Iterator<Item = &'a Cell> {
    cells.iter().filter(move |cell| cell.plan().target.name == title)
}

fn heading(title: &str) -> &str {
    if title == "Async" { "Async (satu async_server, tanpa load balancer)" } else { title }
}

/// Each system's table, with exactly the assignment's columns; each row is the median run.
fn tables(findings: &Findings) -> Vec<Part> {
    let table = |title| Part::Table(table::table(of(&findings.measured.cells, title)));
    SYSTEMS.iter().flat_map(|(_, title)| [Part::heading(3, heading(title)), table(title)]).collect()
}

/// What the tables of these cells do not show.
fn remarks<'a>(cells: impl Iterator<Item = &'a Cell>) -> Part {
    let named = |cell: &Cell| {
        let remarks = table::remarks(cell).into_iter();
        remarks.map(|remark| format!("{}, {remark}", cell.plan().target.name)).collect()
    };
    Part::List(cells.flat_map::<Vec<String>, _>(named).collect())
}

fn markdown(parts: Vec<Part>) -> String {
    Page { title: String::new(), lang: "", parts }.markdown()
}

pub(super) fn summary(findings: &Findings) -> String {
    let (systems, beside_ab) = findings.verdicts();
    let mut parts = tables(findings);
    parts.push(Part::List(verdict::sentences(&[systems, beside_ab].concat())));
    markdown(parts)
}

/// Step 7, with how much the rates of the rounds differ and which systems do.
fn table_parts(findings: &Findings) -> Vec<Part> {
    let mut parts = vec![Part::heading(2, "Tabel")];
    parts.extend(tables(findings));
    let (rounds, requests, warmup) = (findings.rounds, findings.requests, WARMUP.as_millis());
    parts.extend([
        Part::text(format!(
            "Each row is the median of {rounds} runs of {requests} requests each. All systems and levels were run in turn, \
             round after round, after a warm-up of {warmup} ms each, so that a disturbance meets all alike. Clients and servers \
             share one machine and its loopback interface; all servers wrote their logs. A failed request is in no rate."
        )),
        remarks(findings.in_order()),
        Part::List(verdict::sentences(&findings.verdicts().0)),
    ]);
    parts
}

fn ab_parts(findings: &Findings) -> Vec<Part> {
    let heading = Part::heading(2, "ab beside progjar bench");
    let table = ab::table(findings);
    if table.rows.len() == 1 {
        let none = "ab (apache2-utils) was not installed: there is nothing to compare with.";
        return vec![heading, Part::text(none)];
    }
    vec![
        heading,
        Part::text(
            "ab against the same servers, a run after each run of ours. Rates are median (lowest–highest); \
             failed are those of all runs of ab.",
        ),
        Part::Table(table),
        Part::List(verdict::sentences(&findings.verdicts().1)),
    ]
}

/// Steps 2 to 5.
fn step_parts(findings: &Findings) -> Vec<Part> {
    let show = |topic| {
        let started = findings.started.iter().filter(move |s| s.topic == topic);
        let log = |s: &Server| lines(&s.log).into_iter().take(3).collect::<Vec<_>>().join("\n");
        started.map(move |s| Part::Output(format!("$ {}\n{}", s.command, log(s))))
    };
    let mut parts =
        vec![Part::heading(2, "Jalankan async_server.py pada port 9002, 9003, 9004, 9005")];
    parts.extend(show("async_server"));
    parts.push(Part::heading(2, "Jalankan file lb.py, jalankan di port 44444"));
    parts.extend(show("lb"));
    parts.push(Part::text("The server to compare with:"));
    parts.extend(show("thread_server"));
    parts.extend([
        Part::heading(2, "Jalankan browser, akseslah http://localhost:44444/page.html"),
        Part::text("Fetched through lb and compared byte for byte with the files:"),
        Part::Output(findings.fetched.join("\n")),
        Part::heading(2, "Setiap request akan dilayani oleh backend yang bergantian"),
        Part::text("The same requests in the log of lb:"),
        Part::Output(findings.rotation.join("\n")),
    ]);
    parts
}

/// Step 6: the commands that repeat each row, and what came of them.
fn performance_parts(findings: &Findings) -> Vec<Part> {
    let intro = "For each row the command of ab that measures the same, the command of ours, and its output in the median run. While the servers run, both repeat it.";
    let mut parts = vec![Part::heading(2, "Performance Test"), Part::text(intro)];
    for (_, title) in SYSTEMS {
        parts.push(Part::heading(3, heading(title)));
        parts.extend(of(&findings.measured.cells, title).map(|cell| {
            let (same, url) = (ab::same(cell.plan()), cell.plan().target.url());
            let (rounds, warmup) = (findings.rounds, WARMUP.as_millis());
            let ours = format!("./run.sh bench {same} --rounds {rounds} --warmup {warmup}ms {url}");
            let output = ab_text(cell.median(), Parts::default());
            Part::Fold(format!("ab {same} {url}"), format!("$ {ours}\n{}", output.trim()))
        }));
    }
    parts
}

/// All charts, what is to be said of them, and the load curve as tables.
fn figure_parts(findings: &Findings) -> Vec<Part> {
    let (rounds, level) = (findings.rounds, LEVELS[LEVELS.len() - 1]);
    let charts = vec![
        ("load-curve", load_curve(findings, 0.99, "Load curve: p99 of the response time")),
        ("load-curve-median", load_curve(findings, 0.5, "Load curve: median response time")),
        ("requests", requests_chart(findings)),
    ];
    let captions = [
        format!(
            "Load curve: {level} clients together send so many requests each second, whatever the servers do. A request's response time begins when it \
             was due, so it is what a user waits for. Where a line turns up, the system cannot keep up, and requests queue."
        ),
        format!(
            "Requests per second, closed loop: each client sends its next request when it has the answer to the last. Markers in all charts: the median of the rounds \
             (here {rounds}); bars: the lowest and the highest, a little aside of each other so that none hides another."
        ),
    ];
    let mut parts =
        vec![Part::heading(2, "Grafik"), Part::Charts(charts), Part::List(captions.into())];
    for (_, title) in SYSTEMS {
        parts.push(Part::heading(3, format!("Load curve: {}", heading(title))));
        parts.push(Part::Table(table::table(of(&findings.measured.curve, title))));
    }
    parts
}

fn chart(
    title: &str,
    [x_label, y_label]: [&'static str; 2],
    x: Scale,
    from_zero: bool,
    points: impl Fn(&'static str) -> Vec<(f64, Spread)>,
) -> Chart {
    let short = |title: &str| title.replace("Load Balancer", "LB");
    let series = SYSTEMS.map(|(_, title)| Series { name: short(title), points: points(title) });
    let (title, series) = (title.to_owned(), series.into());
    Chart { title, x_label, y_label, x, from_zero, has_lines: true, series }
}

/// README shows it, too.
pub(super) fn requests_chart(findings: &Findings) -> Chart {
    let labels = ["concurrency level", "thousand requests/s"];
    let x = Scale::places(LEVELS.iter().map(usize::to_string));
    chart("Requests per second", labels, x, true, |title| {
        let rates = |cell: &Cell| cell.spread(|run| run.rate() / 1000.0);
        let cells = (0..).zip(of(&findings.measured.cells, title));
        cells.map(|(x, cell)| (f64::from(x), rates(cell))).collect()
    })
}

fn load_curve(findings: &Findings, share: f64, title: &str) -> Chart {
    let rate = |cell: &Cell| cell.plan().rate.unwrap_or_default() / 1000.0;
    let time = |run: &Outcome| run.tally.response.quantile_ms(share);
    let highest = findings.measured.curve.iter().map(rate).fold(0.0, f64::max);
    let labels = ["thousand requests/s that are due", "response time, ms (log scale)"];
    chart(title, labels, Scale::from_zero(highest), false, |title| {
        of(&findings.measured.curve, title).map(|c| (rate(c), c.spread(time))).collect()
    })
}

pub(super) fn write(findings: &Findings, folder: &Path) -> Result<(), String> {
    let put = |name: &str, text: String| put(folder, name, text.as_bytes());
    let origin = saved::origin(findings.rounds, WARMUP);
    put("results.csv", saved::csv(&findings.measured.cells, &origin))?;
    put("results.json", saved::json(&findings.measured.cells, &origin))?;
    let page = |parts: Vec<Vec<Part>>| Page {
        title: "Tugas 10 Pemrograman Jaringan".to_owned(),
        lang: "id",
        parts: parts.into_iter().flatten().collect(),
    };
    let opening = [vec![Part::heading(2, "Soal"), Part::text(SOAL)]];
    let results = [table_parts(findings), figure_parts(findings), ab_parts(findings)];
    let steps = [step_parts(findings), performance_parts(findings)];
    let compiler = compiler().map(|compiler| ("compiler", compiler));
    let facts = origin.into_iter().chain(compiler);
    let facts = facts.map(|(name, text)| format!("{name}: {text}")).collect();
    let about = [vec![Part::heading(2, "Mesin"), Part::List(facts)]];
    let assigned = [&opening[..], &steps, &results, &about].concat();
    page(assigned).write_markdown(folder, "report")?;
    let measured = "async_server, lb and thread_server, measured by ./run.sh all on";
    let when = [vec![Part::text(format!("{measured} {}.", now()))]];
    let tables_first = [&when[..], &results, &about, &steps].concat();
    page(tables_first).write_html(folder, "report")
}

/// The results block of that name for the notes; None for what this run does not measure.
pub(super) fn block(findings: &Findings, name: &str) -> Option<String> {
    let (rounds, requests) = (findings.rounds, findings.requests);
    let mut parts = vec![Part::text(format!(
        "{}\nRounds: {rounds} of {requests} requests per row; shown is the median run.",
        circumstances("./run.sh notes"),
    ))];
    match SYSTEMS.iter().find(|(topic, _)| *topic == name) {
        Some((_, title)) => {
            parts.push(Part::Table(table::table(of(&findings.measured.cells, title))));
            parts.push(Part::text(
                "<details><summary>Lowest and highest rate of each row</summary>",
            ));
            parts.push(remarks(of(&findings.measured.cells, title)));
            parts.push(Part::text("</details>"));
        }
        None if name == "bench" => parts.extend(ab_parts(findings).into_iter().skip(1)),
        None => return None,
    }
    Some(markdown(parts))
}
