//! report.html: one file that needs no other, to read on a screen of any size and to print.
//!
//! The assignment's tables come first. Entry point: [`report`]. Note: `notes/README.md`.

use super::figures::Figure;
use super::words::{commands, comparisons, heading, in_order, level, method, spread_table, table};
use super::{Findings, beside_ab, chart};
use crate::bench::plan::base64;
use crate::bench::report::{Parts, ab_text};
use std::fmt::Write;

const STYLE: &str = include_str!("page.css");

/// The whole file.
pub fn report(findings: &Findings, figures: &[Figure]) -> String {
    let mut html = format!(
        "<h1 lang=\"id\">Tugas 10 Pemrograman Jaringan</h1>\n\
         <p class=\"soft\">async_server, lb and thread_server, measured by <code>./run.sh all</code> on {}</p>\n",
        escape(&findings.date)
    );
    tables(&mut html, findings);
    html.push_str("<h2 lang=\"id\">Grafik</h2>\n");
    for figure in figures {
        let _ = writeln!(html, "<figure><h3>{}</h3><div class=\"charts\">", figure.title);
        for (_, chart) in &figure.charts {
            html.push_str(&chart.inline());
        }
        let _ =
            writeln!(html, "</div><figcaption>{}</figcaption></figure>", escape(&figure.caption));
    }
    ab(&mut html, findings);
    page(&mut html, findings);
    machine(&mut html, findings);
    repeat(&mut html, findings);
    outputs(&mut html, findings);
    whole("Tugas 10 Pemrograman Jaringan", &html)
}

/// A page that needs no other file.
pub(crate) fn whole(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{}</title>\n<style>\n{STYLE}{}</style>\n</head>\n<body>\n{body}</body>\n</html>\n",
        escape(title),
        chart::STYLE,
    )
}

fn tables(html: &mut String, findings: &Findings) {
    html.push_str("<h2 lang=\"id\">Tabel</h2>\n");
    if let Some(trouble) = findings.trouble() {
        let _ = writeln!(html, "<p class=\"trouble\">Beware: {}.</p>", escape(&trouble));
    }
    let mut markdown = String::new();
    for system in in_order(findings) {
        let table = table(findings, system);
        let title = heading(system);
        let _ = writeln!(html, "<h3 lang=\"id\">{}</h3>", escape(&title));
        table_of(html, &table.rows);
        let _ = write!(markdown, "### {title}\n{}\n", table.markdown());
    }
    let _ = write!(
        html,
        "<p>{}</p>\n<details class=\"screen\"><summary>The same as Markdown, to paste</summary><pre>{}</pre></details>\n\
         <h3>Requests per second: median (lowest–highest) of {} rounds</h3>\n",
        escape(&method(findings)),
        escape(markdown.trim_end()),
        findings.rounds
    );
    table_of(html, &spread_table(findings));
    list(html, &comparisons(findings));
}

fn ab(html: &mut String, findings: &Findings) {
    html.push_str("<h2>ab beside progjar bench</h2>\n");
    if findings.ab.is_empty() {
        html.push_str(
            "<p>ab (apache2-utils) was not installed: there is nothing to compare with.</p>\n",
        );
        return;
    }
    let _ = writeln!(
        html,
        "<p>ab {} against the same servers, a run after each run of ours. Rates are median (lowest–highest); \
         the other figures are those of ab's median run.</p>",
        escape(findings.ab_version.as_deref().unwrap_or("?"))
    );
    table_of(html, &beside_ab::table(findings));
    list(html, &beside_ab::remarks(findings));
}

/// Steps 2 to 5.
fn page(html: &mut String, findings: &Findings) {
    html.push_str("<h2 lang=\"id\">Jalankan async_server, lb dan thread_server</h2>\n<pre>");
    for server in &findings.started {
        let first = server.log.first().map_or("", String::as_str);
        let _ = writeln!(html, "$ {}\n{}", escape(&server.command), escape(first));
    }
    html.push_str("</pre>\n<h2 lang=\"id\">Jalankan browser, akseslah page.html</h2>\n");
    let _ = match &findings.screenshot {
        Ok(png) => writeln!(
            html,
            "<p><img class=\"shot\" alt=\"page.html in Chromium, fetched through lb\" src=\"data:image/png;base64,{}\"></p>",
            base64(png)
        ),
        Err(why) => writeln!(html, "<p>No picture of the page: {}.</p>", escape(why)),
    };
    let _ = write!(
        html,
        "<p>Fetched through lb and compared byte for byte with the files:</p>\n<pre>{}</pre>\n\
         <h2 lang=\"id\">Setiap request akan dilayani oleh backend yang bergantian</h2>\n\
         <p>The same requests in the log of lb:</p>\n<pre>{}</pre>\n",
        escape(&findings.fetched.join("\n")),
        escape(&findings.rotation.join("\n"))
    );
}

fn machine(html: &mut String, findings: &Findings) {
    html.push_str("<h2 lang=\"id\">Mesin</h2>\n<dl>\n");
    let date = ("Date", findings.date.clone());
    for (name, value) in findings.machine.rows().into_iter().chain([date]) {
        let _ = writeln!(html, "<dt>{name}</dt><dd>{}</dd>", escape(&value));
    }
    html.push_str("</dl>\n");
}

fn repeat(html: &mut String, findings: &Findings) {
    html.push_str("<h2>To repeat each row</h2>\n<p>While the servers run:</p>\n");
    for system in in_order(findings) {
        let _ = write!(html, "<h3 lang=\"id\">{}</h3>\n<pre>", escape(&heading(system)));
        for cell in findings.cells_of(system) {
            let (bench, ab) = commands(findings, system, level(cell));
            let _ = writeln!(html, "{}\n{}", escape(&bench), escape(&ab));
        }
        html.push_str("</pre>\n");
    }
}

/// What `bench` prints, for each row.
fn outputs(html: &mut String, findings: &Findings) {
    html.push_str("<div class=\"screen\">\n<h2>The report of each median run</h2>\n");
    for system in in_order(findings) {
        for cell in findings.cells_of(system) {
            let text = ab_text(cell.median(), Parts::default());
            let _ = writeln!(
                html,
                "<details><summary>{}, concurrency level {}</summary><pre>{}</pre></details>",
                system.title,
                level(cell),
                escape(text.trim_matches('\n'))
            );
        }
    }
    html.push_str("</div>\n");
}

/// Rows, the first of them the heading. Wide ones scroll by themselves, not the page.
pub(crate) fn table_of(html: &mut String, rows: &[Vec<String>]) {
    let class = match rows.first() {
        Some(heading) if heading.len() > 8 => " class=\"many\"",
        _ => "",
    };
    let _ = writeln!(html, "<div class=\"wide\"><table{class}>");
    for (i, row) in rows.iter().enumerate() {
        let tag = if i == 0 { "th" } else { "td" };
        let cells: String =
            row.iter().map(|cell| format!("<{tag}>{}</{tag}>", escape(cell))).collect();
        let _ = match i {
            0 => writeln!(html, "<thead><tr>{cells}</tr></thead><tbody>"),
            _ => writeln!(html, "<tr>{cells}</tr>"),
        };
    }
    html.push_str("</tbody></table></div>\n");
}

fn list(html: &mut String, sentences: &[String]) {
    html.push_str("<ul>\n");
    for sentence in sentences {
        let _ = writeln!(html, "<li>{}</li>", escape(sentence));
    }
    html.push_str("</ul>\n");
}

/// The text as HTML that shows it.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
