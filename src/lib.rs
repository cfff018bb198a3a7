//! progjar
pub mod args;
// all: the assignment in its order
pub mod assignment;
pub mod async_server;
pub mod bench;
pub mod clock;
// this project beside nginx and HAProxy; its three pollers
pub mod compare;
pub mod connection;
pub mod dialogue;
pub mod http;
pub mod lb;
pub mod limits;
pub mod listener;
pub mod log;
// results blocks in the notes
pub mod notes;
pub mod output;
pub mod poller;
// tables, charts, HTML: what all hands in
pub mod report;
pub mod shutdown;
pub mod site;
pub mod slots;
#[allow(unsafe_code)] // the FFI that std lacks; nowhere else
pub mod sys;
pub mod thread_server;
pub mod timers;
