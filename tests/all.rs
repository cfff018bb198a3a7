//! The tests of the whole program, in one binary: it is linked once, and tests that wait do so at the
//! same time, whatever file they stand in. A file is a topic: `cargo test lb_retry::` runs one.
//!
//! How many run at once stands in `.cargo/config.toml`: more than there are cores, since most of
//! them wait for a timeout of the program.

mod addresses;
mod architecture;
mod assignment;
mod bench;
mod compare;
mod delay;
mod echo;
mod endings;
mod exhibit;
mod failover;
mod fairness;
mod floor;
mod forwarding;
mod fuzz;
mod hostile;
mod http_cases;
mod instrument;
mod judge;
mod judge_labs;
mod judge_lb;
mod lb;
mod lb_blame;
mod lb_cases;
mod lb_choices;
mod lb_claims;
mod lb_content;
mod lb_retry;
mod listening;
mod lying_backends;
mod memory;
mod neighbours;
mod netns;
mod notes;
mod recipient;
mod run_sh;
mod starting;
mod stopping;
mod streaming;
mod support;
mod targets;
mod thread_server;
