//! report.md: the assignment's own headings in its own order, then what it did not ask for.
//!
//! Entry point: [`report`]. Note: `notes/README.md`.

use super::figures::Figure;
use super::words::{
    commands, comparisons, heading, in_order, level, markdown_table, method, spread_table, table,
};
use super::{Findings, System, beside_ab};
use crate::bench::report::{Parts, ab_text};
use std::fmt::Write;

const SOAL: &str = "\
# Tugas 10 Pemrograman Jaringan

## Soal
1. Pull update terbaru
2. Jalankan async_server.py pada port 9002, 9003, 9004, 9005 (lihat pada BackendList)
3. Jalankan file lb.py, jalankan di port 44444
4. Jalankan browser, akseslah http://localhost:44444/page.html
5. Lihatlah di log program, bahwa setiap request akan dilayani oleh backend yang bergantian
6. Lakukan performance test seperti pada tugas 9, bandingkan penggunaan load balancer dengan async_server dengan server_thread_http pada folder progjar5
7. Buatlah tabel hasilnya

The programs here are `progjar async_server`, `progjar lb` and `progjar thread_server` in place of
async_server.py, lb.py and server_thread_http; `./run.sh all` wrote this report.
";

/// The whole file.
pub fn report(findings: &Findings, figures: &[Figure]) -> String {
    let mut text = SOAL.to_owned();
    servers(&mut text, findings);
    page(&mut text, findings);
    let _ = write!(
        text,
        "\n## Performance Test\n{}\nThe outputs are those of the median runs.\n",
        method(findings)
    );
    for system in in_order(findings) {
        runs(&mut text, findings, system);
    }
    text.push_str("\n## Tabel\n");
    for system in in_order(findings) {
        let table = table(findings, system).markdown();
        let _ = write!(text, "### {}\n{table}\n", heading(system));
    }
    text.push_str("Requests per second: median (lowest–highest) of the rounds\n\n");
    text.push_str(&markdown_table(&spread_table(findings)));
    list(&mut text, &comparisons(findings));
    text.push_str("\n## Grafik\n");
    for figure in figures {
        let _ = write!(text, "### {}\n{}\n\n", figure.title, figure.caption);
        for (name, chart) in &figure.charts {
            let _ = writeln!(text, "![{}]({name}.svg)", chart.title);
        }
    }
    ab(&mut text, findings);
    text.push_str("\n## Mesin\n");
    let _ = writeln!(text, "* Date: {}", findings.date);
    for (name, value) in findings.machine.rows() {
        let _ = writeln!(text, "* {name}: {value}");
    }
    text
}

/// Steps 2 and 3.
fn servers(text: &mut String, findings: &Findings) {
    let show = |text: &mut String, topics: &[&str]| {
        let of = findings.started.iter();
        for server in of.filter(|s| topics.contains(&s.topic)) {
            let _ = write!(text, "```\n$ {}\n{}\n```\n", server.command, server.log.join("\n"));
        }
    };
    text.push_str("\n## Jalankan async_server.py pada port 9002, 9003, 9004, 9005\n");
    show(text, &["async_server"]);
    text.push_str("\n## Jalankan file lb.py, jalankan di port 44444\n");
    show(text, &["lb"]);
    text.push_str("\nThe server to compare with:\n");
    show(text, &["thread_server"]);
}

/// Steps 4 and 5.
fn page(text: &mut String, findings: &Findings) {
    text.push_str("\n## Jalankan browser, akseslah http://localhost:44444/page.html\n");
    let _ = match &findings.screenshot {
        Ok(_) => writeln!(text, "![page.html through lb](page.png)\n"),
        Err(why) => writeln!(text, "No picture of the page: {why}.\n"),
    };
    let _ = write!(
        text,
        "Fetched through lb and compared byte for byte with the files:\n```\n{}\n```\n",
        findings.fetched.join("\n")
    );
    let _ = write!(
        text,
        "\n## Setiap request akan dilayani oleh backend yang bergantian\n\
         The same requests in the log of lb:\n```\n{}\n```\n",
        findings.rotation.join("\n")
    );
}

/// Step 6: the commands, and what came of them.
fn runs(text: &mut String, findings: &Findings, system: &System) {
    let title = system.title.split(' ').next().unwrap_or_default();
    let title = match system.title == title {
        true if title == "Async" => "Async (satu async_server, tanpa load balancer)",
        _ => title,
    };
    let _ = writeln!(text, "### {title}");
    for cell in findings.cells_of(system) {
        let (bench, ab) = commands(findings, system, level(cell));
        let output = ab_text(cell.median(), Parts::default());
        let _ = write!(text, "* {ab}\n\n```\n$ {bench}\n{}\n```\n", output.trim_matches('\n'));
    }
}

fn ab(text: &mut String, findings: &Findings) {
    text.push_str("\n## ab\n");
    if findings.ab.is_empty() {
        text.push_str("ab (apache2-utils) was not installed: there is nothing to compare with.\n");
        return;
    }
    let version = findings.ab_version.as_deref().unwrap_or("?");
    let _ = write!(
        text,
        "ab {version} against the same servers, after each run of ours: median (lowest–highest)\n\n{}",
        markdown_table(&beside_ab::table(findings))
    );
    list(text, &beside_ab::remarks(findings));
}

fn list(text: &mut String, sentences: &[String]) {
    text.push('\n');
    for sentence in sentences {
        let _ = writeln!(text, "* {sentence}");
    }
}
