//! progjar
pub mod args;
pub mod bench;
pub mod poller;
pub mod shutdown;
#[allow(unsafe_code)] // the FFI that std lacks; nowhere else
pub mod sys;
pub mod timers;
