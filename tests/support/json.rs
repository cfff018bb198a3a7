//! A JSON reader that accepts what RFC 8259 does and nothing else, as large as a test needs.

use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

impl Json {
    /// The member; panics if there is none.
    pub fn get(&self, name: &str) -> &Json {
        match self {
            Json::Object(members) if members.contains_key(name) => &members[name],
            other => panic!("no {name} in {other:?}"),
        }
    }

    pub fn text(&self) -> &str {
        match self {
            Json::Text(text) => text,
            other => panic!("no text: {other:?}"),
        }
    }

    pub fn number(&self) -> f64 {
        match self {
            Json::Number(number) => *number,
            other => panic!("no number: {other:?}"),
        }
    }

    pub fn items(&self) -> &[Json] {
        match self {
            Json::List(items) => items,
            other => panic!("no list: {other:?}"),
        }
    }
}

/// Reads one value and nothing behind it.
pub fn parse(text: &str) -> Result<Json, String> {
    let mut parser = Parser { text, at: 0 };
    let value = parser.value()?;
    parser.space();
    match parser.rest() {
        "" => Ok(value),
        _ => parser.wrong("the end"),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn wrong<T>(&self, expected: &str) -> Result<T, String> {
        Err(format!("byte {}: expected {expected}", self.at))
    }

    fn space(&mut self) {
        let rest = self.rest().trim_start_matches([' ', '\t', '\n', '\r']);
        self.at = self.text.len() - rest.len();
    }

    fn eat(&mut self, word: &str) -> bool {
        self.space();
        let is_next = self.rest().starts_with(word);
        self.at += if is_next { word.len() } else { 0 };
        is_next
    }

    fn value(&mut self) -> Result<Json, String> {
        if self.eat("null") {
            return Ok(Json::Null);
        }
        if self.eat("true") {
            return Ok(Json::Bool(true));
        }
        if self.eat("false") {
            return Ok(Json::Bool(false));
        }
        if self.eat("[") {
            return Ok(Json::List(self.members("]", Parser::value)?));
        }
        if self.eat("{") {
            let members = self.members("}", |parser| {
                parser.space();
                let name = parser.string()?;
                if !parser.eat(":") {
                    return parser.wrong("a colon");
                }
                Ok((name, parser.value()?))
            })?;
            let count = members.len();
            let object: BTreeMap<_, _> = members.into_iter().collect();
            return match object.len() == count {
                true => Ok(Json::Object(object)),
                false => self.wrong("each name once"),
            };
        }
        if self.rest().starts_with('"') {
            return Ok(Json::Text(self.string()?));
        }
        self.number()
    }

    fn members<T>(
        &mut self,
        end: &str,
        member: impl Fn(&mut Self) -> Result<T, String>,
    ) -> Result<Vec<T>, String> {
        let mut members = Vec::new();
        if self.eat(end) {
            return Ok(members);
        }
        loop {
            members.push(member(self)?);
            if self.eat(end) {
                return Ok(members);
            }
            if !self.eat(",") {
                return self.wrong("a comma");
            }
        }
    }

    fn number(&mut self) -> Result<Json, String> {
        let is_part = |c: char| c.is_ascii_digit() || "+-.eE".contains(c);
        let rest = self.rest();
        let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let number = &rest[..length];
        let digits = number.strip_prefix('-').unwrap_or(number);
        let is_json = digits.starts_with(|c: char| c.is_ascii_digit())
            && !(digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0."))
            && digits.ends_with(|c: char| c.is_ascii_digit());
        match number.parse() {
            Ok(value) if is_json => {
                self.at += length;
                Ok(Json::Number(value))
            }
            _ => self.wrong("a value"),
        }
    }

    fn string(&mut self) -> Result<String, String> {
        let mut chars = self.rest().char_indices();
        let mut text = String::new();
        if chars.next().map(|(_, c)| c) != Some('"') {
            return self.wrong("a string");
        }
        while let Some((i, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += i + 1;
                    return Ok(text);
                }
                '\\' => match chars.next().map(|(_, c)| c) {
                    Some(c @ ('"' | '\\' | '/')) => text.push(c),
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some('r') => text.push('\r'),
                    Some('b') => text.push('\u{8}'),
                    Some('f') => text.push('\u{c}'),
                    Some('u') => {
                        let digits: String = chars.by_ref().take(4).map(|(_, c)| c).collect();
                        let code = u32::from_str_radix(&digits, 16).ok();
                        match code.and_then(char::from_u32) {
                            Some(c) if digits.len() == 4 => text.push(c),
                            _ => return self.wrong("four hexadecimal digits"),
                        }
                    }
                    _ => return self.wrong("an escape"),
                },
                c if c < ' ' => return self.wrong("no control character"),
                c => text.push(c),
            }
        }
        self.wrong("the end of the string")
    }
}
