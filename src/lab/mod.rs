//! Around the core, never imported by it: measurements and experiments that explain themselves,
//! and the parts that they and the report of `all` are made of.
//!
//! Note: `notes/README.md`.

// other programs: run to their end, or until their guard is dropped
pub(crate) mod process;
// servers as processes, ours and others'
pub(crate) mod fleet;
// memory, descriptors, preemptions, families
pub(crate) mod usage;
// an axis and its ticks
pub(crate) mod scale;
// lines, markers, a legend: one chart as SVG
pub(crate) mod chart;
// headings, text, tables, charts: Markdown and HTML
pub(crate) mod page;
// machine, moment, command
pub(crate) mod machine;
// results blocks in the notes
pub mod notes;
// what is left of a server that does not think: the bound for all others
pub mod floor;
// this program beside nginx and HAProxy; its pollers; its tricks
pub mod compare;
// the judge on our servers and on those of others
pub mod peers;
// the ways to get a wrong table, replayed and explained
pub mod exhibit;
