//! One chart as SVG: axes with ticks, a legend, lines with markers and bars from lowest to
//! highest, or outlines of a histogram.
//!
//! Knows no run. Colours are Okabe and Ito's, which the colour-blind can tell apart; each
//! series also has its own marker and dash. Entry points: [`Chart::inline`], [`Chart::standalone`].
//! Note: `notes/README.md`.

use super::scale::Scale;
use crate::bench::stats::Spread;
use std::fmt::Write;

/// The size of a chart, in its own units: about as wide as a phone, so that its letters stay
/// readable there.
const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 316.0;
/// The place of the plot in it.
const LEFT: f64 = 70.0;
const RIGHT: f64 = 428.0;
const TOP: f64 = 54.0;
const BOTTOM: f64 = 266.0;

/// The colours and lines of all charts; in a page it is needed once.
pub const STYLE: &str = include_str!("chart.css");

/// A value with the lowest and the highest that were measured.
#[derive(Debug, Clone, Copy)]
pub struct Point {
    /// Across.
    pub x: f64,
    /// Up.
    pub y: f64,
    /// From lowest to highest, if it is to be shown.
    pub span: Option<(f64, f64)>,
}

impl Point {
    /// The median, with a bar from the lowest to the highest.
    pub fn over(x: f64, spread: Spread) -> Point {
        Point { x, y: spread.median, span: Some((spread.lowest, spread.highest)) }
    }

    /// One value.
    pub fn at(x: f64, y: f64) -> Point {
        Point { x, y, span: None }
    }
}

/// How a series is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A line with a marker at each point.
    Line,
    /// Markers alone: what lies across has no order.
    Marks,
    /// Steps, each from its point to the next.
    Steps,
}

/// One system's line.
#[derive(Debug)]
pub struct Series {
    /// As in the legend.
    pub name: &'static str,
    /// In the order of x.
    pub points: Vec<Point>,
}

/// All that a chart shows. The first five series have looks of their own.
#[derive(Debug)]
pub struct Chart {
    /// What it shows, in a few words.
    pub title: String,
    /// What lies across, with its unit.
    pub x_label: &'static str,
    /// What goes up, with its unit.
    pub y_label: &'static str,
    /// Across.
    pub x: Scale,
    /// Up.
    pub y: Scale,
    /// How the series are drawn.
    pub shape: Shape,
    /// The systems.
    pub series: Vec<Series>,
}

impl Chart {
    /// For a page that has [`STYLE`].
    pub fn inline(&self) -> String {
        self.svg("")
    }

    /// For a file of its own.
    pub fn standalone(&self) -> String {
        let style = format!(
            "<title>{}</title>\n<desc>{} against {}</desc>\n<style>{STYLE}</style>\n",
            self.title, self.y_label, self.x_label
        );
        let svg = self.svg(&style);
        svg.replacen("<svg ", "<svg xmlns=\"http://www.w3.org/2000/svg\" ", 1)
    }

    fn svg(&self, style: &str) -> String {
        let names: Vec<&str> = self.series.iter().map(|s| s.name).collect();
        let mut svg = format!(
            "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}: {} against {}, for {}\">\n{style}\
             <rect class=\"paper\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n\
             <text class=\"title\" x=\"{LEFT}\" y=\"16\">{}</text>\n",
            self.title,
            self.y_label,
            self.x_label,
            names.join(", "),
            self.title
        );
        self.legend(&mut svg);
        self.axes(&mut svg);
        for (i, series) in self.series.iter().enumerate() {
            match self.shape {
                Shape::Line | Shape::Marks => self.line(&mut svg, i, series),
                Shape::Steps => self.steps(&mut svg, i, series),
            }
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn legend(&self, svg: &mut String) {
        let mut x = LEFT;
        for (i, series) in self.series.iter().enumerate() {
            // A marker alone needs less room than a line.
            let end = x + if self.shape == Shape::Marks { 20.0 } else { 28.0 };
            if self.shape != Shape::Marks {
                let _ = writeln!(svg, "<path class=\"line s{i}\" d=\"M{x:.1} 35H{end:.1}\"/>");
            }
            if self.shape != Shape::Steps {
                marker(svg, i, (x + end) / 2.0, 35.0);
            }
            let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"39\">{}</text>", end + 5.0, series.name);
            x = end + 14.0 + 6.2 * series.name.chars().count() as f64;
        }
    }

    fn axes(&self, svg: &mut String) {
        for (value, name) in &self.y.ticks {
            let y = self.up(*value);
            let _ = writeln!(
                svg,
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/><text class=\"end\" x=\"{:.1}\" y=\"{:.1}\">{name}</text>",
                LEFT - 6.0,
                y + 4.0
            );
        }
        for (value, name) in &self.x.ticks {
            let x = self.across(*value);
            let _ = writeln!(
                svg,
                "<path class=\"axis\" d=\"M{x:.1} {BOTTOM}v4\"/><text class=\"middle\" x=\"{x:.1}\" y=\"{:.1}\">{name}</text>",
                BOTTOM + 18.0
            );
        }
        let _ = writeln!(
            svg,
            "<path class=\"axis\" d=\"M{LEFT} {TOP}V{BOTTOM}H{RIGHT}\"/>\n\
             <text class=\"middle\" x=\"{:.1}\" y=\"{:.1}\">{}</text>\n\
             <text class=\"middle\" transform=\"translate(13 {:.1}) rotate(-90)\">{}</text>",
            (LEFT + RIGHT) / 2.0,
            HEIGHT - 8.0,
            self.x_label,
            (TOP + BOTTOM) / 2.0,
            self.y_label
        );
    }

    fn line(&self, svg: &mut String, i: usize, series: &Series) {
        // Side by side, so that the bars of systems that are equally fast do not hide each other.
        let has_spans = series.points.iter().any(|p| p.span.is_some());
        let aside =
            if has_spans { (i as f64 - (self.series.len() as f64 - 1.0) / 2.0) * 5.0 } else { 0.0 };
        let place = |p: &Point| (self.across(p.x) + aside, self.up(p.y));
        let path: Vec<String> =
            series.points.iter().map(|p| format!("{:.1} {:.1}", place(p).0, place(p).1)).collect();
        if self.shape == Shape::Line {
            let _ = writeln!(svg, "<path class=\"line s{i}\" d=\"M{}\"/>", path.join("L"));
        }
        for point in &series.points {
            let (x, y) = place(point);
            if let Some((low, high)) = point.span {
                let (low, high) = (self.up(low), self.up(high));
                let _ = writeln!(
                    svg,
                    "<path class=\"span s{i}\" d=\"M{x:.1} {low:.1}V{high:.1}m-3 0h6M{:.1} {low:.1}h6\"/>",
                    x - 3.0
                );
            }
            marker(svg, i, x, y);
        }
    }

    fn steps(&self, svg: &mut String, i: usize, series: &Series) {
        let mut path = String::new();
        // What lies beyond the axis is left out, not piled up at its end.
        let within = |p: &&Point| self.x.holds(p.x);
        for (n, point) in series.points.iter().filter(within).enumerate() {
            let (x, y) = (self.across(point.x), self.up(point.y));
            let _ = match n {
                0 => write!(path, "M{x:.1} {BOTTOM:.1}V{y:.1}"),
                _ => write!(path, "H{x:.1}V{y:.1}"),
            };
        }
        let _ = writeln!(svg, "<path class=\"line s{i}\" d=\"{path}\"/>");
    }

    fn across(&self, value: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * self.x.share(value)
    }

    fn up(&self, value: f64) -> f64 {
        BOTTOM - (BOTTOM - TOP) * self.y.share(value)
    }
}

fn marker(svg: &mut String, i: usize, x: f64, y: f64) {
    let path = match i {
        0 => "m-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
        1 => "m-3.7-3.7h7.4v7.4h-7.4z",
        2 => "m0-4.8l4.6 8h-9.2z",
        3 => "m0-5l5 5l-5 5l-5-5z",
        _ => "m-5-1.6h10v3.2h-10z",
    };
    let _ = writeln!(svg, "<path class=\"mark s{i}\" d=\"M{x:.1} {y:.1}{path}\"/>");
}
