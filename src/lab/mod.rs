//! Around the core, never imported by it: measurements and experiments that explain themselves.

// what is left of a server that does not think: the bound for all others
pub mod floor;
// the same work on nginx and HAProxy; the three pollers side by side
pub mod compare;
// the ways to get a wrong table, replayed and explained
pub mod exhibit;
// results blocks in the notes
pub mod notes;
// tables, charts, HTML: what is handed in
pub mod report;
