//! Tables and charts as Markdown, as HTML and as files; what they say is none of its business.
//!
//! Entry points: [`Page::markdown`], [`Page::write`], [`Page::refresh`].

use crate::lab::notes;
use crate::lab::report::chart::Chart;
use crate::lab::report::html::{self, escape, table_of};
use crate::lab::report::words::markdown_table;
use crate::lab::report::{put, put_charts};
use std::fmt::Write;
use std::path::Path;

/// A heading, a table, and sentences below it.
#[derive(Debug)]
pub struct Part {
    pub heading: &'static str,
    /// The first row is the table's heading.
    pub rows: Vec<Vec<String>>,
    pub sentences: Vec<String>,
}

/// All that one command found out.
#[derive(Debug)]
pub struct Page {
    /// The stem of its files, and the name of its results block.
    pub name: &'static str,
    pub title: &'static str,
    /// How it was measured.
    pub method: String,
    pub parts: Vec<Part>,
    /// Each with the stem of its file.
    pub charts: Vec<(&'static str, Chart)>,
}

impl Page {
    /// Method, tables and sentences.
    pub fn markdown(&self) -> String {
        let mut text = format!("{}\n", self.method);
        for part in &self.parts {
            let table = markdown_table(&part.rows);
            let _ = write!(text, "\n**{}**\n\n{table}", part.heading);
            for sentence in &part.sentences {
                let _ = write!(text, "\n{sentence}\n");
            }
        }
        text
    }

    fn html(&self) -> String {
        let mut html = format!(
            "<h1>{}</h1>\n<p>{}</p>\n<div class=\"charts\">",
            escape(self.title),
            escape(&self.method.replace('`', ""))
        );
        for (_, chart) in &self.charts {
            html.push_str(&chart.inline());
        }
        html.push_str("</div>\n");
        for part in &self.parts {
            let _ = writeln!(html, "<h2>{}</h2>", escape(part.heading));
            table_of(&mut html, &part.rows);
            for sentence in &part.sentences {
                let _ = writeln!(html, "<p>{}</p>", escape(sentence));
            }
        }
        html::whole(self.title, &html)
    }

    /// Writes NAME.md, NAME.html, NAME.csv and the charts into the folder.
    pub fn write(&self, folder: &Path, csv: &str) -> Result<(), String> {
        let mut markdown = format!("# {}\n\n{}", self.title, self.markdown());
        for (stem, chart) in &self.charts {
            let _ = write!(markdown, "\n![{}]({stem}.svg)\n", chart.title);
        }
        put(folder, &format!("{}.md", self.name), markdown.as_bytes())?;
        put(folder, &format!("{}.html", self.name), self.html().as_bytes())?;
        put(folder, &format!("{}.csv", self.name), csv.as_bytes())?;
        put_charts(folder, &self.charts)
    }

    /// Puts the tables into this page's block of the notes, and the charts into their images;
    /// how many blocks there were.
    pub fn refresh(&self, notes_folder: &Path) -> Result<usize, String> {
        let block = |name: &str| (name == self.name).then(|| self.markdown());
        let count = notes::refresh(notes_folder, &block)?;
        let images = notes_folder.join("img");
        if count > 0 && images.is_dir() {
            put_charts(&images, &self.charts)?;
        }
        Ok(count)
    }
}
