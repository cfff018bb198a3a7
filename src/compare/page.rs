//! Tables and charts as Markdown, as HTML and as files; what they say is none of its business.
//!
//! Entry points: [`Page::markdown`], [`Page::write`], [`Page::refresh`].

use crate::notes;
use crate::report::chart::{self, Chart};
use crate::report::html::{self, escape, table_of};
use crate::report::words::markdown_table;
use std::fmt::Write;
use std::fs;
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
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <title>{title}</title>\n<style>\n{}{}</style>\n</head>\n<body>\n<h1>{title}</h1>\n<p>{}</p>\n",
            html::STYLE,
            chart::STYLE,
            escape(&self.method.replace('`', "")),
            title = escape(self.title),
        );
        html.push_str("<div class=\"charts\">");
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
        html.push_str("</body>\n</html>\n");
        html
    }

    /// Writes NAME.md, NAME.html, NAME.csv and the charts into the folder.
    pub fn write(&self, folder: &Path, csv: &str) -> Result<(), String> {
        let mut markdown = format!("# {}\n\n{}", self.title, self.markdown());
        for (stem, chart) in &self.charts {
            let _ = write!(markdown, "\n![{}]({stem}.svg)\n", chart.title);
        }
        put(folder, &format!("{}.md", self.name), &markdown)?;
        put(folder, &format!("{}.html", self.name), &self.html())?;
        put(folder, &format!("{}.csv", self.name), csv)?;
        self.write_charts(folder)
    }

    fn write_charts(&self, folder: &Path) -> Result<(), String> {
        for (stem, chart) in &self.charts {
            put(folder, &format!("{stem}.svg"), &chart.standalone())?;
        }
        Ok(())
    }

    /// Puts the tables into this page's block of the notes, and the charts into their images;
    /// how many blocks there were.
    pub fn refresh(&self, notes_folder: &Path) -> Result<usize, String> {
        let block = |name: &str| (name == self.name).then(|| self.markdown());
        let count = notes::refresh(notes_folder, &block)?;
        let images = notes_folder.join("img");
        if count > 0 && images.is_dir() {
            self.write_charts(&images)?;
        }
        Ok(count)
    }
}

fn put(folder: &Path, name: &str, text: &str) -> Result<(), String> {
    let path = folder.join(name);
    fs::write(&path, text).map_err(|e| format!("cannot write '{}': {e}", path.display()))
}
