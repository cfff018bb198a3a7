//! JSON as RFC 8259 has it: written by [`std::fmt::Display`], read by [`Json::parse`].
//!
//! Note: `notes/bench.md`.

use std::fmt;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// Nothing; also what a number that is none is written as.
    Null,
    /// true or false.
    Bool(bool),
    /// Any number.
    Number(f64),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object, in order.
    Object(Vec<(String, Json)>),
}

/// Values within values; deeper text is refused, so that none can exhaust the stack.
const DEPTH: usize = 32;

impl From<&String> for Json {
    fn from(text: &String) -> Json {
        Json::Text(text.clone())
    }
}

impl Json {
    /// An object of these members.
    pub fn object<'a>(members: impl IntoIterator<Item = (&'a str, Json)>) -> Json {
        let members = members.into_iter();
        Json::Object(members.map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// A member of an object.
    pub fn get(&self, name: &str) -> Option<&Json> {
        let Json::Object(members) = self else {
            return None;
        };
        members.iter().find(|(n, _)| n == name).map(|(_, value)| value)
    }

    /// The number, if it is one.
    pub fn number(&self) -> Option<f64> {
        let Json::Number(number) = self else {
            return None;
        };
        Some(*number)
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        let Json::Text(text) = self else {
            return None;
        };
        Some(text)
    }

    /// The values, if it is a list.
    pub fn list(&self) -> Option<&[Json]> {
        let Json::List(list) = self else {
            return None;
        };
        Some(list)
    }

    /// The value that the text is; None if it is no JSON.
    pub fn parse(text: &str) -> Option<Json> {
        let mut rest = text.trim_start();
        let value = value(&mut rest, DEPTH)?;
        rest.is_empty().then_some(value)
    }
}

/// Takes the prefix, and the blanks behind it.
fn take(rest: &mut &str, prefix: &str) -> Option<()> {
    *rest = rest.strip_prefix(prefix)?.trim_start();
    Some(())
}

fn value(rest: &mut &str, depth: usize) -> Option<Json> {
    let depth = depth.checked_sub(1)?;
    match rest.chars().next()? {
        '"' => Some(Json::Text(string(rest)?)),
        '[' => Some(Json::List(items(rest, ["[", "]"], &mut |rest| value(rest, depth))?)),
        '{' => {
            let member = &mut |rest: &mut &str| {
                let name = string(rest)?;
                take(rest, ":")?;
                Some((name, value(rest, depth)?))
            };
            Some(Json::Object(items(rest, ["{", "}"], member)?))
        }
        'n' => take(rest, "null").map(|()| Json::Null),
        't' => take(rest, "true").map(|()| Json::Bool(true)),
        'f' => take(rest, "false").map(|()| Json::Bool(false)),
        _ => {
            let is_of_number = |c: char| c.is_ascii_digit() || "+-.eE".contains(c);
            let end = rest.find(|c| !is_of_number(c)).unwrap_or(rest.len());
            let (digits, after) = rest.split_at(end);
            *rest = after.trim_start();
            digits.parse().ok().map(Json::Number)
        }
    }
}

fn items<T>(
    rest: &mut &str,
    [open, close]: [&str; 2],
    item: &mut dyn FnMut(&mut &str) -> Option<T>,
) -> Option<Vec<T>> {
    let mut items = Vec::new();
    take(rest, open)?;
    while take(rest, close).is_none() {
        if !items.is_empty() {
            take(rest, ",")?;
        }
        items.push(item(rest)?);
    }
    Some(items)
}

fn string(rest: &mut &str) -> Option<String> {
    let body = rest.strip_prefix('"')?;
    let mut text = String::new();
    let mut chars = body.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                *rest = body[at + 1..].trim_start();
                return Some(text);
            }
            '\\' => text.push(match chars.next()?.1 {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                'b' => '\u{8}',
                'f' => '\u{c}',
                'u' => {
                    let digits = chars.by_ref().take(4).map(|(_, c)| c).collect::<String>();
                    // Half of a surrogate pair is no character; bench writes none.
                    char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?
                }
                other => other,
            }),
            c => text.push(c),
        }
    }
    None
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let joined = |items: Vec<String>| items.join(",");
        match self {
            Json::Number(number) if number.is_finite() => write!(f, "{number}"),
            Json::Null | Json::Number(_) => f.write_str("null"),
            Json::Bool(value) => write!(f, "{value}"),
            Json::Text(text) => f.write_str(&quoted(text)),
            Json::List(values) => {
                write!(f, "[{}]", joined(values.iter().map(Json::to_string).collect()))
            }
            Json::Object(members) => {
                let member = |(name, value): &(String, Json)| format!("{}:{value}", quoted(name));
                write!(f, "{{{}}}", joined(members.iter().map(member).collect()))
            }
        }
    }
}

fn quoted(text: &str) -> String {
    let escaped = text.chars().map(|c| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c < ' ' => format!("\\u{:04x}", c as u32),
        c => c.to_string(),
    });
    format!("\"{}\"", escaped.collect::<String>())
}
