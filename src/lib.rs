//! How network servers work, on plain std: two HTTP servers that differ only in who waits, a
//! load balancer, and a bench; with everything that they need written out, to be read.
//!
//! The rooms stand below in reading order; each has a note in `notes/`, and `notes/README.md`
//! is the way through both. `http` names no socket, `net` no HTTP, a policy of `lb` neither;
//! `bench` and `judge` share no parser with what they measure and judge. `unsafe` stands in `net/sys.rs` alone.
#![deny(unsafe_code)]
#![allow(rustdoc::private_intra_doc_links)] // the documentation shows what is private too

// HTTP/1.1 as bytes: requests, framing, responses; no sockets
pub mod http;
// sockets, and who is ready: no HTTP
pub mod net;
// the origin server without sockets: routes, files, one client's session
pub mod site;
// flags and their help, limits, the stop flag, the log
pub mod cli;
// one thread waits for one client: blocking reads round a session
pub mod thread_server;
// one thread waits for all clients: a poller round sessions
pub mod async_server;
// clients on one side, backends on the other, a backend per request
pub mod lb;
// the instrument: ab's interface, honest counts
pub mod bench;
// any server or load balancer against the tables of cases, the bytes shown
pub mod judge;
// what `all` does, in the assignment's order
pub mod assignment;
// comparisons, experiments, the report: around the core, never imported by it
pub mod lab;
