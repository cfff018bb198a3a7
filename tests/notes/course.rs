//! The core path as a course: how long it is, that each term is explained where it first comes,
//! and how its sentences are made.
//!
//! Prose here is what a reader of the path reads: no code, no results block, no folded part.

use super::{Note, note, root};
use std::fs;

/// The path, with the words that each note may have.
const PATH: [(&str, usize); 9] = [
    ("from-python", 1120),
    ("wrong-table", 1776),
    ("http", 1785),
    ("thread_server", 1290),
    ("poller", 1413),
    ("async_server", 1776),
    ("lb", 2368),
    ("bench", 1657),
    ("steps", 815),
];
/// The last step of the path: experiments, not prose.
const LAST: &str = "labs";
const WORDS: usize = 14_000;
/// Words that a reader reads in a minute: technical prose in a second language.
const PACE: usize = 120;
/// Lines of a results block that is not folded.
const RESULTS: usize = 10;
/// Words of the longest sentence.
const SENTENCE: usize = 25;

/// A stretch of a line.
#[derive(Debug, PartialEq)]
enum Piece<'a> {
    Plain(&'a str),
    Code(&'a str),
    Link { text: &'a str, target: &'a str },
}

/// The lines of prose of the path: outside of fences, results blocks and folded parts.
fn prose(note: &Note) -> Vec<&str> {
    let (mut folded, mut measured) = (0, false);
    let mut lines = Vec::new();
    for line in note.prose() {
        measured |= line.starts_with("<!-- measured: ");
        folded += line.matches("<details").count();
        let is_shown = folded == 0 && !measured;
        let is_prose =
            !line.starts_with("    ") && !line.starts_with("![") && !line.starts_with("<!");
        if is_shown && is_prose && !line.trim().is_empty() {
            lines.push(line);
        }
        folded -= line.matches("</details>").count();
        measured &= line != "<!-- end -->";
    }
    lines
}

fn pieces(line: &str) -> Vec<Piece<'_>> {
    let (mut found, mut rest) = (Vec::new(), line);
    while let Some(at) = rest.find(['`', '[']) {
        found.push(Piece::Plain(&rest[..at]));
        let inside = &rest[at + 1..];
        let link = || {
            let (text, after) = inside.split_once("](")?;
            let (target, after) = after.split_once(')')?;
            Some((Piece::Link { text, target }, after))
        };
        let code = || inside.split_once('`').map(|(code, after)| (Piece::Code(code), after));
        let piece = if rest[at..].starts_with('[') { link() } else { code() };
        let (piece, after) = piece.unwrap_or((Piece::Plain(""), inside));
        found.push(piece);
        rest = after;
    }
    found.push(Piece::Plain(rest));
    found
}

/// A line as it is read: links without their targets, code as it stands, no HTML.
fn read(line: &str) -> String {
    let pieces = pieces(line).into_iter().map(|piece| match piece {
        Piece::Plain(text) | Piece::Code(text) | Piece::Link { text, .. } => text,
    });
    let text: String = pieces.collect();
    let mut parts = text.split('<');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('>').map_or(part, |(_, rest)| rest))
}

fn words(note: &Note) -> usize {
    let is_word = |word: &&str| word.chars().any(char::is_alphanumeric);
    prose(note).iter().map(|line| read(line).split_whitespace().filter(is_word).count()).sum()
}

/// Sentences of the path; a cell of a table and an item of a list are no part of another.
fn sentences(note: &Note) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(note) {
        if line.starts_with(['#', '>']) || line.starts_with("|-") || line.starts_with("|:") {
            continue;
        }
        let text = read(line).replace(['*', '_'], "");
        for cell in text.split('|') {
            let mut sentence = String::new();
            for word in cell.split_whitespace() {
                sentence += word;
                let bare = word.trim_end_matches([')', '"']);
                let is_number_of_an_item = bare.len() <= 2 && bare.starts_with(char::is_numeric);
                if bare.ends_with(['.', '!', '?']) && !is_number_of_an_item {
                    found.push(std::mem::take(&mut sentence));
                } else {
                    sentence.push(' ');
                }
            }
            found.push(sentence.trim_end().to_owned());
        }
    }
    let mut found: Vec<String> =
        found.iter().map(|s| s.trim_start_matches(['-', ' ', '(', '"']).to_owned()).collect();
    found.retain(|sentence| !sentence.is_empty());
    found
}

/// "Who", "What" and their like, where nothing is asked.
fn is_headless(sentence: &str) -> bool {
    let first = sentence.split_whitespace().next().unwrap_or_default();
    let is_pronoun = ["Who", "Whom", "Whose", "Whoever", "What", "Whatever"].contains(&first);
    is_pronoun && !sentence.contains('?')
}

#[test]
fn the_path_has_its_words_and_no_more() {
    assert!(PATH.iter().map(|(_, budget)| budget).sum::<usize>() <= WORDS);
    let mut problems = Vec::new();
    for (name, budget) in PATH {
        let words = words(&note(name));
        println!("{name}: {words} words of {budget}");
        if words > budget {
            problems.push(format!("{name}.md has {words} words on the path, not {budget}"));
        }
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn the_way_through_the_notes_is_the_path_and_its_minutes_can_be_kept() {
    let readme = note("README");
    let rows: Vec<Vec<&str>> = readme
        .prose()
        .into_iter()
        .skip_while(|line| !line.starts_with("| | note |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let names = PATH.map(|(name, _)| name).into_iter().chain([LAST]);
    for (row, name) in rows.iter().zip(names) {
        assert!(row[1].contains(&format!("]({name}.md)")), "{row:?} is not {name}");
    }
    assert_eq!(rows.len(), PATH.len() + 1);
    for (row, (name, budget)) in rows.iter().zip(PATH) {
        let minutes: usize = row[3].parse().unwrap();
        let words = words(&note(name)).min(budget);
        assert!(minutes * PACE >= words, "{name}: {words} words in {minutes} minutes");
    }
}

#[test]
fn each_note_of_the_path_leads_to_the_next() {
    let nexts = PATH.map(|(name, _)| name).into_iter().skip(1).chain([LAST]);
    for ((name, _), next) in PATH.into_iter().zip(nexts) {
        let note = note(name);
        let line = note.text.lines().rev().find(|line| line.starts_with("- Next: "));
        let line = line.unwrap_or_else(|| panic!("{name}.md ends without '- Next: '"));
        assert!(line.contains(&format!("]({next}.md)")), "{name}.md: {line}: not {next}");
    }
}

/// The words that one row of the glossary's first table explains, by its anchor.
struct Term {
    id: String,
    forms: Vec<String>,
}

fn terms() -> Vec<Term> {
    let glossary = note("glossary");
    let rows = glossary.text.lines().filter_map(|line| line.strip_prefix("| <a id=\""));
    rows.map(|row| {
        let (id, rest) = row.split_once("\"></a>").unwrap();
        let (names, _) = rest.split_once(" |").unwrap();
        let forms = names.split(", ").map(str::to_lowercase);
        Term { id: id.to_owned(), forms: forms.collect() }
    })
    .collect()
}

/// Whether the text has the word, or its plural.
fn has_word(text: &str, word: &str) -> bool {
    let text = text.to_lowercase();
    let is_inside = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    text.match_indices(word).any(|(at, _)| {
        let rest = &text[at + word.len()..];
        let rest = rest.strip_prefix('s').unwrap_or(rest);
        !text[..at].ends_with(is_inside) && !rest.starts_with(is_inside)
    })
}

/// Where the path uses the term first: the note, the line, and whether it is linked there.
fn first_use<'a>(term: &Term, path: &'a [Note]) -> Option<(&'a str, &'a str, bool)> {
    let target = format!("glossary.md#{}", term.id);
    let has_term = |text| term.forms.iter().any(|form| has_word(text, form));
    for note in path {
        for line in prose(note).into_iter().filter(|line| !line.starts_with(['#', '>'])) {
            for piece in pieces(line) {
                match piece {
                    Piece::Link { text, target: t }
                        if t == target || (t == "glossary.md" && has_term(text)) =>
                    {
                        return Some((&note.name, line, true));
                    }
                    Piece::Plain(text) if has_term(text) => {
                        return Some((&note.name, line, false));
                    }
                    _ => {}
                }
            }
        }
    }
    None
}

#[test]
fn each_term_is_linked_where_the_path_uses_it_first() {
    let path = PATH.map(|(name, _)| note(name));
    let terms = terms();
    assert!(terms.len() > 40, "{} terms", terms.len());
    let mut problems = Vec::new();
    for term in &terms {
        match first_use(term, &path) {
            None => println!("{}: the path does not use it", term.id),
            Some((_, _, true)) => {}
            Some((name, line, false)) => {
                let problem = format!("{name}.md: link {} to glossary.md#{}", line, term.id);
                println!("{problem}");
                problems.push(problem);
            }
        }
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn sentences_of_the_path_are_short_and_have_a_subject() {
    let mut problems = Vec::new();
    for (name, _) in PATH {
        let sentences = sentences(&note(name));
        let lengths = sentences.iter().map(|s| s.split_whitespace().count());
        let mean = lengths.clone().sum::<usize>() as f64 / sentences.len().max(1) as f64;
        let longest = lengths.max().unwrap_or_default();
        println!("{name}: {} sentences of {mean:.1} words, at most {longest}", sentences.len());
        for sentence in &sentences {
            let is_long = sentence.split_whitespace().count() > SENTENCE;
            if is_long || is_headless(sentence) {
                println!("{name}.md: {sentence}");
                problems.push(format!("{name}.md: {sentence}"));
            }
        }
    }
    assert!(problems.is_empty(), "too long, or without a subject:\n{}", problems.join("\n"));
}

/// The lines of each results block that a reader sees: not where it comes from, not the line that
/// a table has below its head, nothing folded.
fn results(note: &Note) -> Vec<(&str, usize)> {
    let (mut folded, mut is_open, mut blocks) = (0, false, Vec::new());
    for line in note.text.lines() {
        folded += line.matches("<details").count();
        if let Some(name) = line.strip_prefix("<!-- measured: ") {
            blocks.push((name.trim_end_matches(" -->"), 0));
        }
        is_open &= line != "<!-- end -->";
        let is_drawn = ["```", "|:", "|-", "Command: ", "<"].iter().any(|d| line.starts_with(d));
        if is_open && folded == 0 && !is_drawn && !line.is_empty() {
            blocks.last_mut().unwrap().1 += 1;
        }
        is_open |= line.starts_with("<!-- measured: ");
        folded -= line.matches("</details>").count();
    }
    blocks
}

#[test]
fn a_results_block_on_the_path_has_at_most_ten_lines() {
    let mut problems = Vec::new();
    for (name, _) in PATH {
        for (block, lines) in results(&note(name)) {
            println!("{name}.md: {block}: {lines} lines");
            if lines > RESULTS {
                problems.push(format!("{name}.md: {block} has {lines} lines: fold it"));
            }
        }
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn what_is_read_and_what_is_not() {
    let text = "One `two` [three](four.md).\n\n```text\nno\n```\n<details><summary>no</summary>\nno\n\
        </details>\n<!-- measured: x -->\nno\n<!-- end -->\n    no\n\
        What is it?\nWhat it is. Who, not? Who comes.\n| a | It is [b](c). |\n";
    let note = Note { name: "x".to_owned(), text: text.to_owned() };
    assert_eq!(words(&note), 3 + 3 + 3 + 2 + 2 + 1 + 3);
    let sentences = sentences(&note);
    assert_eq!(sentences[..3], ["One two three.", "What is it?", "What it is."]);
    let headless: Vec<&String> = sentences.iter().filter(|s| is_headless(s)).collect();
    assert_eq!(headless, ["What it is.", "Who comes."]);
    assert_eq!(results(&note), [("x", 1)]);
    for (text, word, is_there) in [
        ("the slots are", "slot", true),
        ("a time-slot", "slot", false),
        ("slotted", "slot", false),
        ("Stale connections.", "stale connection", true),
    ] {
        assert_eq!(has_word(text, word), is_there, "{text}: {word}");
    }
}

#[test]
fn the_front_page_is_short() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.lines().count() < 150);
}
