//! Command-line flags: a topic's table of flags is what parses its arguments and what prints
//! its help, so that neither can lie about the other.
//!
//! Knows no topic. Entry point: [`Topic::parse`]. Note: `notes/http.md`.

use std::ops::RangeInclusive;
use std::time::Duration;

type Str = &'static str;

/// One flag: `--host ADDR`, `-n requests`, or `--quiet`, which takes no value.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    pub name: Str,    // as typed: `--host` or `-n`
    pub value: Str,   // the name of its value in the help; empty if it takes none
    pub default: Str, // its value if it is not given; empty if there is none
    pub help: Str,    // one line of help; empty: the help does not show it
}

pub const fn flag(name: Str, value: Str, default: Str, help: Str) -> Flag {
    Flag { name, value, default, help }
}

/// A topic of `progjar TOPIC …`.
#[derive(Debug, Clone, Copy)]
pub struct Topic {
    pub name: Str,    // the word on the command line
    pub summary: Str, // its work, in one line
    pub operand: Str, // the operand's name ("PORT", "URL"), empty if it takes none
    /// The operand's value if it is not given; empty: it must be given (if there is one).
    pub operand_default: Str,
    pub flags: &'static [&'static [Flag]], // its flags
    pub more: Str,                         // the help's text below the flags
}

/// Why a topic ended without having done its work: the sentence to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    Usage(String),      // the command line was wrong: exit code 2
    CannotWork(String), // the world did not play along: exit code 1
}

impl From<String> for Failure {
    fn from(sentence: String) -> Failure {
        Failure::Usage(sentence)
    }
}

/// The command line, checked against the table.
#[derive(Debug)]
pub struct Given {
    pub topic: Topic, // it was checked against this one's table
    flags: Vec<(Str, String)>,
    pub operands: Vec<String>, // the operands, in order
}

impl Topic {
    fn find(&self, name: &str) -> Option<Flag> {
        self.flags.iter().flat_map(|f| f.iter()).find(|f| f.name == name).copied()
    }

    /// The sentence for wrong usage: what is wrong, and where the help is.
    pub fn wrong(&self, what: impl std::fmt::Display) -> String {
        format!("{}: {what}; see: progjar help {}", self.name, self.name)
    }

    /// Sorts `arguments` into flags and operands. Takes `--name value`, `--name=value`, and as
    /// ab does `-n1000` and `-kr`. The error is one line that says what to do.
    pub fn parse(&self, arguments: &[String]) -> Result<Given, String> {
        let mut given = Given { topic: *self, flags: Vec::new(), operands: Vec::new() };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            if argument == "--" {
                given.operands.extend(rest.by_ref().cloned());
            } else if argument.starts_with("--") {
                let parts = argument.split_once('=').map(|(name, value)| (name, Some(value)));
                let (name, attached) = parts.unwrap_or((argument, None));
                let takes_value = given.take(name, attached, &mut rest)?;
                if attached.is_some() && !takes_value {
                    return Err(self.wrong(format_args!("{name} takes no value")));
                }
            } else if let Some(letters) = argument.strip_prefix('-').filter(|l| !l.is_empty()) {
                // The first letter that takes a value takes the rest of the argument as its value.
                for (i, letter) in letters.char_indices() {
                    let attached =
                        Some(&letters[i + letter.len_utf8()..]).filter(|a| !a.is_empty());
                    if given.take(&format!("-{letter}"), attached, &mut rest)? {
                        break;
                    }
                }
            } else {
                given.operands.push(argument.clone());
            }
        }
        let most = if self.operand.is_empty() { 0 } else { 1 };
        if let (false, Some(extra)) = (self.operand.ends_with('…'), given.operands.get(most)) {
            return Err(self.wrong(format_args!("unexpected argument '{extra}'")));
        }
        Ok(given)
    }

    /// The help text, at most a screen.
    pub fn help(&self) -> String {
        let Topic { name, summary, more, .. } = self;
        let operand = match (self.operand, self.operand_default) {
            ("", _) => String::new(),
            (operand, "") => format!(" {operand}"),
            (operand, default) => format!(" [{operand}={default}]"),
        };
        let options = if self.flags.is_empty() { "" } else { " [options]\n" };
        let mut text = format!("{name}: {summary}\n\nusage: progjar {name}{operand}{options}\n");
        for Flag { name, value, default, help } in self.flags.iter().copied().flatten() {
            let default = if default.is_empty() { String::new() } else { format!(" [{default}]") };
            if !help.is_empty() {
                text += &format!("  {:<26} {help}{default}\n", format!("{name} {value}"));
            }
        }
        if !more.is_empty() {
            text += &format!("\n{more}\n");
        }
        text
    }
}

impl Given {
    /// Notes the flag, and its value if it takes one, which it returns: the one attached to it, or
    /// else the next argument.
    fn take<'a>(
        &mut self,
        name: &str,
        attached: Option<&'a str>,
        rest: &mut impl Iterator<Item = &'a String>,
    ) -> Result<bool, String> {
        let wrong = |what: String| self.topic.wrong(what);
        let flag = self.topic.find(name).ok_or_else(|| wrong(format!("unknown option {name}")))?;
        let takes_value = !flag.value.is_empty();
        let value = if takes_value { attached.or_else(|| Some(rest.next()?)) } else { Some("") };
        let missing = || wrong(format!("{name} needs a value: {name} {}", flag.value));
        self.flags.push((flag.name, value.ok_or_else(missing)?.to_owned()));
        Ok(takes_value)
    }

    pub fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// Which of these flags was given last.
    pub fn last_of(&self, names: &[&str]) -> Option<Str> {
        let mut given = self.flags.iter().rev().map(|(name, _)| *name);
        given.find(|name| names.contains(name))
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.flags.iter().filter(move |(n, _)| *n == name).map(|(_, v)| v.as_str())
    }

    /// The flag's value: the last one given, or its default; None if it has neither.
    pub fn text(&self, name: &str) -> Option<&str> {
        let default = || self.topic.find(name).map(|f| f.default).filter(|d| !d.is_empty());
        self.flags.iter().rev().find(|(n, _)| *n == name).map(|(_, v)| v.as_str()).or_else(default)
    }

    /// The flag's value, converted by `read`; `wanted` says what it takes.
    pub fn value<T>(
        &self,
        name: &str,
        wanted: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, String> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        let wrong = || self.topic.wrong(format_args!("{name} '{text}': {wanted}"));
        read(text).map(Some).ok_or_else(wrong)
    }

    /// The flag's value as a whole number within `range`; None if it has neither value nor default.
    pub fn number(&self, name: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, String> {
        let wanted = format!("give a whole number from {} to {}", range.start(), range.end());
        self.value(name, &wanted, |t| t.parse().ok().filter(|n| range.contains(n)))
    }

    pub fn duration(&self, name: &str) -> Result<Option<Duration>, String> {
        self.value(name, "give seconds (2, 0.5s) or milliseconds (250ms)", duration)
    }

    pub fn size(&self, name: &str) -> Result<Option<u64>, String> {
        self.value(name, "give bytes (8192), KiB (64k), MiB (16M) or GiB (2G)", size)
    }

    pub fn operand(&self) -> Result<&str, String> {
        match (self.operands.first(), self.topic.operand_default) {
            (Some(operand), _) => Ok(operand),
            (None, "") => Err(self.topic.wrong(format_args!("{} is missing", self.topic.operand))),
            (None, default) => Ok(default),
        }
    }

    /// The operand as a port number; 0 lets the system choose a free one.
    pub fn port(&self) -> Result<u16, String> {
        let text = self.operand()?;
        let wanted = "give a number from 0 (any free port) to 65535";
        let wrong = |_| self.topic.wrong(format_args!("'{text}' is no port: {wanted}"));
        text.parse().map_err(wrong)
    }
}

/// A length of time: `2`, `0.5s`, `250ms`.
pub fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (text.strip_suffix('s').unwrap_or(text), 1.0),
    };
    let seconds = number.parse::<f64>().ok()? * unit;
    Duration::try_from_secs_f64(seconds).ok().filter(|d| d.as_secs() < 1_000_000)
}

/// A size in bytes: `8192`, `64k`, `16M`, `2G` (powers of 1024).
pub fn size(text: &str) -> Option<u64> {
    let (number, unit) = match text.as_bytes().last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 1 << 10),
        b'm' | b'M' => (&text[..text.len() - 1], 1 << 20),
        b'g' | b'G' => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}
