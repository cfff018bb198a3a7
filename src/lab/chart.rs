//! One chart as SVG: axes with ticks, a legend, markers with bars from lowest to highest, joined
//! by lines or not; readable on paper, in dark mode and on a phone.
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
pub(crate) const STYLE: &str = include_str!("chart.css");

/// A place across, and what was measured there; lowest and highest are the same where only one
/// value is shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Point {
    pub x: f64,
    pub y: Spread,
}

impl Point {
    pub fn at(x: f64, y: f64) -> Point {
        Point { x, y: Spread { lowest: y, median: y, highest: y } }
    }
}

/// One system's points, in the order of x.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    /// As in the legend.
    pub name: String,
    pub points: Vec<Point>,
}

/// All that a chart shows. The first five series have looks of their own.
#[derive(Debug, Clone)]
pub(crate) struct Chart {
    /// What it shows, in a few words.
    pub title: String,
    /// What lies across, with its unit.
    pub x_label: &'static str,
    /// What goes up, with its unit.
    pub y_label: &'static str,
    pub x: Scale,
    pub y: Scale,
    /// Without, what lies across has no order.
    pub has_lines: bool,
    pub series: Vec<Series>,
}

/// The lowest and the highest of all values.
pub(crate) fn extent(series: &[Series]) -> (f64, f64) {
    let values = || series.iter().flat_map(|s| &s.points).map(|p| p.y);
    let low = values().map(|y| y.lowest).fold(f64::INFINITY, f64::min);
    (low, values().map(|y| y.highest).fold(0.0, f64::max))
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
        let Chart { title, x_label, y_label, .. } = self;
        let names: Vec<&str> = self.series.iter().map(|s| s.name.as_str()).collect();
        let mut svg = format!(
            "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}: {y_label} against {x_label}, for {}\">\n{style}\
             <rect class=\"paper\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n\
             <text class=\"title\" x=\"{LEFT}\" y=\"16\">{title}</text>\n",
            names.join(", "),
        );
        // A lone series goes without saying.
        if names.len() > 1 {
            self.legend(&mut svg);
        }
        self.axes(&mut svg);
        for (i, series) in self.series.iter().enumerate() {
            self.draw(&mut svg, i, series);
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn legend(&self, svg: &mut String) {
        let mut x = LEFT;
        for (i, series) in self.series.iter().enumerate() {
            // A marker alone needs less room than a line.
            let end = x + if self.has_lines { 28.0 } else { 20.0 };
            if self.has_lines {
                let _ = writeln!(svg, "<path class=\"line s{i}\" d=\"M{x:.1} 35H{end:.1}\"/>");
            }
            marker(svg, i, (x + end) / 2.0, 35.0);
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

    fn draw(&self, svg: &mut String, i: usize, series: &Series) {
        let has_spans = series.points.iter().any(|p| p.y.lowest < p.y.highest);
        // Side by side, so that the bars of systems that are equally fast do not hide each other.
        let middle = (self.series.len() as f64 - 1.0) / 2.0;
        let aside = if has_spans { (i as f64 - middle) * 5.0 } else { 0.0 };
        let place = |p: &Point| (self.across(p.x) + aside, self.up(p.y.median));
        let path: Vec<String> =
            series.points.iter().map(place).map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
        if self.has_lines {
            let _ = writeln!(svg, "<path class=\"line s{i}\" d=\"M{}\"/>", path.join("L"));
        }
        for point in &series.points {
            let (x, y) = place(point);
            if has_spans {
                let (low, high) = (self.up(point.y.lowest), self.up(point.y.highest));
                let _ = writeln!(
                    svg,
                    "<path class=\"span s{i}\" d=\"M{x:.1} {low:.1}V{high:.1}m-3 0h6M{:.1} {low:.1}h6\"/>",
                    x - 3.0
                );
            }
            marker(svg, i, x, y);
        }
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
