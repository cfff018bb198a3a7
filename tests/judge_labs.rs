//! The labs of notes/labs.md can be climbed: each solution in tests/labs/ is done with its lab and
//! stopped by the next one. Programs in the manner of the assignment fail where one expects, and
//! each of three broken ones is caught by the name of its fault.
#![cfg(target_os = "linux")]

use crate::support::{PATIENCE, each, eventually, free_port, json, tool};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{PoisonError, RwLock, mpsc};
use std::thread;
use std::time::Instant;

const ENDLESS: &str = "a head that never ends is given up";

const CROWD: &str = "more connections than select takes";

/// The level hostile measures how long others wait: nothing else is judged meanwhile.
static TURN: RwLock<()> = RwLock::new(());

/// A program of tests/labs/, listening; killed when dropped.
struct Program {
    child: Child,
    address: String,
}

impl Program {
    /// Starts `FILE … 127.0.0.1 0 …` and waits for the line that it prints when it can accept.
    fn start(file: &str, before: &[&str], behind: &[&str]) -> Program {
        let mut child = Command::new("python3")
            .arg(format!("tests/labs/{file}.py"))
            .args(before)
            .args(["127.0.0.1", "0"])
            .args(behind)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 starts");
        let stdout = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let (sender, first_line) = mpsc::channel();
        thread::spawn(move || {
            stdout.lines().map_while(Result::ok).for_each(|line| {
                let _ = sender.send(line);
            })
        });
        let line = first_line.recv_timeout(PATIENCE).unwrap_or_default();
        let address = line.strip_prefix("listening on ").map(str::to_owned);
        let mut program = Program { child, address: String::new() };
        program.address = address.unwrap_or_else(|| panic!("{file} does not listen: {line:?}"));
        program
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the judge said.
#[derive(Debug)]
struct Verdict {
    is_done: bool,
    last_line: String,
    /// All that it said.
    text: String,
    /// Name and outcome of each case.
    cases: Vec<(String, String)>,
}

impl Verdict {
    /// The names of all cases with this outcome.
    fn with(&self, outcome: &str) -> Vec<&str> {
        let cases = self.cases.iter().filter(|(_, of_case)| of_case == outcome);
        cases.map(|(name, _)| name.as_str()).collect()
    }

    fn outcome(&self, name: &str) -> &str {
        let found = self.cases.iter().find(|(known, _)| known == name);
        &found.unwrap_or_else(|| panic!("no case '{name}' in {self:?}")).1
    }
}

fn judge(role: &str, program: &Program, arguments: &[&str]) -> Verdict {
    let is_hostile = arguments.contains(&"hostile") || arguments.contains(&"5");
    let is_patient = arguments.contains(&ENDLESS); // it waits, and disturbs nobody
    let _alone =
        (is_hostile && !is_patient).then(|| TURN.write().unwrap_or_else(PoisonError::into_inner));
    let _beside = (!is_hostile).then(|| TURN.read().unwrap_or_else(PoisonError::into_inner));
    let output = Command::new(env!("CARGO_BIN_EXE_progjar"))
        .args(["judge", role, &program.address, "--json", "--time", "300s"])
        .args(arguments)
        .output()
        .expect("the judge runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let report = json::parse(&text)
        .unwrap_or_else(|e| panic!("{e}: {text}{}", String::from_utf8_lossy(&output.stderr)));
    let chapters = report.get("chapters").items().iter();
    let cases = chapters.flat_map(|chapter| chapter.get("cases").items());
    let text_of = |case: &json::Json, name| case.get(name).text().to_owned();
    Verdict {
        is_done: output.status.success(),
        last_line: report.get("last_line").text().to_owned(),
        cases: cases.map(|case| (text_of(case, "name"), text_of(case, "outcome"))).collect(),
        text,
    }
}

/// The program is done with the lab. What the judge measures gets three tries, for a busy machine.
fn is_done(role: &str, program: &Program, lab: &str, arguments: &[&str]) {
    let all = [&["--lab", lab], arguments].concat();
    let mut verdict = judge(role, program, &all);
    for _ in 0..2 {
        if !verdict.is_done {
            verdict = judge(role, program, &all);
        }
    }
    assert!(verdict.is_done, "{verdict:?}");
    assert_eq!(verdict.last_line, format!("lab {lab}: done"));
}

/// What becomes of this case, which alone is asked. On a busy machine two pieces may arrive as one,
/// and buffers fill late: so it is asked for up to a minute.
fn is_caught(role: &str, program: &Program, arguments: &[&str], case: &str, by: &str) -> Verdict {
    let all = [&["--only", case], arguments].concat();
    let give_up = Instant::now() + PATIENCE * 3;
    let mut verdict = judge(role, program, &all);
    while verdict.outcome(case) != by && Instant::now() < give_up {
        verdict = judge(role, program, &all);
    }
    assert!(!verdict.is_done, "{verdict:?}");
    assert_eq!(verdict.outcome(case), by, "{verdict:?}");
    verdict
}

/// The program is not done with the lab: the last line says so, and this case is why.
fn is_stopped(role: &str, program: &Program, lab: &str, arguments: &[&str], case: &str, by: &str) {
    let verdict = is_caught(role, program, &[&["--lab", lab], arguments].concat(), case, by);
    let begin = format!("lab {lab}: look first at '");
    assert!(verdict.last_line.starts_with(&begin), "{verdict:?}");
}

/// The solution of lab 6 or 7, and the judge's options for it.
fn start_lb(file: &str) -> (Program, [String; 2]) {
    let ports = [(); 4].map(|()| free_port().to_string()).join(",");
    (Program::start(file, &[], &[&ports]), ["--backends".to_owned(), ports])
}

#[test]
fn the_solutions_of_labs_1_to_3_are_done_with_their_lab_and_stopped_by_the_next() {
    if tool("python3", "python3").is_none() {
        return;
    }
    let solutions = [
        ("lab1", "1", "2", "a request in two pieces, cut in the request line", "fail"),
        ("lab2", "2", "3", "a client that says nothing keeps nobody waiting", "fail"),
        ("lab3", "3", "4", "content of five bytes", "not applicable"),
    ];
    each(solutions, |(file, lab, next, case, by)| {
        let program = Program::start(file, &[], &[]);
        is_done("server", &program, lab, &[]);
        is_stopped("server", &program, next, &[], case, by);
    });
}

#[test]
fn the_solution_of_lab_4_trusts_its_clients_and_that_of_lab_5_is_done_with_all_so_far() {
    if tool("python3", "python3").is_none() {
        return;
    }
    let labs = [("lab4", "4"), ("lab4", "5"), ("lab5", "1"), ("lab5", "2"), ("lab5", "3")];
    each(labs.into_iter().chain([("lab5", "4"), ("lab5", "5")]), |(file, lab)| {
        let program = Program::start(file, &[], &[]);
        match (file, lab) {
            ("lab4", "5") => is_stopped("server", &program, "5", &[], ENDLESS, "fail"),
            _ => is_done("server", &program, lab, &[]),
        }
    });
}

#[test]
fn the_solution_of_lab_6_takes_turns_and_loses_what_a_dead_backend_had() {
    if tool("python3", "python3").is_none() {
        return;
    }
    let (program, backends) = start_lb("lab6");
    let backends = backends.each_ref().map(String::as_str);
    is_done("lb", &program, "6", &backends);
    is_stopped("lb", &program, "7", &backends, "a backend refuses: the others serve", "fail");
}

#[test]
fn the_solution_of_lab_7_loses_nothing() {
    if tool("python3", "python3").is_none() {
        return;
    }
    each(["6", "7"], |lab| {
        let (program, backends) = start_lb("lab7");
        is_done("lb", &program, lab, &backends.each_ref().map(String::as_str));
    });
}

#[test]
fn a_server_in_the_manner_of_the_assignment_passes_it_and_fails_where_one_expects() {
    if tool("python3", "python3").is_none() {
        return;
    }
    let program = Program::start("faithful_server", &[], &[]);
    let patience = || {
        let verdict = judge("server", &program, &["--lab", "5", "--only", ENDLESS]);
        assert_eq!(verdict.outcome(ENDLESS), "fail", "it has no timeouts: {verdict:?}");
    };
    let others = || {
        let verdict = judge("server", &program, &["--level", "assignment"]);
        assert_eq!(verdict.with("fail"), [""; 0], "{verdict:?}");
        assert_eq!(verdict.with("warn"), ["the connection takes a second request"]);
        // It takes a line end for the end of the request.
        let http = &["--level", "http"];
        for case in ["no empty line yet", "answers have a Date"] {
            let verdict = judge("server", &program, &[&http[..], &["--only", case]].concat());
            assert_eq!(verdict.outcome(case), "fail", "{verdict:?}");
        }
        is_caught("server", &program, http, "a request in pieces of three bytes", "fail");
    };
    // One select loop ends when it gets a descriptor that select does not know.
    let crowd = || {
        let program = Program::start("faithful_server", &[], &[]);
        is_caught("server", &program, &["--level", "hostile"], CROWD, "fail");
    };
    each([&patience as &(dyn Fn() + Sync), &others, &crowd], |part| part());
}

/// What one that copies bytes lacks.
const LACKS: [&str; 9] = [
    "a field that Connection names ends here",
    "Via names this gateway",
    "an HTTP/1.0 client gets no chunks",
    "CL.CL",
    "CL.TE: the front believes the length, the back the coding",
    "two answers",
    "a backend refuses: the others serve",
    "a backend dies with a GET in its hands: another serves it",
    "a backend dies under load: nobody notices",
];
/// What it does not touch arrives whole, and it does nothing twice.
const TOUCHES_NOT: [&str; 4] = [
    "content with a length arrives whole",
    "the path and the query pass unchanged",
    "a backend dies with a POST in its hands: it is not sent again",
    "requests that are sent together are answered in order",
];

#[test]
fn a_load_balancer_in_the_manner_of_the_assignment_passes_it_and_fails_where_one_expects() {
    if tool("python3", "python3").is_none() {
        return;
    }
    let judge = |level: &str, only: &[&str]| {
        let (program, backends) = start_lb("faithful_lb");
        let [name, ports] = backends.each_ref().map(String::as_str);
        let only: Vec<&str> = only.iter().flat_map(|case| ["--only", case]).collect();
        judge("lb", &program, &[&[name, ports, "--level", level], &only[..]].concat())
    };
    let assignment = || {
        let verdict = judge("assignment", &[]);
        assert_eq!(verdict.with("fail"), [""; 0], "{verdict:?}");
        assert_eq!(verdict.with("warn"), ["the backends take turns, request by request"]);
        assert!(verdict.text.contains("with keep-alive a client stays with one backend"));
    };
    let http = || {
        let verdict = judge("http", &[&LACKS[..], &TOUCHES_NOT].concat());
        for (cases, outcome) in [(&LACKS[..], "fail"), (&TOUCHES_NOT, "pass")] {
            for case in cases {
                assert_eq!(verdict.outcome(case), outcome, "{case}: {verdict:?}");
            }
        }
        assert!(!verdict.is_done, "{verdict:?}");
    };
    // It waits for a client that does not read, and nobody else is served meanwhile.
    let hostile = || {
        let (program, backends) = start_lb("faithful_lb");
        let [name, ports] = backends.each_ref().map(String::as_str);
        let arguments = [name, ports, "--level", "hostile"];
        is_caught("lb", &program, &arguments, "slow readers", "fail");
    };
    each([&assignment as &(dyn Fn() + Sync), &http, &hostile], |part| part());
}

#[test]
fn each_broken_server_is_caught_by_the_name_of_its_fault() {
    if tool("python3", "python3").is_none() {
        return;
    }
    let faults = [
        ("no-return", "it rests when no client is connected"),
        ("wrong-length", "Content-Length is the length of the content"),
        ("shared-buffer", "two clients whose requests come in pieces, in turn"),
    ];
    each(faults, |(fault, case)| {
        let program = Program::start("broken_server", &[fault], &[]);
        is_caught("server", &program, &["--level", "assignment"], case, "fail");
    });
}

#[test]
fn each_program_ends_when_it_is_told_to() {
    if tool("python3", "python3").is_none() {
        return;
    }
    let lb = &["9"][..];
    for (file, before, behind) in [
        ("lab3", &[][..], &[][..]),
        ("lab7", &[], lb),
        ("faithful_server", &[], &[]),
        ("faithful_lb", &[], lb),
        ("broken_server", &["no-return"], &[]),
    ] {
        let mut program = Program::start(file, before, behind);
        let kill = format!("kill -TERM {}", program.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status();
        assert!(status.is_ok_and(|s| s.success()), "{kill}");
        let has_ended = || !matches!(program.child.try_wait(), Ok(None));
        eventually(&format!("{file} ends"), has_ended);
    }
}
