//! Each exhibit shows what it claims, and leaves nothing behind.

use crate::support::Folder;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const NAMES: [&str; 8] =
    ["spin", "not-found", "dead-port", "omission", "noise", "policies", "pipeline", "cost"];

fn exhibit(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_progjar"))
        .arg("exhibit")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the program starts")
}

/// What the exhibit prints, played quickly; one at a time, since some leave the others no CPU.
fn quick(name: &str) -> String {
    static STAGE: Mutex<()> = Mutex::new(());
    let _alone = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut output = exhibit(&[name, "--quick"]);
    // On a busy machine nothing may be answered in so short a time: then twice more.
    for _ in 0..2 {
        let stderr = String::from_utf8_lossy(&output.stderr);
        if stderr.contains("no answer came in time") || stderr.contains("stopped, after") {
            output = exhibit(&[name, "--quick"]);
        }
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{text}{stderr}");
    assert!(text.starts_with(&format!("== {name}: ")), "{text}");
    text
}

/// The first line that begins with these words, without them.
fn after<'a>(text: &'a str, words: &str) -> &'a str {
    text.lines()
        .find_map(|line| line.trim_start().strip_prefix(words))
        .unwrap_or_else(|| panic!("no line begins with '{words}' in {text}"))
}

/// The cells of a line of numbers.
fn numbers(line: &str) -> Vec<f64> {
    line.split_whitespace().map(|cell| cell.replace(',', "").parse().unwrap_or(f64::NAN)).collect()
}

#[test]
fn without_a_name_they_are_listed() {
    let output = exhibit(&[]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success());
    for name in NAMES.into_iter().chain(["all"]) {
        assert!(text.contains(&format!("\n  {name} ")), "{name} in {text}");
    }
    for name in NAMES {
        let block = format!("exhibit-{name}");
        assert!(progjar::lab::notes::names().contains(&block), "{block}");
        assert!(progjar::lab::exhibit::TOPIC.more.contains(name), "{name}");
    }
    let unknown = exhibit(&["nonsense"]);
    assert_eq!(unknown.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&unknown.stderr);
    assert!(stderr.contains("'nonsense'"), "{stderr}");
}

#[test]
fn threads_pile_up_with_the_fault_and_none_stays_with_the_return() {
    let text = quick("spin");
    // Round; rate, threads, CPU with the fault; the same with the return.
    let rounds: Vec<Vec<f64>> =
        text.lines().map(numbers).filter(|cells| cells.len() == 7 && cells[0] >= 1.0).collect();
    assert_eq!(rounds.len(), 3, "{text}");
    for cells in &rounds {
        assert_eq!(cells[5], 0.0, "live threads with the return: {text}");
    }
    let live = [0, 1, 2].map(|round: usize| rounds[round][2]);
    assert!(
        0.0 < live[0] && live[0] < live[1] && live[1] < live[2],
        "live threads with the fault: {text}"
    );
}

#[test]
fn the_table_has_no_place_for_1000_answers_of_404() {
    let text = quick("not-found");
    let (a, b) = (after(&text, "A  "), after(&text, "B  "));
    // Level, time, complete, failed, transferred, …
    let (a, b) = (numbers(a), numbers(b));
    assert_eq!((a[2], a[3], a[4]), (1000.0, 0.0, 122_000.0), "{text}");
    assert_eq!((b[2], b[3], b[4]), (1000.0, 0.0, 147_000.0), "{text}");
    assert_eq!(after(&text, "A: Non-2xx responses:"), " 1000");
    assert_eq!(after(&text, "B: Non-2xx responses:"), " 0");
}

#[test]
fn a_dead_port_has_a_rate_for_others_and_an_error_for_bench() {
    // Somebody may take the port meanwhile: then once more.
    let is_dead = |text: &String| !text.contains("Failed requests:        0");
    let text = (0..3).map(|_| quick("dead-port")).find(is_dead).expect("a port that is dead");
    assert!(numbers(after(&text, "Requests per second:"))[0] > 0.0);
    let ours = text.split("progjar bench -r").nth(1).expect("our turn");
    assert!(ours.contains("(no rate)") || ours.contains("  0.00 "), "{text}");
    assert!(ours.contains("bench: "), "{text}");
    assert_eq!(after(ours, "exit code:"), " 1");
}

#[test]
fn a_schedule_sees_the_stall_that_a_closed_loop_hides() {
    let text = quick("omission");
    let p99 = numbers(after(&text, "p99 "));
    let (closed, response) = (p99[0], p99[2]);
    assert!(response >= 10.0 * closed, "{text}");
    assert!(numbers(after(&text, "max "))[0] > 500.0, "it was there: {text}");
}

#[test]
fn twelve_runs_of_the_same_have_a_spread_and_a_verdict() {
    let text = quick("noise");
    let runs = text.lines().filter(|l| l.contains("requests/s  #")).count();
    assert_eq!(runs, 12, "{text}");
    assert!(text.contains(" % of the median"), "{text}");
    let verdict = after(&text, "bench: ");
    assert!(verdict.contains("odd") && verdict.contains("even"), "{text}");
}

#[test]
fn who_looks_who_is_busy_spares_the_slow_backend() {
    let text = quick("policies");
    let share = |policy| {
        let line = after(&text, policy);
        let share = line.split('%').next().expect("a share");
        share.trim().parse::<f64>().expect("a number")
    };
    // The answers to the last requests may come after the end.
    assert!((share("round-robin ") - 25.0).abs() <= 1.0, "{text}");
    assert!(share("least-connections ") < 20.0, "{text}");
    assert!(share("two-choices ") < 25.0, "{text}");
    let bars = text.lines().filter(|line| line.contains(" ##")).count();
    assert_eq!(bars, 3, "{text}");
}

#[test]
fn pipelining_is_compared_with_its_cpu_time_and_a_verdict() {
    let text = quick("pipeline");
    let rows: Vec<_> = ["1  ", "32  "].map(|row| numbers(after(&text, row))).into();
    for row in &rows {
        // Median, lowest, "to", highest, CPU of lb and of backends.
        assert!(row[0] >= row[1] && row[0] <= row[3], "{text}");
        if cfg!(target_os = "linux") {
            assert!(row[4] > 0.0 && row[5] > 0.0, "{text}");
        }
    }
    assert!(after(&text, "bench: ").contains("32"), "{text}");
}

#[test]
fn the_lb_and_a_new_connection_cost_more_than_a_server_asked_on_a_kept_one() {
    let text = quick("cost");
    // Median, lowest, "to", highest, CPU time: all in a table whose first column has spaces.
    let [kept, new, lb, lb_new] = [
        "server, one connection",
        "server, new connections",
        "lb, one connection",
        "lb, new connections",
    ]
    .map(|way| numbers(after(&text, way)));
    for row in [&kept, &new, &lb, &lb_new] {
        assert!(row[1] <= row[0] && row[0] <= row[3], "{text}");
    }
    if cfg!(target_os = "linux") {
        // The least and the most of the four: a busy machine cannot turn these two.
        assert!(kept[4] < lb_new[4], "{text}");
    }
    assert!(text.contains("(Holm)"), "{text}");
}

#[test]
fn the_results_block_is_refreshed_and_the_others_stay() {
    let folder = Folder::new();
    let note = folder.write(
        "wrong-table.md",
        b"<!-- measured: exhibit-not-found -->\nold\n<!-- end -->\n\
        <!-- measured: lb -->\nkept\n<!-- end -->\n",
    );
    let output = exhibit(&["not-found", "--quick", "--notes", folder.text()]);
    assert!(output.status.success());
    let text = std::fs::read_to_string(note).expect("it is there");
    assert!(text.contains("\nCommand: `./run.sh exhibit not-found --quick`. Date: "));
    assert!(text.contains("A: Non-2xx responses: 1000") && !text.contains("old"));
    assert!(text.ends_with("<!-- measured: lb -->\nkept\n<!-- end -->\n"));
}

#[test]
fn a_stop_ends_every_exhibit_at_once() {
    for name in NAMES {
        let mut child = Command::new(env!("CARGO_BIN_EXE_progjar"))
            .args(["until_eof", "exhibit", name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is a pipe"));
        let mut text = String::new();
        stdout.read_line(&mut text).expect("it says what it shows");
        assert!(text.starts_with(&format!("== {name}: ")), "{text}");
        let begun = Instant::now();
        drop(child.stdin.take()); // the stop
        stdout.read_to_string(&mut text).expect("it ends");
        let status = child.wait().expect("it has ended");
        let took = begun.elapsed();
        println!("{name}: {took:?}");
        assert!(status.success(), "{text}");
        assert!(text.contains("exhibit: stopped before the end"), "{text}");
        assert!(took < Duration::from_secs(2), "{name}: {took:?}");
    }
}
