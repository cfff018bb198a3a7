//! A client that keeps its connection and sends what a test tells it to, byte by byte.

use super::{Answer, Reader, Server};
use std::io::Write;
use std::net::TcpStream;

/// One connection, request after request.
pub struct Client(pub Reader<TcpStream>);

impl Client {
    pub fn new(server: &Server) -> Client {
        Client(Reader::new(server.connect()))
    }

    pub fn send(&mut self, bytes: &str) {
        let sent = self.0.get_mut().write_all(bytes.as_bytes());
        sent.expect("the request is sent");
    }

    /// The answer to the bytes.
    pub fn ask(&mut self, bytes: &str) -> Answer {
        self.send(bytes);
        let answer = self.0.answer(bytes.starts_with("HEAD"));
        answer.unwrap_or_else(|e| panic!("no answer to {bytes:?}: {e}"))
    }

    pub fn get(&mut self) -> Answer {
        self.ask("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
    }
}
