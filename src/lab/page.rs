//! What is handed in: headings, text, tables and charts, as Markdown and as one HTML file that
//! needs no other, to read on a screen of any size and to print.
//!
//! Knows no measurement. Entry points: [`Page::markdown`], [`Page::write_markdown`]. Note:
//! `notes/README.md`.

use super::chart::{self, Chart};
use crate::bench::stats::Spread;
use crate::bench::table::Table;
use std::fs;
use std::path::Path;

const STYLE: &str = include_str!("page.css");

/// What stands on a page, one below the other.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    /// Level 2 or 3; [`BOLD`]: a bold line in Markdown that is part of a note.
    Heading(usize, String),
    Text(String),
    List(Vec<String>),
    Table(Table),
    /// Each with the stem of its file.
    Charts(Vec<(&'static str, Chart)>),
    /// What a program printed.
    Output(String),
    /// The same below a line that unfolds it; on paper the line alone.
    Fold(String, String),
}

/// See [`Part::Heading`].
pub(crate) const BOLD: usize = 0;

impl Part {
    pub fn heading(level: usize, text: impl Into<String>) -> Part {
        Part::Heading(level, text.into())
    }

    pub fn text(text: impl Into<String>) -> Part {
        Part::Text(text.into())
    }

    fn markdown(&self) -> String {
        match self {
            Part::Heading(BOLD, text) => format!("**{text}**\n\n"),
            Part::Heading(level, text) => format!("{} {text}\n", "#".repeat(*level)),
            Part::Text(text) => format!("{text}\n"),
            Part::List(items) => items.iter().map(|item| format!("* {item}\n")).collect(),
            Part::Table(table) => table.markdown(),
            Part::Charts(charts) => {
                let images = charts.iter();
                images.map(|(stem, chart)| format!("![{}]({stem}.svg)\n", chart.title)).collect()
            }
            Part::Output(text) => format!("```\n{text}\n```\n"),
            Part::Fold(title, text) => format!("* {title}\n\n```\n{text}\n```\n"),
        }
    }

    /// `lang`: that of the headings.
    fn html(&self, lang: &str) -> String {
        match self {
            Part::Heading(level, text) => {
                let (level, text) = (if *level == BOLD { 2 } else { *level }, escape(text));
                format!("<h{level} lang=\"{lang}\">{text}</h{level}>\n")
            }
            Part::Text(text) => format!("<p>{}</p>\n", escape(&text.replace('`', ""))),
            Part::List(items) => {
                let item =
                    |item: &String| format!("\n<li>{}</li>", escape(&item.replace("**", "")));
                format!("<ul>{}</ul>\n", items.iter().map(item).collect::<String>())
            }
            Part::Table(table) => html_of(table),
            Part::Charts(charts) => {
                let charts = charts.iter().map(|(_, chart)| chart.svg(""));
                format!("<div class=\"charts\">{}</div>\n", charts.collect::<String>())
            }
            Part::Output(text) => format!("<pre>{}</pre>\n", escape(text)),
            Part::Fold(title, text) => {
                let [title, text] = [title, text].map(|text| escape(text));
                format!("<details><summary>{title}</summary><pre>{text}</pre></details>\n")
            }
        }
    }
}

/// Rows, the first of them the heading. Wide ones scroll by themselves, not the page.
fn html_of(table: &Table) -> String {
    let is_wide = table.rows.first().is_some_and(|heading| heading.len() > 8);
    let class = if is_wide { " class=\"many\"" } else { "" };
    let mut html = format!("<div class=\"wide\"><table{class}>\n<thead>");
    for (i, row) in table.rows.iter().enumerate() {
        let (tag, end) = if i == 0 { ("th", "</thead><tbody>") } else { ("td", "") };
        let cell = |cell: &String| format!("<{tag}>{}</{tag}>", escape(cell));
        let cells: String = row.iter().map(cell).collect();
        html += &format!("<tr>{cells}</tr>{end}\n");
    }
    html + "</tbody></table></div>\n"
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[derive(Debug)]
pub(crate) struct Page {
    pub title: String,
    /// The language of its title and headings.
    pub lang: &'static str,
    pub parts: Vec<Part>,
}

impl Page {
    /// Everything below the title.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        let mut is_below_heading = true;
        for part in &self.parts {
            let is_heading = matches!(part, Part::Heading(..));
            // A heading and what it is above belong together.
            if !is_below_heading || (is_heading && !text.is_empty()) {
                text.push('\n');
            }
            text.push_str(&part.markdown());
            is_below_heading = is_heading;
        }
        text
    }

    fn html(&self) -> String {
        let (title, lang) = (escape(&self.title), self.lang);
        let parts: String = self.parts.iter().map(|part| part.html(lang)).collect();
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <title>{title}</title>\n<style>\n{STYLE}{}</style>\n</head>\n<body>\n\
             <h1 lang=\"{lang}\">{title}</h1>\n{parts}</body>\n</html>\n",
            chart::STYLE,
        )
    }

    pub fn write_markdown(&self, folder: &Path, name: &str) -> Result<(), String> {
        let text = format!("# {}\n\n{}", self.title, self.markdown());
        put(folder, &format!("{name}.md"), text.as_bytes())
    }

    /// NAME.html, which holds its charts, and these as files for the Markdown.
    pub fn write_html(&self, folder: &Path, name: &str) -> Result<(), String> {
        for part in &self.parts {
            if let Part::Charts(charts) = part {
                put_charts(folder, charts)?;
            }
        }
        put(folder, &format!("{name}.html"), self.html().as_bytes())
    }
}

pub(crate) fn put(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), String> {
    let path = folder.join(name);
    fs::write(&path, bytes).map_err(|e| format!("cannot write '{}': {e}", path.display()))
}

pub(crate) fn put_charts(folder: &Path, charts: &[(&str, Chart)]) -> Result<(), String> {
    let mut charts = charts.iter();
    charts.try_for_each(|(stem, chart)| {
        put(folder, &format!("{stem}.svg"), chart.standalone().as_bytes())
    })
}

/// A number as people write it: 23,999, 151, 9.87, 0.042.
pub fn number(value: f64) -> String {
    match value.abs() {
        1000.0.. => {
            let digits = format!("{value:.0}");
            let comma = |(i, digit): (usize, char)| match (digits.len() - i) % 3 {
                0 if i > 0 => format!(",{digit}"),
                _ => digit.to_string(),
            };
            digits.chars().enumerate().map(comma).collect()
        }
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

pub(crate) fn spread(of: Spread) -> String {
    let [median, lowest, highest] = [of.median, of.lowest, of.highest].map(number);
    format!("{median} ({lowest}–{highest})")
}
