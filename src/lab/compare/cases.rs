//! What is compared, and what is to be reached: one table each.

use super::lineup::{ASYNC_SERVER, LB, LB_PIPELINE, NGINX, NGINX_LB, THREAD_SERVER};

/// Who makes the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// `progjar bench`, in this process.
    Bench,
    /// As a cross-check, where it is installed.
    Wrk,
    /// The same.
    Ab,
}

/// One kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// As `--only` names it.
    pub name: &'static str,
    /// What it is, in a few words.
    pub title: &'static str,
    pub driver: Driver,
    pub path: &'static str,
    /// With a request under way.
    pub connections: usize,
    pub keep_alive: bool,
    /// Whether thousands more are open beside them.
    pub idle: bool,
}

impl Case {
    /// Whether nothing is asked but the assignment's short answer.
    pub fn is_small(&self) -> bool {
        self.path == SMALL.path && !self.idle
    }
}

/// The large file is made for the measurement.
pub const LARGE: &str = "large.bin";
pub const LARGE_SIZE: usize = 8 << 20;
/// The image is one of the page's.
pub const IMAGE: &str = "readiness.jpg";

const SMALL: Case = Case {
    name: "keep-alive",
    title: "31 bytes, 64 keep-alive connections",
    driver: Driver::Bench,
    path: "/",
    connections: 64,
    keep_alive: true,
    idle: false,
};

/// In the order of the table.
pub const CASES: [Case; 8] = [
    SMALL,
    Case { name: "keep-alive-wrk", title: "the same by wrk", driver: Driver::Wrk, ..SMALL },
    Case {
        name: "close",
        title: "31 bytes, a connection each, 100 at a time",
        connections: 100,
        keep_alive: false,
        ..SMALL
    },
    Case {
        name: "close-ab",
        title: "the same by ab",
        driver: Driver::Ab,
        connections: 100,
        keep_alive: false,
        ..SMALL
    },
    Case { name: "one", title: "31 bytes, 1 keep-alive connection", connections: 1, ..SMALL },
    Case {
        name: "image",
        title: "75 KB, 64 keep-alive connections",
        path: "/readiness.jpg",
        ..SMALL
    },
    Case {
        name: "large",
        title: "8 MiB, 8 keep-alive connections",
        path: "/large.bin",
        connections: 8,
        ..SMALL
    },
    Case {
        name: "idle",
        title: "31 bytes, 64 active beside idle connections",
        idle: true,
        ..SMALL
    },
];

/// Whom a goal looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Against {
    /// Another system, by name.
    System(&'static str),
    /// The one of nginx and HAProxy that answers more requests per second.
    BetterGateway,
    /// The same system without the idle connections.
    ItselfAlone,
    /// A plain number.
    Nobody,
}

/// Which figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figure {
    Rate,
    Cpu,
    IdleMemory,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// One thing to be reached.
#[derive(Debug, Clone, Copy)]
pub struct Goal {
    /// The cases that show it, the best witness first.
    pub cases: &'static [&'static str],
    pub system: &'static str,
    pub figure: Figure,
    pub against: Against,
    pub bound: Bound,
}

const fn goal(
    cases: &'static [&'static str],
    system: &'static str,
    figure: Figure,
    against: Against,
    bound: Bound,
) -> Goal {
    Goal { cases, system, figure, against, bound }
}

const KEEP_ALIVE: &[&str] = &["keep-alive-wrk", "keep-alive"];
const ALONE: Against = Against::System(NGINX);

/// In the order of the table.
pub const GOALS: [Goal; 16] = {
    use Against::{BetterGateway, ItselfAlone, Nobody, System};
    use Bound::{AtLeast, AtMost};
    use Figure::{Cpu, IdleMemory, Rate};
    [
        goal(KEEP_ALIVE, LB, Rate, BetterGateway, AtLeast(1.4)),
        goal(KEEP_ALIVE, LB, Cpu, BetterGateway, AtMost(0.68)),
        goal(KEEP_ALIVE, LB_PIPELINE, Rate, BetterGateway, AtLeast(1.4)),
        goal(KEEP_ALIVE, LB_PIPELINE, Cpu, BetterGateway, AtMost(0.68)),
        goal(KEEP_ALIVE, ASYNC_SERVER, Rate, ALONE, AtLeast(1.1)),
        goal(KEEP_ALIVE, ASYNC_SERVER, Cpu, ALONE, AtMost(0.70)),
        goal(KEEP_ALIVE, THREAD_SERVER, Rate, ALONE, AtLeast(0.8)),
        goal(&["close-ab", "close"], LB, Rate, BetterGateway, AtLeast(1.2)),
        goal(&["image"], ASYNC_SERVER, Rate, ALONE, AtLeast(1.0)),
        goal(&["image"], LB, Rate, System(NGINX_LB), AtLeast(1.0)),
        goal(&["large"], ASYNC_SERVER, Rate, ALONE, AtLeast(1.0)),
        goal(&["large"], LB, Rate, System(NGINX_LB), AtLeast(1.0)),
        goal(&["idle"], ASYNC_SERVER, Rate, ItselfAlone, AtLeast(0.95)),
        goal(&["idle"], LB, Rate, ItselfAlone, AtLeast(0.95)),
        goal(&["idle"], ASYNC_SERVER, IdleMemory, Nobody, AtMost(2048.0)),
        goal(&["idle"], LB, IdleMemory, Nobody, AtMost(2048.0)),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_goal_names_a_case() {
        for goal in GOALS {
            for name in goal.cases {
                assert!(CASES.iter().any(|case| case.name == *name), "{name}");
            }
        }
    }
}
