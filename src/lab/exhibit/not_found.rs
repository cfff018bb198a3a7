//! A thousand answers that say "Not Found", in a table that has no column for it.
//!
//! Note: `notes/wrong-table.md`.

use super::server::{Server, answer};
use super::{Exhibit, Stage};
use crate::bench::table::{self, Table};
use crate::bench::{self, Plan};

pub(super) const EXHIBIT: Exhibit = Exhibit {
    name: "not-found",
    title: "a thousand answers of 404 that look like success",
    does: "\
Two servers. One has the page and answers 200 OK; the other does not and answers 404 Not
Found, byte for byte as the reference did in the assignment's report. Each gets 1,000
requests, 10 at a time. Look at the assignment's eight columns first: which server is which?",
    play,
    means: "\
For a load generator a request has failed when no answer comes, or a broken one. \"Not Found\"
is a perfect answer: complete, and often faster than a page, since there is less to send. So
it counts as complete, and no column of the table tells. Two things do. One is the line
`Non-2xx responses`, which ab prints and the table has no place for. The other is the bytes:
divide 122,000 by 1,000, and you have 122 bytes, head and all. Before you measure, look at one
answer with your own eyes; after, ask whether the bytes can be what you wanted.",
};

/// As the reference says it: 122 bytes, the last four of them not announced.
const NOT_FOUND: &[u8] = b"HTTP/1.0 404 Not Found\r\nDate: Mon May 24 10:00:00 2021\r\n\
    Connection: close\r\nServer: myserver/1.0\r\nContent-Length: 0\r\n\r\n\r\n\r\n";
/// The same server with the page that was wanted.
const FOUND: &[u8] = b"HTTP/1.0 200 OK\r\nDate: Mon May 24 10:00:00 2021\r\n\
    Connection: close\r\nServer: myserver/1.0\r\nContent-Length: 31\r\n\r\n\
    Ini Adalah web Server percobaan\r\n\r\n";

fn play(stage: &Stage) -> Result<String, String> {
    let mut table = Table::new(&[
        "server",
        "level",
        "time (s)",
        "complete",
        "failed",
        "transferred",
        "requests/s",
        "ms/request",
        "Kbytes/s",
    ]);
    let mut below = "What the eight columns leave out:\n".to_owned();
    for (name, bytes) in [("A", NOT_FOUND), ("B", FOUND)] {
        let server = Server::start(move |stream, _| answer(stream, bytes, || false))?;
        let plan = Plan { go_on: true, ..server.plan(1000, 10)? };
        let outcome = bench::run(&plan, stage.stop)?;
        // The name, and the assignment's eight columns.
        table.rows.push([vec![name.to_owned()], table::row(&outcome)].concat());
        below += &format!("  {name}: Non-2xx responses: {}\n", outcome.tally.non_2xx);
    }
    Ok(format!("{}\n{below}", table.text()))
}
