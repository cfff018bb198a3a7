//! How network servers work, on plain std: two HTTP servers that differ only in who waits, a
//! load balancer, and a bench; with everything that they need written out, to be read.
//!
//! The rooms stand below in reading order; each has a note in `notes/`, and `notes/README.md`
//! is the way through both. Arrows of import go only one way:
//!
//! ```text
//! http <- output <- site <- dialogue, origin <- thread_server, async_server
//! sys  <- poller <- connection, listener <- async_server, lb, bench
//! http, connection <- lb;   shutdown, args <- the topics <- main
//! ```
//!
//! `http` names no socket, `poller` no HTTP, a policy of `lb` neither; `bench` shares no parser
//! with what it measures. `unsafe` stands in `sys` alone.
#![deny(unsafe_code)]

// HTTP/1.1 as bytes: requests, framing, responses; no sockets
pub mod http;
// what a server accepts of a client: sizes and times, as options
pub mod limits;
// what is still to be sent: small things, then one large content that is never copied
pub mod output;
// the origin server's policy: request to response; routes and files
pub mod site;
// the time, read once per turn and rendered once per second
pub mod clock;
// one client's conversation without a socket: bytes in, bytes out
pub mod dialogue;

// how servers come to clients: bind, announce, accept
pub mod listener;
// lines of the log, from any thread to stdout, without waiting for stdout
pub mod log;
// how an origin server comes to serve: its flags, socket, site and log
pub mod origin;
// one thread waits for one client: blocking reads round a dialogue
pub mod thread_server;

// the system calls that std lacks; the only `unsafe`
#[allow(unsafe_code)]
pub mod sys;
// who is ready? scan, poll, epoll: three answers to the same five calls
pub mod poller;
// deadlines for many connections at next to no cost per request
pub mod timers;
// a numbered place for each connection
pub mod slots;
// one non-blocking socket, and buffers that are borrowed
pub mod connection;
// one thread waits for all clients: a poller round dialogues
pub mod async_server;

// clients on one side, backends on the other, a backend per request
pub mod lb;

// the instrument: ab's interface, honest counts
pub mod bench;

// the one stop flag
pub mod shutdown;
// flags: one table parses and helps
pub mod args;

// around the core, never imported by it: what `all` does, in the assignment's order
pub mod assignment;
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
