//! Around the core, never imported by it: measurements and experiments that explain themselves,
//! and the parts that they and the report of `all` are made of.
//!
//! Note: `notes/README.md`.

// other programs: found, and run to their end
pub(crate) mod process;
// servers as processes, ours and others'
pub(crate) mod fleet;
// axes, lines, markers, a legend: one chart as SVG
pub mod chart;
// headings, text, tables, charts: Markdown and HTML
pub mod page;
// results blocks in the notes, and what they come from
pub mod notes;
// what is left of a server that does not think: the bound for all others
pub mod floor;
// this program beside nginx and HAProxy; its pollers; its tricks
pub mod compare;
// the judge on our servers and on those of others
pub mod peers;
// the ways to get a wrong table, replayed and explained
pub mod exhibit;
