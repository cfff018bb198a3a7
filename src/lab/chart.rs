//! One chart as SVG: axes with ticks, a legend, markers with bars from lowest to highest, joined
//! by lines or not; readable on paper, in dark mode and on a phone.
//!
//! Knows no run. Colours are Okabe and Ito's, which the colour-blind can tell apart; each
//! series also has its own marker and dash. Entry points: [`Chart::svg`], [`Chart::standalone`].
//! Note: `notes/README.md`.

use super::page::number;
use crate::bench::stats::Spread;
use std::fmt::Write;

/// In units of their own: about as wide as a phone, so that letters stay readable there.
const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 316.0;
/// The place of the plot in it.
const LEFT: f64 = 70.0;
const RIGHT: f64 = 428.0;
const TOP: f64 = 54.0;
const BOTTOM: f64 = 266.0;

/// The colours and lines of all charts; in a page it is needed once.
pub(crate) const STYLE: &str = include_str!("chart.css");

/// One system's points, in the order of places across: each with what was measured there.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub name: String,
    pub points: Vec<(f64, Spread)>,
}

/// All that a chart shows. The first five series have looks of their own.
#[derive(Debug, Clone)]
pub(crate) struct Chart {
    pub title: String,
    pub x_label: &'static str,
    pub y_label: &'static str,
    pub x: Scale,
    /// Whether what goes up does so from zero, or else on a logarithmic scale.
    pub from_zero: bool,
    /// Without, what lies across has no order.
    pub has_lines: bool,
    pub series: Vec<Series>,
}

impl Chart {
    /// For a file of its own.
    pub fn standalone(&self) -> String {
        let Chart { title, x_label, y_label, .. } = self;
        let desc = format!("<desc>{y_label} against {x_label}</desc>");
        let svg = self.svg(&format!("<title>{title}</title>\n{desc}\n<style>{STYLE}</style>\n"));
        svg.replacen("<svg ", "<svg xmlns=\"http://www.w3.org/2000/svg\" ", 1)
    }

    /// With that at its beginning; nothing in a page that has [`STYLE`].
    pub fn svg(&self, style: &str) -> String {
        let Chart { title, x_label, y_label, .. } = self;
        let names: Vec<&str> = self.series.iter().map(|s| s.name.as_str()).collect();
        let mut svg = format!(
            "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}: {y_label} against {x_label}, for {}\">\n{style}\
             <rect class=\"paper\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n\
             <text class=\"title\" x=\"{LEFT}\" y=\"16\">{title}</text>\n",
            names.join(", "),
        );
        // A lone series needs no name.
        if names.len() > 1 {
            self.legend(&mut svg);
        }
        let values = || self.series.iter().flat_map(|s| &s.points).map(|(_, y)| y);
        let highest = values().map(|y| y.highest).fold(0.0, f64::max);
        let y = match self.from_zero {
            true => Scale::from_zero(highest),
            false => Scale::log(values().map(|y| y.lowest).fold(highest, f64::min), highest),
        };
        self.axes(&mut svg, &y);
        for (i, series) in self.series.iter().enumerate() {
            self.draw(&mut svg, i, series, &y);
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

    fn axes(&self, svg: &mut String, y: &Scale) {
        for (value, name) in &y.ticks {
            let (end, y) = (LEFT - 6.0, up(y, *value));
            let _ = write!(svg, "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/>");
            let _ =
                writeln!(svg, "<text class=\"end\" x=\"{end}\" y=\"{:.1}\">{name}</text>", y + 4.0);
        }
        for (value, name) in &self.x.ticks {
            let (x, below) = (self.across(*value), BOTTOM + 18.0);
            let _ = write!(svg, "<path class=\"axis\" d=\"M{x:.1} {BOTTOM}v4\"/>");
            let _ =
                writeln!(svg, "<text class=\"middle\" x=\"{x:.1}\" y=\"{below}\">{name}</text>");
        }
        let _ = writeln!(
            svg,
            "<path class=\"axis\" d=\"M{LEFT} {TOP}V{BOTTOM}H{RIGHT}\"/>\n\
             <text class=\"middle\" x=\"{}\" y=\"{}\">{}</text>\n\
             <text class=\"middle\" transform=\"translate(13 {}) rotate(-90)\">{}</text>",
            (LEFT + RIGHT) / 2.0,
            HEIGHT - 8.0,
            self.x_label,
            (TOP + BOTTOM) / 2.0,
            self.y_label
        );
    }

    fn draw(&self, svg: &mut String, i: usize, series: &Series, y: &Scale) {
        let has_spans = series.points.iter().any(|(_, y)| y.lowest < y.highest);
        // Side by side, so that the bars of systems that are equally fast do not hide each other.
        let middle = (self.series.len() as f64 - 1.0) / 2.0;
        let aside = if has_spans { (i as f64 - middle) * 5.0 } else { 0.0 };
        let place = |(x, at): &(f64, Spread)| (self.across(*x) + aside, up(y, at.median));
        if self.has_lines {
            let path = series.points.iter().map(place).map(|(x, y)| format!("{x:.1} {y:.1}"));
            let path = path.collect::<Vec<_>>().join("L");
            let _ = writeln!(svg, "<path class=\"line s{i}\" d=\"M{path}\"/>");
        }
        for point in &series.points {
            let (x, middle) = place(point);
            if has_spans {
                let (low, high) = (up(y, point.1.lowest), up(y, point.1.highest));
                let bar = format!("M{x:.1} {low:.1}V{high:.1}m-3 0h6M{:.1} {low:.1}h6", x - 3.0);
                let _ = writeln!(svg, "<path class=\"span s{i}\" d=\"{bar}\"/>");
            }
            marker(svg, i, x, middle);
        }
    }

    fn across(&self, value: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * self.x.share(value)
    }
}

fn up(scale: &Scale, value: f64) -> f64 {
    BOTTOM - (BOTTOM - TOP) * scale.share(value)
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

/// From values to places on an axis, and the few round values that are written beside it.
#[derive(Debug, Clone)]
pub struct Scale {
    low: f64,
    high: f64,
    is_log: bool,
    /// Where there is a tick, and what stands beside it.
    pub ticks: Vec<(f64, String)>,
}

impl Scale {
    /// From zero to a little more than `high`, in about five steps of 1, 2 or 5.
    pub fn from_zero(high: f64) -> Scale {
        let least = high.max(1e-9) / 5.0;
        let power = 10_f64.powf(least.log10().floor());
        let steps = [1.0, 2.0, 5.0].map(|digit| digit * power);
        let step = steps.into_iter().find(|s| *s >= least * 0.9999).unwrap_or(power * 10.0);
        let count = (high / step).ceil().max(1.0) as usize;
        let ticks = (0..=count).map(|i| i as f64 * step).map(|v| (v, plain(v))).collect();
        Scale { low: 0.0, high: count as f64 * step, is_log: false, ticks }
    }

    /// Logarithmic over all the values: ends and ticks lie on 1, 2 or 5; over many decades, on 1.
    pub fn log(low: f64, high: f64) -> Scale {
        let low = low.max(1e-9);
        let high = high.max(low * 2.0);
        let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
        let digits: &[f64] = if high / low < 100.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let ticks = decades.flat_map(|n| digits.iter().map(move |d| d * 10_f64.powi(n)));
        let mut ticks: Vec<f64> = ticks.collect();
        let above = ticks.iter().position(|v| *v >= high * 0.9999).unwrap_or(ticks.len() - 1);
        let below = ticks.iter().rposition(|v| *v <= low * 1.0001).unwrap_or(0);
        ticks = ticks[below..=above].to_vec();
        let (low, high) = (ticks[0], ticks[ticks.len() - 1]);
        let ticks = ticks.into_iter().map(|v| (v, plain(v))).collect();
        Scale { low, high, is_log: true, ticks }
    }

    /// A place for each name, beginning at 0.
    pub fn places(names: impl Iterator<Item = String>) -> Scale {
        let ticks: Vec<(f64, String)> = names.enumerate().map(|(i, n)| (i as f64, n)).collect();
        Scale { low: -0.5, high: ticks.len() as f64 - 0.5, is_log: false, ticks }
    }

    /// The share of the axis below `value`, from 0 to 1.
    pub fn share(&self, value: f64) -> f64 {
        let share = match self.is_log {
            true => (value.max(1e-12) / self.low).ln() / (self.high / self.low).ln(),
            false => (value - self.low) / (self.high - self.low),
        };
        share.clamp(0.0, 1.0)
    }
}

/// Without the zeros behind a point that say nothing.
fn plain(value: f64) -> String {
    if value >= 1000.0 {
        return number(value);
    }
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
