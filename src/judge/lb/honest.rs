//! What a backend of the judge answers when no case tells it otherwise: a page with two pictures,
//! something large, the content of a POST, a line of text for all else.
//!
//! Entry point: [`answer`]. Note: `notes/judge.md`.

use super::request::Request;
use std::io::Write;
use std::net::TcpStream;
use std::sync::LazyLock;

/// A path whose content no socket's buffers hold.
pub(crate) const LARGE: &str = "/large";

const PAGE: &str = "<!doctype html><title>judge</title><img src=\"/a.jpg\"><img src=\"/b.jpg\">";
/// The pictures are as large as the assignment's.
static SMALL_PICTURE: LazyLock<Vec<u8>> = LazyLock::new(|| bytes(16 * 1024));
static LARGE_PICTURE: LazyLock<Vec<u8>> = LazyLock::new(|| bytes(75 * 1024));
static LARGE_CONTENT: LazyLock<Vec<u8>> = LazyLock::new(|| bytes(8 * 1024 * 1024));

/// Bytes in which a shift shows.
pub(crate) fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n % 251) as u8).collect()
}

/// Answers on the stream. Whether it could.
pub(crate) fn answer(request: &Request, mut stream: &TcpStream) -> bool {
    let (path, _) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let text = format!("judge: {path}\n");
    let is_case = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    let is_there =
        path == "/" || path.starts_with("http://") || path.strip_prefix("/t").is_some_and(is_case);
    let (kind, content) = match path {
        _ if request.method == "POST" || request.method == "PUT" => {
            ("application/octet-stream", request.content.as_slice())
        }
        "/a.jpg" => ("image/jpeg", SMALL_PICTURE.as_slice()),
        "/b.jpg" => ("image/jpeg", LARGE_PICTURE.as_slice()),
        LARGE => ("application/octet-stream", LARGE_CONTENT.as_slice()),
        path if path.ends_with(".html") => ("text/html", PAGE.as_bytes()),
        _ => ("text/plain", text.as_bytes()),
    };
    let length = content.len();
    let status = if is_there || kind != "text/plain" { "200 OK" } else { "404 Not Found" };
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n");
    let end = if request.persists() { "\r\n" } else { "Connection: close\r\n\r\n" };
    let mut message = (head + end).into_bytes();
    let content = if request.method == "HEAD" { &[] } else { content };
    match content.len() {
        // In one piece, so that it leaves at once.
        ..65536 => message.extend_from_slice(content),
        _ => return stream.write_all(&message).and_then(|()| stream.write_all(content)).is_ok(),
    }
    stream.write_all(&message).is_ok()
}
