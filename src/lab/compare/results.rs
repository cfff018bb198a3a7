//! From single measurements to medians, ratios, and goals met or not.
//!
//! Knows no process and no file. Entry points: [`Results::median`], [`Results::verdicts`].

use super::cases::{Against, Bound, Case, Figure, GOALS, Goal};
use super::lineup::{FLOOR, FLOOR_LB, HAPROXY, NGINX, NGINX_LB, Role};
use super::load::Sample;
use crate::bench::stats::Spread;

/// One measurement with its place.
#[derive(Debug, Clone)]
pub struct Run {
    pub case: Case,
    pub system: &'static str,
    pub round: usize,
    pub sample: Sample,
}

/// All that has been measured.
#[derive(Debug, Default)]
pub struct Results {
    /// In the order of the tables.
    pub systems: Vec<(&'static str, Role)>,
    pub cases: Vec<Case>,
    pub runs: Vec<Run>,
    /// System calls per request, of each system.
    pub calls: Vec<(&'static str, f64)>,
}

/// A goal and what became of it.
#[derive(Debug, PartialEq)]
pub struct Verdict {
    /// The witness: the case, what was measured there, and whether that is enough. None if
    /// nothing was.
    pub seen: Option<(&'static str, f64, bool)>,
    /// What the floor reaches there.
    pub floor: Option<f64>,
    /// Whom the system was compared with.
    pub against: String,
}

impl Results {
    /// What was measured of a system in a case, round by round.
    pub fn samples<'a>(
        &'a self,
        case: &'a str,
        system: &'a str,
    ) -> impl Iterator<Item = &'a Sample> + 'a {
        let of = move |run: &&Run| run.case.name == case && run.system == system;
        self.runs.iter().filter(of).map(|run| &run.sample)
    }

    /// The median of one figure.
    pub fn median(
        &self,
        case: &str,
        system: &str,
        of: impl Fn(&Sample) -> Option<f64>,
    ) -> Option<f64> {
        Some(Spread::of(self.samples(case, system).filter_map(of))?.median)
    }

    /// Requests per second.
    pub fn rate(&self, case: &str, system: &str) -> Option<f64> {
        self.median(case, system, |s| Some(s.rate))
    }

    /// CPU time per request.
    pub fn cpu(&self, case: &str, system: &str) -> Option<f64> {
        self.median(case, system, |s| s.cpu)
    }

    /// Bytes per idle connection: the highest. A server that keeps memory for the next time
    /// asks for none in the rounds after the first.
    pub fn idle_memory(&self, case: &str, system: &str) -> Option<f64> {
        let values = self.samples(case, system).filter_map(|s| s.idle_memory);
        values.max_by(f64::total_cmp)
    }

    /// Whom the others of a role are measured by: nginx, or the better load balancer of the
    /// others.
    pub fn reference(&self, case: &str, role: Role) -> Option<&'static str> {
        let candidates: &[&'static str] = match role {
            Role::Server => &[NGINX],
            Role::Gateway => &[NGINX_LB, HAPROXY],
        };
        let rated = candidates.iter().filter_map(|name| Some((*name, self.rate(case, name)?)));
        rated.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(name, _)| name)
    }

    /// All goals, in order.
    pub fn verdicts(&self) -> Vec<(Goal, Verdict)> {
        GOALS.iter().map(|goal| (*goal, self.verdict(goal))).collect()
    }

    fn verdict(&self, goal: &Goal) -> Verdict {
        let mut against = match goal.against {
            Against::System(name) => name.to_owned(),
            Against::BetterGateway => "the better of nginx and HAProxy".to_owned(),
            Against::ItselfAlone => "itself without idle connections".to_owned(),
            Against::Nobody => String::new(),
        };
        for case in goal.cases {
            let (other, value) = self.measured(goal, goal.system, case);
            if let Some(value) = value {
                if let (Against::BetterGateway, Some(name)) = (goal.against, other) {
                    against = format!("{name} (the better one)");
                }
                let is_met = match goal.bound {
                    Bound::AtLeast(bound) => value >= bound,
                    Bound::AtMost(bound) => value <= bound,
                };
                return Verdict {
                    seen: Some((*case, value, is_met)),
                    floor: self.measured(goal, self.floor_of(goal.system), case).1,
                    against,
                };
            }
        }
        Verdict { seen: None, floor: None, against }
    }

    /// The system that does the same work without a thought.
    fn floor_of(&self, system: &str) -> &'static str {
        let mut gateways = self.systems.iter().filter(|(_, r)| *r == Role::Gateway);
        if gateways.any(|(name, _)| *name == system) { FLOOR_LB } else { FLOOR }
    }

    /// A goal's figure for this system, and whom it is compared with.
    fn measured(
        &self,
        goal: &Goal,
        system: &str,
        case: &str,
    ) -> (Option<&'static str>, Option<f64>) {
        let figure = |system: &str| match goal.figure {
            Figure::Rate => self.rate(case, system),
            Figure::Cpu => self.cpu(case, system),
            Figure::IdleMemory => self.idle_memory(case, system),
        };
        let ratio = |other: Option<f64>| Some(figure(system)? / other.filter(|o| *o > 0.0)?);
        match goal.against {
            Against::System(name) => (Some(name), ratio(figure(name))),
            Against::BetterGateway => match self.reference(case, Role::Gateway) {
                Some(name) => (Some(name), ratio(figure(name))),
                None => (None, None),
            },
            // Measured just before: each pair by itself.
            Against::ItselfAlone => {
                let pairs = |s: &Sample| s.alone.filter(|a| *a > 0.0).map(|alone| s.rate / alone);
                (None, self.median(case, system, pairs))
            }
            Against::Nobody => (None, figure(system)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::cases::CASES;
    use super::super::lineup::{ASYNC_SERVER, LB};
    use super::*;

    fn results(rows: &[(&'static str, f64, f64)]) -> Results {
        let run = |(system, rate, cpu): &(&'static str, f64, f64)| Run {
            case: CASES[0],
            system,
            round: 1,
            sample: Sample { rate: *rate, cpu: Some(*cpu), ..Sample::default() },
        };
        Results { runs: rows.iter().map(run).collect(), ..Results::default() }
    }

    #[test]
    fn a_goal_looks_at_the_better_gateway_and_at_medians() {
        let results = results(&[
            (LB, 90.0, 9.0),
            (LB, 150.0, 10.0),
            (LB, 400.0, 20.0),
            (NGINX_LB, 80.0, 1.0),
            (HAPROXY, 100.0, 20.0),
        ]);
        assert_eq!(results.reference("keep-alive", Role::Gateway), Some(HAPROXY));
        let verdicts = results.verdicts();
        assert_eq!(verdicts[0].1.seen, Some(("keep-alive", 1.5, true)));
        assert_eq!(verdicts[1].1.seen, Some(("keep-alive", 0.5, true)));
        assert!(verdicts[0].1.against.starts_with(HAPROXY));
        assert_eq!(verdicts[2].1.seen, None, "nobody measured {ASYNC_SERVER}");
    }

    #[test]
    fn a_missed_goal_is_not_met() {
        let results = results(&[(ASYNC_SERVER, 100.0, 9.0), (NGINX, 100.0, 10.0)]);
        let mut verdicts = results.verdicts();
        verdicts.retain(|(goal, _)| goal.system == ASYNC_SERVER);
        assert_eq!(verdicts[0].1.seen, Some(("keep-alive", 1.0, false)));
        assert_eq!(verdicts[1].1.seen, Some(("keep-alive", 0.9, false)));
    }
}
