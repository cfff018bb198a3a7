//! Bytes as a reader can see them: escaped, cut short, the interesting ones marked; and times.
//!
//! Knows no sockets. Entry points: [`marked`], [`short`]. Note: `notes/judge.md`.

use std::time::Duration;

/// A longer text is cut in its middle.
const LONGEST: usize = 400;

/// CR, LF and all else that a terminal does not show as it is, escaped.
pub(crate) fn escaped(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut rest = bytes;
    while let Some(&byte) = rest.first() {
        let run = rest.iter().take_while(|b| **b == byte).count();
        let one = byte.escape_ascii().to_string();
        let one = one.replace("\\\"", "\"").replace("\\'", "'").replace("\\\\", "\\");
        match run {
            21.. => text += &format!("{one}…({run} times)"),
            _ => text += &one.repeat(run),
        }
        rest = rest.get(run..).unwrap_or_default();
    }
    text
}

/// The same, at most so long.
pub(crate) fn short(bytes: &[u8]) -> String {
    cut(&escaped(bytes))
}

fn cut(text: &str) -> String {
    let length = text.chars().count();
    if length <= LONGEST {
        return text.to_owned();
    }
    let half = LONGEST / 2;
    let begin: String = text.chars().take(half).collect();
    let end: String = text.chars().skip(length - half).collect();
    format!("{begin} … {end}")
}

/// A short time.
pub(crate) fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

/// What goes before and behind a request's interesting part where there is nothing to see.
const PLAIN: [&str; 4] = [
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /santai HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /echo HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
];

/// The bytes, with « and » around what makes them another request than a plain one.
pub(crate) fn marked(bytes: &[u8]) -> String {
    let same = |plain: &str| {
        let plain = plain.as_bytes();
        let before = plain.iter().zip(bytes).take_while(|(a, b)| a == b).count();
        let most = plain.len().min(bytes.len()) - before;
        let pairs = plain.iter().rev().zip(bytes.iter().rev());
        let behind = pairs.take(most).take_while(|(a, b)| a == b).count();
        // Whole words are marked, not letters.
        let is_begin = |at: &usize| *at == 0 || matches!(bytes.get(at - 1), Some(b' ' | b'\n'));
        let is_end =
            |n: &usize| *n == 0 || matches!(bytes.get(bytes.len() - n), Some(b' ' | b'\r' | b'\n'));
        let before = (0..=before).rev().find(is_begin).unwrap_or(0);
        (before, (0..=behind).rev().find(is_end).unwrap_or(0))
    };
    let (before, behind) = PLAIN.into_iter().map(same).max_by_key(|(a, b)| a + b).unwrap_or((0, 0));
    let (head, rest) = bytes.split_at(before.min(bytes.len()));
    let (middle, tail) = rest.split_at(rest.len().saturating_sub(behind));
    match middle.is_empty() {
        true => short(bytes),
        false => cut(&format!("{}«{}»{}", escaped(head), escaped(middle), escaped(tail))),
    }
}

/// The bytes, with « and » around the first place where they hold `mark`.
pub(crate) fn around(bytes: &[u8], mark: &str) -> String {
    let length = mark.len();
    let found = bytes.windows(length.max(1)).position(|w| w == mark.as_bytes());
    let Some((before, rest)) = found.and_then(|at| bytes.split_at_checked(at)) else {
        return short(bytes);
    };
    let (marked, behind) = rest.split_at(length.min(rest.len()));
    cut(&format!("{}«{}»{}", escaped(before), escaped(marked), escaped(behind)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unusual_is_marked() {
        for (bytes, shown) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nA : b\r\n\r\n",
                "GET / HTTP/1.1\\r\\nHost: a\\r\\n«A : b\\r\\n»\\r\\n",
            ),
            ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "GET « /» HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"),
            ("PUT / HTTP/1.1\r\nHost: a\r\n\r\n", "«PUT» / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"),
        ] {
            assert_eq!(marked(bytes.as_bytes()), shown);
        }
        assert_eq!(short(&[b'a'; 5000]), "a…(5000 times)");
        assert!(short(&(0..=255).cycle().take(5000).collect::<Vec<u8>>()).chars().count() < 420);
    }
}
