//! From a topology and the user's wishes to the CPU and node of every thread. A
//! pure function: the same input gives the same plan.
//!
//! A plan has lanes, one for each data-path core ([`forebay-base`]'s `CoreId`):
//!
//! ```text
//! inline   lane 0: [cpu 0: reactor + worker]   lane 1: [cpu 1: reactor + worker] ...
//! split    lane 0: [cpu 0: reactor][cpu 4: worker]  ...  a pair shares the closest thing that it can:
//!          a core (hyperthreads), else an L3 cache, else a node
//! ```
//!
//! `auto` is inline: it was measured cheapest, 4.3 us of CPU a request against
//! 5.4 to 7.3 with the worker on another CPU (docs/decisions). Split is for
//! blueprints that compute for long, whose slices would delay the sockets.

use std::fmt;

use crate::{Cpu, Placement, Topology, show_cpu_list};

/// What the user asks for. The default is to be asked for nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Request {
    /// CPUs to use, in the order of the lanes; `None`: all, within the cgroup's quota.
    pub cores: Option<Vec<u32>>,
    /// Forced placement; `None` is auto.
    pub placement: Option<Placement>,
}

/// Where a thread's memory comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemoryPolicy {
    /// The machine has one node: nothing to say.
    Default,
    /// From the seat's node while it has free pages, else from the nearest
    /// (`MPOL_PREFERRED`, set_mempolicy(2)): being slower is better than being killed.
    PreferLocal,
}

/// Where one thread runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seat {
    /// The kernel's CPU number.
    pub cpu: u32,
    /// The NUMA node of that CPU, the kernel's number.
    pub node: u32,
    /// What to tell the kernel about memory.
    pub memory: MemoryPolicy,
    /// Whether [`Seat::take`] touches the system (the topology is of this one).
    pub binds: bool,
}

/// One data-path core.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lane {
    /// The thread of the sockets, and of the worker if there is no other.
    pub reactor: Seat,
    /// The worker's own thread: `Some` exactly if the placement is split.
    pub worker: Option<Seat>,
}

/// Who runs where. At least one lane.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// One or two threads a lane.
    pub placement: Placement,
    /// The lanes; the index is the `CoreId`.
    pub lanes: Vec<Lane>,
    /// Why it is like this: sentences for a person.
    pub notes: Vec<String>,
}

/// The user's wish can't be met: the configuration is at fault.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PlanError {
    /// `cores` names a CPU that this process may not use or that isn't there.
    NotAllowed {
        /// The CPU.
        cpu: u32,
        /// What may be used, as a list of ranges.
        allowed: String,
    },
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAllowed { cpu, allowed } => {
                write!(f, "cores: CPU {cpu} can't be used by this process; it may use {allowed}")
            }
        }
    }
}

impl std::error::Error for PlanError {}

/// Plans the lanes.
///
/// # Errors
/// [`PlanError`] if a CPU of `request.cores` isn't in the topology.
pub fn plan(topology: &Topology, request: &Request) -> Result<Plan, PlanError> {
    let mut notes = Vec::new();
    let placement = request.placement.unwrap_or_else(|| {
        notes.push("placement auto: inline, the cheapest per request".to_owned());
        Placement::Inline
    });
    let cpus = match &request.cores {
        Some(numbers) => chosen(topology, numbers)?,
        None => spread(topology, &mut notes),
    };
    let seat = |cpu: &Cpu| Seat {
        cpu: cpu.number,
        node: cpu.node,
        memory: if topology.node_count() > 1 { MemoryPolicy::PreferLocal } else { MemoryPolicy::Default },
        binds: topology.is_this_system(),
    };
    let lanes = match placement {
        Placement::Inline => cpus.iter().map(|cpu| Lane { reactor: seat(cpu), worker: None }).collect(),
        Placement::Split => pairs(&cpus, &mut notes)
            .iter()
            .map(|(reactor, worker)| Lane { reactor: seat(reactor), worker: Some(seat(worker)) })
            .collect(),
    };
    Ok(Plan { placement, lanes, notes })
}

fn chosen(topology: &Topology, numbers: &[u32]) -> Result<Vec<Cpu>, PlanError> {
    let all = || topology.cpus.iter().map(|cpu| cpu.number).collect::<Vec<_>>();
    numbers
        .iter()
        .map(|&cpu| {
            topology
                .cpu(cpu)
                .copied()
                .ok_or_else(|| PlanError::NotAllowed { cpu, allowed: show_cpu_list(&all()) })
        })
        .collect()
}

/// All CPUs, or as many as the quota pays for: then whole cores before sibling
/// threads, and one node before the next.
fn spread(topology: &Topology, notes: &mut Vec<String>) -> Vec<Cpu> {
    let all = &topology.cpus;
    let Some(millis) = topology.quota_millis else { return all.clone() };
    let count = (millis.div_ceil(1000) as usize).clamp(1, all.len());
    if count == all.len() {
        return all.clone();
    }
    notes.push(format!(
        "the cgroup allows {:.2} CPUs: {count} of {} are used",
        f64::from(millis) / 1000.0,
        all.len()
    ));
    // Stable sort: the locality order stays within equal ranks.
    let mut ranked: Vec<(usize, &Cpu)> = all
        .iter()
        .enumerate()
        .map(|(at, cpu)| (all[..at].iter().filter(|other| other.core == cpu.core).count(), cpu))
        .collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.truncate(count);
    ranked.into_iter().map(|(_, cpu)| *cpu).collect()
}

/// Pairs of (reactor, worker), each as close as possible, in the order of the
/// reactors in `cpus`.
fn pairs(cpus: &[Cpu], notes: &mut Vec<String>) -> Vec<(Cpu, Cpu)> {
    if let [only] = cpus {
        notes.push(format!("split with one CPU: reactor and worker take turns on CPU {}", only.number));
        return vec![(*only, *only)];
    }
    let mut left: Vec<(usize, Cpu)> = cpus.iter().copied().enumerate().collect();
    let mut paired: Vec<(usize, (Cpu, Cpu))> = Vec::new();
    // The closest relation first; within one, in the order given.
    let relations: [fn(&Cpu, &Cpu) -> bool; 4] =
        [|a, b| a.core == b.core, |a, b| a.cache == b.cache, |a, b| a.node == b.node, |_, _| true];
    for related in relations {
        let mut at = 0;
        while at < left.len() {
            let (order, reactor) = left[at];
            match (at + 1..left.len()).find(|&other| related(&reactor, &left[other].1)) {
                Some(other) => {
                    let (_, worker) = left.remove(other);
                    left.remove(at);
                    paired.push((order, (reactor, worker)));
                }
                None => at += 1,
            }
        }
    }
    for (_, alone) in left {
        notes.push(format!("split uses CPUs in pairs: CPU {} is left over", alone.number));
    }
    paired.sort_by_key(|(order, _)| *order);
    paired.into_iter().map(|(_, pair)| pair).collect()
}

impl Plan {
    /// One line for the log: `inline, 2 lanes, CPUs 0-1`.
    #[must_use]
    pub fn summary(&self) -> String {
        let cpus: Vec<u32> = self
            .lanes
            .iter()
            .flat_map(|lane| [Some(lane.reactor.cpu), lane.worker.map(|seat| seat.cpu)])
            .flatten()
            .collect();
        let plural = if self.lanes.len() == 1 { "" } else { "s" };
        format!("{}, {} lane{plural}, CPUs {}", self.placement.name(), self.lanes.len(), show_cpu_list(&cpus))
    }

    /// The plan as JSON, for `forebay ctl topology`.
    #[must_use]
    pub fn describe(&self) -> serde_json::Value {
        let seat = |seat: &Seat| {
            serde_json::json!({
                "cpu": seat.cpu,
                "node": seat.node,
                "memory": match seat.memory {
                    MemoryPolicy::Default => "default",
                    MemoryPolicy::PreferLocal => "prefer-local",
                },
            })
        };
        let lanes: Vec<_> = self
            .lanes
            .iter()
            .enumerate()
            .map(|(core, lane)| {
                serde_json::json!({
                    "core": core,
                    "reactor": seat(&lane.reactor),
                    "worker": lane.worker.as_ref().map(seat),
                })
            })
            .collect();
        serde_json::json!({ "placement": self.placement.name(), "lanes": lanes, "notes": self.notes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `machine` in hwloc's synthetic syntax; `expected` is "reactor" or
    /// "reactor/worker" for each lane, with "@node" where memory is local.
    #[track_caller]
    fn check(machine: &str, cores: Option<&str>, placement: Option<Placement>, expected: &str) -> Plan {
        check_quota(machine, None, cores, placement, expected)
    }

    #[track_caller]
    fn check_quota(
        machine: &str,
        quota_millis: Option<u32>,
        cores: Option<&str>,
        placement: Option<Placement>,
        expected: &str,
    ) -> Plan {
        let topology = Topology { quota_millis, ..Topology::synthetic(machine).unwrap() };
        let cores = cores.map(|list| crate::parse_cpu_list(list).unwrap());
        let plan = plan(&topology, &Request { cores, placement }).unwrap();
        let show = |seat: &Seat| match seat.memory {
            MemoryPolicy::Default => seat.cpu.to_string(),
            MemoryPolicy::PreferLocal => format!("{}@{}", seat.cpu, seat.node),
        };
        let lanes: Vec<_> = plan
            .lanes
            .iter()
            .map(|lane| match &lane.worker {
                Some(worker) => format!("{}/{}", show(&lane.reactor), show(worker)),
                None => show(&lane.reactor),
            })
            .collect();
        assert_eq!(lanes.join(" "), expected);
        // What holds for every plan.
        assert!(!plan.lanes.is_empty());
        assert!(plan.lanes.iter().all(|lane| lane.worker.is_some() == (plan.placement == Placement::Split)));
        assert!(plan.lanes.iter().all(|lane| !lane.reactor.binds), "a synthetic machine binds nothing");
        plan
    }

    const SPLIT: Option<Placement> = Some(Placement::Split);

    #[test]
    fn inline_takes_every_cpu() {
        check("core:2 pu:1", None, None, "0 1");
        check("core:1 pu:1", None, None, "0");
        check("core:2 pu:2", None, Some(Placement::Inline), "0 1 2 3");
        check("pack:2 [numa] l3:1 core:2 pu:1", None, None, "0@0 1@0 2@1 3@1");
    }

    #[test]
    fn split_pairs_hyperthreads_then_caches_then_nodes() {
        check("core:2 pu:2", None, SPLIT, "0/1 2/3");
        // As Linux numbers hyperthreads: siblings are 0 and 4, 1 and 5, ...
        check("core:4 pu:2(indexes=core:pu)", None, SPLIT, "0/1 2/3 4/5 6/7");
        check("core:4 pu:2(indexes=0,4,1,5,2,6,3,7)", None, SPLIT, "0/4 1/5 2/6 3/7");
        check("core:4 pu:1", None, SPLIT, "0/1 2/3");
        // Three cores a cache: the odd ones meet on their node.
        check("[numa] pack:1 l3:2 core:3 pu:1", None, SPLIT, "0/1 2/5 3/4");
        check("pack:2 [numa] l3:1 core:2 pu:1", None, SPLIT, "0@0/1@0 2@1/3@1");
    }

    #[test]
    fn split_with_an_odd_or_single_cpu_says_so() {
        let plan = check("core:3 pu:1", None, SPLIT, "0/1");
        assert!(plan.notes.iter().any(|note| note.contains("CPU 2 is left over")), "{:?}", plan.notes);
        let plan = check("core:1 pu:1", None, SPLIT, "0/0");
        assert!(plan.notes.iter().any(|note| note.contains("take turns")), "{:?}", plan.notes);
    }

    #[test]
    fn chosen_cores_keep_their_order() {
        check("core:4 pu:1", Some("3,1"), None, "3 1");
        check("core:4 pu:2", Some("6,0,7,1"), SPLIT, "6/7 0/1");
        check("pack:2 [numa] l3:1 core:2 pu:1", Some("2,0"), None, "2@1 0@0");
        let topology = Topology::synthetic("core:2 pu:1").unwrap();
        let request = Request { cores: Some(vec![0, 9]), placement: None };
        let error = plan(&topology, &request).unwrap_err();
        assert_eq!(error.to_string(), "cores: CPU 9 can't be used by this process; it may use 0-1");
    }

    #[test]
    fn a_quota_takes_whole_cores_of_one_node_first() {
        check_quota("pack:2 [numa] l3:1 core:2 pu:2", Some(2000), None, None, "0@0 2@0");
        check_quota("core:4 pu:1", Some(1500), None, None, "0 1");
        check_quota("core:4 pu:1", Some(100), None, None, "0");
        check_quota("core:2 pu:1", Some(64_000), None, None, "0 1");
        // Who names cores has decided.
        check_quota("core:4 pu:1", Some(1000), Some("0-2"), None, "0 1 2");
    }

    #[test]
    fn random_machines_never_seat_two_threads_on_one_cpu() {
        let mut state = 1u64;
        let mut next = |bound: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            u32::try_from((state >> 33) % bound).unwrap()
        };
        for round in 0..500 {
            let count = 1 + next(40);
            let cpus = (0..count)
                .map(|number| Cpu { number, core: next(20), cache: next(6), node: next(3), package: 0 })
                .collect();
            let topology = Topology {
                cpus,
                quota_millis: (next(3) == 0).then(|| 1 + next(50_000)),
                source: crate::Source::Synthetic,
                warnings: Vec::new(),
            };
            for placement in [None, SPLIT] {
                let plan = plan(&topology, &Request { cores: None, placement }).unwrap();
                let mut seats: Vec<u32> = plan
                    .lanes
                    .iter()
                    .flat_map(|lane| [Some(lane.reactor.cpu), lane.worker.map(|w| w.cpu)])
                    .flatten()
                    .collect();
                let total = seats.len();
                seats.sort_unstable();
                seats.dedup();
                assert!(seats.len() == total || count == 1 || total == 2, "round {round}: {plan:?}");
                assert!(plan.describe()["lanes"].as_array().unwrap().len() == plan.lanes.len());
                assert!(!plan.summary().is_empty());
            }
        }
    }
}
