//! progjar
pub mod args;
pub mod async_server;
pub mod bench;
pub mod clock;
pub mod connection;
pub mod dialogue;
pub mod http;
pub mod lb;
pub mod limits;
pub mod listener;
pub mod log;
pub mod output;
pub mod poller;
pub mod shutdown;
pub mod site;
pub mod slots;
#[allow(unsafe_code)] // the FFI that std lacks; nowhere else
pub mod sys;
pub mod thread_server;
pub mod timers;
