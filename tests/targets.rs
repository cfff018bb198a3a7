//! From request-target to file: what names a file below the root is served, what does not is
//! not, however it is spelt; and nobody learns where the root lies.

use crate::support::{Answer, Folder, Reader, Server, eventually, read_to_close};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const SERVERS: [&str; 2] = ["async_server", "thread_server"];
const SECRET: &str = "the secret that lies outside";

/// A root in a folder that holds a secret beside it.
fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("secret.txt", SECRET.as_bytes());
    folder.write("rootkit/secret.txt", SECRET.as_bytes());
    folder.write("root/page.html", b"page");
    folder.write("root/a b.txt", b"a b");
    folder.write("root/100%.txt", b"percent");
    folder.write("root/%2e", b"percent-encoded name");
    folder.write("root/caf\u{e9}.txt", b"UTF-8");
    folder.write("root/deep/er/leaf.txt", b"leaf");
    folder.write("root/.hidden", SECRET.as_bytes());
    folder.write("root/.git/config", SECRET.as_bytes());
    folder.write("root/empty.txt", b"");
    folder
}

fn root_of(folder: &Folder) -> String {
    format!("{}/root", folder.text())
}

fn serve(topic: &str, folder: &Folder) -> Server {
    Server::start(topic, &["--root", &root_of(folder)])
}

/// Nothing in the answer tells where the files lie, or what lies beside them.
fn tells_no_path(answer: &Answer, folder: &Folder) -> bool {
    let all = format!("{}{}", answer.head, answer.text());
    !all.contains(folder.text()) && !all.contains("/tmp") && !all.contains(SECRET)
}

#[test]
fn a_target_names_a_file_below_the_root_or_nothing() {
    let folder = folder();
    let targets = [
        // spelt as it is, and spelt otherwise
        ("/page.html", Ok("page")),
        ("/page.html?query=/../secret.txt", Ok("page")),
        ("/%70age%2Ehtml", Ok("page")),
        ("http://elsewhere/page.html", Ok("page")),
        ("/deep/er/leaf.txt", Ok("leaf")),
        ("/a%20b.txt", Ok("a b")),
        ("/caf%C3%A9.txt", Ok("UTF-8")),
        ("/empty.txt", Ok("")),
        // decoded once, not twice
        ("/100%25.txt", Ok("percent")),
        ("/%252e", Ok("percent-encoded name")),
        ("/%252e%252e/secret.txt", Err(404)),
        ("/%25252e%25252e/secret.txt", Err(404)),
        ("/%2570age.html", Err(404)),
        // dot segments
        ("/../secret.txt", Err(404)),
        ("/../rootkit/secret.txt", Err(404)),
        ("/deep/../../secret.txt", Err(404)),
        ("/deep/../page.html", Err(404)),
        ("/./page.html", Err(404)),
        ("/..", Err(404)),
        ("/.", Err(404)),
        ("/%2e%2e/secret.txt", Err(404)),
        ("/%2E./secret.txt", Err(404)),
        ("/..%2fsecret.txt", Err(404)),
        ("/%2e%2e%2fsecret.txt", Err(404)),
        ("/...//secret.txt", Err(404)),
        ("/....//....//secret.txt", Err(404)),
        ("/..;/secret.txt", Err(404)),
        ("http://elsewhere/../secret.txt", Err(404)),
        // other separators
        ("/..%5csecret.txt", Err(404)),
        ("/deep%5cer%5cleaf.txt", Err(404)),
        ("/deep%2fer%2fleaf.txt", Err(404)),
        ("/..\\secret.txt", Err(400)),
        ("/C:/secret.txt", Err(404)),
        ("/page.html::$DATA", Err(404)),
        // absolute names
        ("//etc/passwd", Err(404)),
        ("/%2fetc/passwd", Err(404)),
        ("/%2Fetc%2Fpasswd", Err(404)),
        ("/file:///etc/passwd", Err(404)),
        // control characters
        ("/page.html%00", Err(404)),
        ("/page.html%00.txt", Err(404)),
        ("/%00", Err(404)),
        ("/page.html%0a", Err(404)),
        ("/%0d%0aX-Injected:%20yes", Err(404)),
        ("/page.html%7f", Err(404)),
        // overlong and broken UTF-8
        ("/%c0%ae%c0%ae/secret.txt", Err(404)),
        ("/%e0%80%ae%e0%80%ae/secret.txt", Err(404)),
        ("/%c0%af", Err(404)),
        ("/%ff", Err(404)),
        ("/%u002e%u002e/secret.txt", Err(400)),
        // what is there and is not served
        ("/.hidden", Err(404)),
        ("/%2ehidden", Err(404)),
        ("/.git/config", Err(404)),
        ("/deep", Err(404)),
        ("/deep/", Err(404)),
        ("/page.html/", Err(404)),
        ("/page.html/x", Err(404)),
        ("/none.html", Err(404)),
        ("/PAGE.HTML", Err(404)),
    ];
    for topic in SERVERS {
        let server = serve(topic, &folder);
        for (target, expected) in &targets {
            let answer = server.get(target);
            let got = match answer.status {
                200 => Ok(answer.text()),
                status => Err(status),
            };
            assert_eq!(got, expected.map(str::to_owned), "{topic}: {target}");
            assert!(tells_no_path(&answer, &folder), "{topic}: {target}: {answer:?}");
            assert_eq!(answer.field("X-Injected"), None, "{topic}: {target}");
        }
        let name = "x".repeat(300);
        assert_eq!(server.get(&format!("/{name}")).status, 404, "{topic}: a name too long");
        let path = "/x".repeat(3000);
        assert_eq!(server.get(&path).status, 404, "{topic}: a path too long");
    }
}

#[test]
fn a_link_is_followed_as_long_as_it_stays_below_the_root() {
    let folder = folder();
    let root = folder.path().join("root");
    let links = [
        ("inside.txt", "page.html", Ok("page")),
        ("deep/up.txt", "../page.html", Ok("page")),
        ("chain.txt", "inside.txt", Ok("page")),
        ("round.txt", "deep/../page.html", Ok("page")),
        ("out.txt", "../secret.txt", Err(404)),
        ("chain-out.txt", "out.txt", Err(404)),
        ("neighbour.txt", "../rootkit/secret.txt", Err(404)),
        ("absolute.txt", "/etc/passwd", Err(404)),
        ("dangling.txt", "nothing.txt", Err(404)),
        ("loop.txt", "loop.txt", Err(404)),
        ("null", "/dev/null", Err(404)),
        ("zero", "/dev/zero", Err(404)),
    ];
    for (name, target, _) in links {
        symlink(target, root.join(name)).expect("a link can be made");
    }
    symlink("..", root.join("parent")).expect("a link can be made");
    symlink("deep", root.join("shallow")).expect("a link can be made");
    symlink("/", root.join("everything")).expect("a link can be made");
    for topic in SERVERS {
        let server = serve(topic, &folder);
        let through_folders = [
            ("shallow/er/leaf.txt", "", Ok("leaf")),
            ("parent/secret.txt", "", Err(404)),
            ("parent/root/page.html", "", Ok("page")),
            ("everything/etc/passwd", "", Err(404)),
        ];
        for (name, _, expected) in links.iter().chain(&through_folders) {
            let answer = server.get(&format!("/{name}"));
            let got = match answer.status {
                200 => Ok(answer.text()),
                status => Err(status),
            };
            assert_eq!(got, expected.map(str::to_owned), "{topic}: {name}");
            assert!(tells_no_path(&answer, &folder), "{topic}: {name}: {answer:?}");
        }
    }
}

#[test]
fn a_link_that_is_turned_outwards_is_no_longer_followed() {
    let folder = folder();
    let link = folder.path().join("root/turned.txt");
    symlink("page.html", &link).expect("a link can be made");
    for topic in SERVERS {
        let server = serve(topic, &folder);
        assert_eq!(server.get("/turned.txt").text(), "page", "{topic}");
        fs::remove_file(&link).expect("the link is there");
        symlink("../secret.txt", &link).expect("a link can be made");
        eventually("the new link is seen", || {
            let answer = server.get("/turned.txt");
            assert!(tells_no_path(&answer, &folder), "{topic}: {answer:?}");
            answer.status == 404
        });
        fs::remove_file(&link).expect("the link is there");
        symlink("page.html", &link).expect("a link can be made");
    }
}

#[test]
fn a_pipe_below_the_root_keeps_nobody_waiting() {
    let folder = folder();
    let pipe = folder.path().join("root/pipe.txt");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.is_ok_and(|s| s.success()), "mkfifo makes a pipe");
    symlink("pipe.txt", folder.path().join("root/to-pipe.txt")).expect("a link can be made");
    for topic in SERVERS {
        let server = serve(topic, &folder);
        for name in ["/pipe.txt", "/to-pipe.txt"] {
            assert_eq!(server.get(name).status, 404, "{topic}: {name}");
        }
        assert_eq!(server.get("/page.html").text(), "page", "{topic}");
    }
}

#[test]
fn an_edited_file_is_seen_within_a_second() {
    let folder = folder();
    for topic in SERVERS {
        let server = serve(topic, &folder);
        folder.write("root/page.html", b"page");
        assert_eq!(server.get("/page.html").text(), "page", "{topic}");
        let seen = |what: &str, expected: &dyn Fn(&Answer) -> bool| {
            let edited = Instant::now();
            eventually(what, || {
                // However long the answer takes: whoever asks after a second sees the edit.
                let late = edited.elapsed() > Duration::from_secs(1);
                let is_seen = expected(&server.get("/page.html"));
                assert!(is_seen || !late, "{topic}: {what}, but after a second");
                is_seen
            });
        };
        folder.write("root/page.html", b"edit");
        seen("the edit is seen", &|a| a.text() == "edit");
        folder.write("root/page.html", b"longer than before");
        seen("the longer text is seen", &|a| a.text() == "longer than before");
        fs::remove_file(folder.path().join("root/page.html")).expect("the file is there");
        seen("that it is gone is seen", &|a| a.status == 404);
        folder.write("root/page.html", b"page");
        seen("that it is back is seen", &|a| a.text() == "page");
    }
}

#[test]
fn head_says_what_get_says_and_sends_no_content() {
    let folder = folder();
    folder.write("root/large.bin", &vec![b'x'; 2 << 20]);
    for topic in SERVERS {
        let server = serve(topic, &folder);
        for target in ["/", "/page.html", "/large.bin", "/none", "/video", "/echo"] {
            let get = server.get(target);
            let request = format!("HEAD {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            let said = String::from_utf8_lossy(&server.exchange(request.as_bytes())).into_owned();
            let without_date = |head: &str| -> Vec<String> {
                let lines = head.lines().filter(|l| !l.starts_with("Date:") && !l.is_empty());
                lines.map(str::to_owned).collect()
            };
            assert_eq!(without_date(&said), without_date(&get.head), "{topic}: {target}");
        }
    }
}

/// Bytes in which every shift and every loss shows.
fn large_content(length: usize) -> Vec<u8> {
    let mut random = crate::support::Random::new(8);
    (0..length / 8).flat_map(|_| random.next().to_le_bytes()).collect()
}

#[test]
fn a_large_file_arrives_byte_for_byte_in_bounded_memory() {
    let folder = folder();
    // Larger than what is kept.
    let content = large_content((8 << 20) + 8);
    folder.write("root/large.bin", &content);
    for topic in SERVERS {
        let server = serve(topic, &folder);
        assert_eq!(server.get("/page.html").status, 200);
        let grown = server.growth_kib(|| {
            // All of them ask before the first reads: the server has eight answers under way.
            let clients: Vec<_> = (0..8)
                .map(|_| {
                    let mut stream = server.connect();
                    stream
                        .write_all(b"GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n")
                        .expect("it is sent");
                    stream
                })
                .collect();
            for stream in clients {
                let answer = Reader::new(stream).answer(false).expect("it is answered");
                assert!(answer.content == content, "{topic}: the bytes differ");
            }
        });
        println!("{topic}: eight downloads cost {grown} KiB");
        assert!(grown < 8 * 1024, "{topic}: eight downloads cost {grown} KiB");
    }
}

#[test]
fn a_kept_file_that_is_changed_on_the_way_arrives_as_it_was() {
    let folder = folder();
    type Change = fn(&Path);
    let changes: [(&str, Change); 3] = [
        ("written into", |path| {
            let file = fs::OpenOptions::new().write(true).open(path).expect("it is there");
            file.write_all_at(&[0; 100_000], 0).expect("it is changed");
        }),
        ("cut", |path| {
            let file = fs::OpenOptions::new().write(true).open(path).expect("it is there");
            file.set_len(1000).expect("it is cut");
        }),
        ("replaced", |path| {
            let new = path.with_extension("new");
            fs::write(&new, "new").expect("it is written");
            fs::rename(new, path).expect("it is replaced");
        }),
    ];
    for (topic, length) in SERVERS.into_iter().flat_map(|t| [100_000, 8 << 20].map(|l| (t, l))) {
        let content = large_content(length);
        let server = serve(topic, &folder);
        for (what, change) in changes {
            let path = folder.write("root/kept.bin", &content);
            let is_seen = |now: &[u8]| server.get("/kept.bin").content == now;
            eventually("what is there is seen", || is_seen(&content));
            let mut stream = server.connect();
            stream
                .write_all(b"GET /kept.bin HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                .expect("it is sent");
            let mut said = vec![0; 1024];
            stream.read_exact(&mut said).expect("the answer begins");
            change(&path);
            stream.read_to_end(&mut said).expect("the answer ends");
            assert!(said.ends_with(&content), "{topic}: {length} bytes, {what}: other bytes came");
            let changed = fs::read(&path).expect("it is there");
            eventually("the change is seen", || is_seen(&changed));
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn sealed_memory_holds_what_was_read_however_long_it_is() {
    let huge_page = 2 << 20;
    for length in [1, huge_page - 1, huge_page, huge_page + 1, 3 * huge_page + 5] {
        let mut content = large_content(length + 8);
        content.truncate(length);
        // A file may shrink or grow between the look at its length and the reading.
        for expected in [0, length, length + 1, length + 2 * huge_page] {
            let sealed = progjar::net::sys::seal(&content[..], expected as u64);
            let (file, said) = sealed.expect("there is room");
            let mut bytes = vec![0; length + 1];
            let n = file.read_at(&mut bytes, 0).expect("it is read");
            assert_eq!((said, n), (length as u64, length), "expected {expected}");
            assert!(bytes[..n] == content, "{length} bytes, expected {expected}: others came");
            let past_the_end = file.write_at(b"x", length as u64);
            assert!(file.write_at(b"x", 0).is_err() && past_the_end.is_err(), "it can be changed");
        }
    }
}

#[test]
fn what_is_kept_is_bounded_in_bytes_and_in_descriptors() {
    let folder = folder();
    let sized = |name: String, length: u64| {
        let file = fs::File::create(folder.path().join("root").join(&name)).expect("it is made");
        file.set_len(length).expect("it takes no space");
        name
    };
    let few = (0..200).map(|n| sized(format!("few{n}.bin"), 128 * 1024));
    let many = (0..12).map(|n| sized(format!("many{n}.bin"), 8 << 20));
    let names: Vec<String> = few.chain(many).collect();
    let huge = sized("huge.bin".to_owned(), 100 << 20);
    let ask = |server: &Server, method: &str, name: &str| {
        let request = format!("{method} /{name} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let said = server.exchange(request.as_bytes());
        assert!(said.starts_with(b"HTTP/1.1 200 "), "{name}");
    };
    let ask_only = |server: &Server, name: &str| {
        let mut stream = server.connect();
        write!(stream, "GET /{name} HTTP/1.1\r\nHost: a\r\n\r\n").expect("it is sent");
        stream.read_exact(&mut [0; 100]).expect("the answer begins");
        stream
    };
    for topic in SERVERS {
        let server = serve(topic, &folder);
        ask(&server, "HEAD", "many0.bin");
        assert_eq!(server.memory_files(), [], "{topic}: a content that is not sent is not read");
        for name in ["many0.bin", "%6dany0.bin", "m%61ny0.bin"] {
            ask(&server, "GET", name);
        }
        assert_eq!(server.memory_files(), [8 << 20], "{topic}: one file under three spellings");
        let _huge = ask_only(&server, &huge);
        assert_eq!(server.memory_files(), [8 << 20], "{topic}: what is streamed takes no room");
        let (mut most, mut most_bytes) = (0, 0);
        for name in &names {
            ask(&server, "GET", name);
            let files = server.memory_files();
            most = files.len().max(most);
            most_bytes = files.iter().sum::<u64>().max(most_bytes);
        }
        println!("{topic}: at most {most} files in memory, and {most_bytes} bytes");
        assert!((100..=128).contains(&most), "{topic}: {most} descriptors");
        assert!((32 << 20..=64 << 20).contains(&most_bytes), "{topic}: {most_bytes}");
        // Clients who ask for all of them and do not read hold on to what is kept no more.
        let stalled = names.iter().rev().take(30).chain(&names);
        let stalled: Vec<_> = stalled.map(|name| ask_only(&server, name)).collect();
        let files = server.memory_files();
        let bytes = files.iter().sum::<u64>();
        println!("{topic}: {} clients hold {} files, {bytes} bytes", stalled.len(), files.len());
        assert!(files.len() <= 256 && bytes <= 128 << 20, "{topic}: {} {bytes}", files.len());
    }
}

#[test]
fn with_few_descriptors_few_files_are_kept() {
    let folder = folder();
    for n in 0..40 {
        let path = folder.path().join(format!("root/{n}.bin"));
        let file = fs::File::create(path).expect("it is made");
        file.set_len(128 * 1024).expect("it takes no space");
    }
    for topic in SERVERS {
        let mut command = Command::new("sh");
        let program = env!("CARGO_BIN_EXE_progjar");
        let line =
            format!("ulimit -n 64; exec {program} {topic} 0 --quiet --root {}", root_of(&folder));
        command.args(["-c", &line]);
        let server = Server::run(topic, command);
        for n in 0..40 {
            assert_eq!(server.get(&format!("/{n}.bin")).status, 200, "{topic}: {n}");
        }
        let kept = server.memory_files().len();
        assert!((1..=8).contains(&kept), "{topic}: {kept} of 64 descriptors are for files");
    }
}

#[test]
fn a_file_that_shrinks_on_the_way_ends_in_a_cut_connection_not_in_other_bytes() {
    let folder = folder();
    let content = large_content(64 << 20);
    for topic in SERVERS {
        let path = folder.write("root/large.bin", &content);
        let server = serve(topic, &folder);
        let mut stream = server.connect();
        stream
            .write_all(
                b"GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            )
            .expect("it is sent");
        let mut said = vec![0; 1024];
        stream.read_exact(&mut said).expect("the answer begins");
        fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_len(1 << 20))
            .expect("the file can be cut");
        said.extend(read_to_close(&mut stream));
        let text = b"\r\n\r\n";
        let head = said.windows(4).position(|w| w == text).expect("there is a head") + 4;
        assert!(said.len() - head < content.len(), "{topic}: more came than there is");
        assert!(content.starts_with(&said[head..]), "{topic}: other bytes came");
        // It costs one client its connection, and the server nothing.
        assert_eq!(server.get("/page.html").text(), "page", "{topic}");
    }
}
