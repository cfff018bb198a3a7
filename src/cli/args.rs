//! Command-line flags: a topic's table of flags is what parses its arguments and what prints
//! its help, so that neither can lie about the other.
//!
//! Knows no topic. Entry point: [`Topic::parse`]. Note: `notes/bench.md`.

use std::fmt::Write;
use std::time::Duration;

/// One flag: `--host ADDR`, `-n requests`, or `--quiet`, which takes no value.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    /// As typed: `--host` or `-n`.
    pub name: &'static str,
    /// The name of its value in the help; empty if it takes none.
    pub value: &'static str,
    /// Its value if it is not given; empty if there is none.
    pub default: &'static str,
    /// One line of help; empty: the help does not show it.
    pub help: &'static str,
}

/// Shorthand for a table of flags.
pub const fn flag(
    name: &'static str,
    value: &'static str,
    default: &'static str,
    help: &'static str,
) -> Flag {
    Flag { name, value, default, help }
}

/// A topic of `progjar TOPIC …`.
#[derive(Debug, Clone, Copy)]
pub struct Topic {
    /// The word on the command line.
    pub name: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// The operand's name ("PORT", "URL"), empty if it takes none.
    pub operand: &'static str,
    /// The operand's value if it is not given; empty: it must be given (if there is one).
    pub operand_default: &'static str,
    /// Its flags.
    pub flags: &'static [&'static [Flag]],
    /// What the help says below the flags.
    pub more: &'static str,
}

/// Why a topic ended without having done its work: the sentence to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The command line was wrong: exit code 2.
    Usage(String),
    /// The world did not play along: exit code 1.
    CannotWork(String),
}

impl From<String> for Failure {
    fn from(sentence: String) -> Failure {
        Failure::Usage(sentence)
    }
}

/// What was typed, checked against the table.
#[derive(Debug)]
pub struct Given {
    /// Whose table it was checked against.
    pub topic: Topic,
    flags: Vec<(&'static str, String)>,
    /// The operands, in order.
    pub operands: Vec<String>,
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
            if let Some(long) = argument.strip_prefix("--") {
                if long.is_empty() {
                    given.operands.extend(rest.by_ref().cloned());
                    break;
                }
                let (name, attached) = match argument.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (argument.as_str(), None),
                };
                let flag = self
                    .find(name)
                    .ok_or_else(|| self.wrong(format_args!("unknown option {name}")))?;
                let value = match (flag.value.is_empty(), attached) {
                    (true, Some(_)) => {
                        return Err(self.wrong(format_args!("{name} takes no value")));
                    }
                    (true, None) => String::new(),
                    (false, Some(value)) => value,
                    (false, None) => self.following(flag, rest.next())?,
                };
                given.flags.push((flag.name, value));
            } else if argument.len() > 1 && argument.starts_with('-') {
                self.short(argument, &mut rest, &mut given)?;
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

    /// A cluster of one-letter flags; the first that takes a value takes the rest as its value.
    fn short<'a>(
        &self,
        argument: &str,
        rest: &mut impl Iterator<Item = &'a String>,
        given: &mut Given,
    ) -> Result<(), String> {
        let letters = &argument[1..];
        for (i, letter) in letters.char_indices() {
            let name = format!("-{letter}");
            let flag = self
                .find(&name)
                .ok_or_else(|| self.wrong(format_args!("unknown option {name}")))?;
            if flag.value.is_empty() {
                given.flags.push((flag.name, String::new()));
                continue;
            }
            let attached = &letters[i + letter.len_utf8()..];
            let value = if attached.is_empty() {
                self.following(flag, rest.next())?
            } else {
                attached.to_owned()
            };
            given.flags.push((flag.name, value));
            break;
        }
        Ok(())
    }

    fn following(&self, flag: Flag, next: Option<&String>) -> Result<String, String> {
        next.cloned().ok_or_else(|| {
            self.wrong(format_args!("{} needs a value: {} {}", flag.name, flag.name, flag.value))
        })
    }

    /// The help text, at most a screen.
    pub fn help(&self) -> String {
        let mut text = format!("{}: {}\n\nusage: progjar {}", self.name, self.summary, self.name);
        if !self.operand.is_empty() {
            let _ = match self.operand_default {
                "" => write!(text, " {}", self.operand),
                default => write!(text, " [{}={default}]", self.operand),
            };
        }
        text.push_str(if self.flags.is_empty() { "\n" } else { " [options]\n\n" });
        let all = self.flags.iter().flat_map(|f| f.iter());
        for flag in all.filter(|flag| !flag.help.is_empty()) {
            let left = format!("{} {}", flag.name, flag.value);
            let _ = write!(text, "  {left:<26} {}", flag.help);
            if !flag.default.is_empty() {
                let _ = write!(text, " [{}]", flag.default);
            }
            text.push('\n');
        }
        if !self.more.is_empty() {
            let _ = write!(text, "\n{}\n", self.more);
        }
        text
    }
}

impl Given {
    /// Whether the flag was given.
    pub fn has(&self, name: &str) -> bool {
        self.flags.iter().any(|(n, _)| *n == name)
    }

    /// Which of these flags was given last.
    pub fn last_of(&self, names: &[&str]) -> Option<&'static str> {
        let mut given = self.flags.iter().rev().map(|(name, _)| *name);
        given.find(|name| names.contains(name))
    }

    /// Every value that was given for the flag.
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
        match read(text) {
            Some(value) => Ok(Some(value)),
            None => Err(self.topic.wrong(format_args!("{name} '{text}': {wanted}"))),
        }
    }

    /// The flag's value as a whole number within `range`; None if it has neither value nor default.
    pub fn number(
        &self,
        name: &str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<Option<u64>, String> {
        let wanted = format!("give a whole number from {} to {}", range.start(), range.end());
        self.value(name, &wanted, |t| t.parse().ok().filter(|n| range.contains(n)))
    }

    /// The flag's value as a length of time (see [`duration`]).
    pub fn duration(&self, name: &str) -> Result<Option<Duration>, String> {
        self.value(name, "give seconds (2, 0.5s) or milliseconds (250ms)", duration)
    }

    /// The flag's value as a size in bytes (see [`size`]).
    pub fn size(&self, name: &str) -> Result<Option<u64>, String> {
        self.value(name, "give bytes (8192), KiB (64k), MiB (16M) or GiB (2G)", size)
    }

    /// The first operand, or its default.
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
        text.parse().map_err(|_| {
            self.topic.wrong(format_args!(
                "'{text}' is no port: give a number from 0 (any free port) to 65535"
            ))
        })
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
    let unit = match text.as_bytes().last()? {
        b'k' | b'K' => 1 << 10,
        b'm' | b'M' => 1 << 20,
        b'g' | b'G' => 1 << 30,
        _ => 1,
    };
    let number = if unit == 1 { text } else { &text[..text.len() - 1] };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: Topic = Topic {
        name: "demo",
        summary: "a topic for tests",
        operand: "PORT",
        operand_default: "9002",
        flags: &[&[
            flag("--host", "ADDR", "127.0.0.1", "where"),
            flag("--quiet", "", "", "no log"),
            flag("-n", "requests", "1", "how many"),
            flag("-k", "", "", "keep-alive"),
            flag("-r", "", "", "go on"),
        ]],
        more: "",
    };

    fn parse(line: &str) -> Result<Given, String> {
        TOPIC.parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn flags_are_taken_in_every_spelling() {
        let given = parse("-kr -n500 --host=::1 8080 --quiet").expect("valid");
        assert!(given.has("-k") && given.has("-r") && given.has("--quiet"));
        assert_eq!(given.number("-n", 1..=1000), Ok(Some(500)));
        assert_eq!(given.text("--host"), Some("::1"));
        assert_eq!(given.port(), Ok(8080));
        let defaults = parse("").expect("valid");
        assert_eq!((defaults.port(), defaults.text("--host")), (Ok(9002), Some("127.0.0.1")));
        assert_eq!(parse("-n 7").expect("valid").number("-n", 1..=9), Ok(Some(7)));
    }

    #[test]
    fn wrong_usage_says_what_to_do() {
        for (line, says) in [
            ("--hots x", "unknown option --hots"),
            ("-x", "unknown option -x"),
            ("-n", "-n needs a value"),
            ("--quiet=1", "--quiet takes no value"),
            ("1 2", "unexpected argument '2'"),
        ] {
            let error = parse(line).expect_err(line);
            assert!(error.contains(says) && error.contains("progjar help demo"), "{line}: {error}");
        }
        assert!(parse("99999").expect("parses").port().expect_err("range").contains("no port"));
        assert!(parse("-n x").expect("parses").number("-n", 1..=9).is_err());
        assert!(parse("-n 10").expect("parses").number("-n", 1..=9).is_err());
    }

    #[test]
    fn times_and_sizes_have_units() {
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(duration("0.5"), Some(Duration::from_millis(500)));
        assert_eq!(duration("2s"), Some(Duration::from_secs(2)));
        assert_eq!((duration("-1"), duration("x"), duration("nan")), (None, None, None));
        assert_eq!((size("64k"), size("2G"), size("7")), (Some(65536), Some(1 << 31), Some(7)));
        assert_eq!((size(""), size("k"), size("99999999999G")), (None, None, None));
    }
}
