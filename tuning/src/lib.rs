//! Which CPU runs which thread, on which NUMA node its memory lives, and on which pages its code.
//!
//! ```text
//! hwloc, sched_getaffinity, cgroup  -->  Topology  --plan(request)-->  Plan  --Seat::take-->  this thread
//!        (topology.rs)                   plain data      (plan.rs)            (apply.rs)
//! ```
//!
//! [`Topology`] is plain data, so planning is a pure function and is tested with
//! machines that we don't have. Only [`Seat::take`] touches the system, and only
//! if the topology is of this system.

mod apply;
mod cgroup;
mod plan;
mod text;
mod topology;

pub use apply::ApplyError;
pub use plan::{Lane, MemoryPolicy, Plan, PlanError, Request, Seat, plan};
pub use text::{HugeText, TextError, huge_text};
pub use topology::{Cpu, Source, Topology};

/// Whether the worker has a thread of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Placement {
    /// Reactor and worker share one thread; the ring between them is drained in
    /// the same turn.
    Inline,
    /// The worker has a thread on a sibling hyperthread or core.
    Split,
}

impl Placement {
    /// `inline` or `split`: as in `forebay.toml`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inline => "inline",
            Self::Split => "split",
        }
    }
}

/// CPU numbers that Linux can have (`CPU_SETSIZE` of sched_setaffinity(2)).
pub const CPU_COUNT_MAX: u32 = 1024;

/// Parses a list of CPU numbers as the kernel writes it: `0,1`, `0-3,8`
/// (cpuset(7), "List format"). The order is kept; a number may come once.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn parse_cpu_list(text: &str) -> Result<Vec<u32>, String> {
    let number = |text: &str| match text.trim().parse::<u32>() {
        Ok(cpu) if cpu < CPU_COUNT_MAX => Ok(cpu),
        Ok(cpu) => Err(format!("CPU {cpu} is out of range: below {CPU_COUNT_MAX}")),
        Err(_) => Err(format!("\"{}\" is not a CPU number", text.trim())),
    };
    let mut cpus = Vec::new();
    for part in text.split(',') {
        if text.trim().is_empty() {
            return Err("the list is empty".to_owned());
        }
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(part)?, number(part)?),
        };
        if first > last {
            return Err(format!("the range {first}-{last} goes backwards"));
        }
        for cpu in first..=last {
            if cpus.contains(&cpu) {
                return Err(format!("CPU {cpu} is listed twice"));
            }
            cpus.push(cpu);
        }
    }
    Ok(cpus)
}

/// The inverse of [`parse_cpu_list`], with ranges; sorts.
#[must_use]
pub fn show_cpu_list(cpus: &[u32]) -> String {
    let mut sorted = cpus.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let parts: Vec<String> = sorted
        .chunk_by(|a, b| a + 1 == *b)
        .map(|run| match run {
            [one] => one.to_string(),
            [first, .., last] => format!("{first}-{last}"),
            [] => String::new(),
        })
        .collect();
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists() {
        let check = |text: &str, expected: Option<&[u32]>| {
            assert_eq!(parse_cpu_list(text).ok().as_deref(), expected, "{text:?}");
        };
        check("0", Some(&[0]));
        check("0-3,8", Some(&[0, 1, 2, 3, 8]));
        check(" 8, 2 ", Some(&[8, 2]));
        for bad in [
            "",
            " ",
            ",",
            "1,",
            "a",
            "-1",
            "1-",
            "3-1",
            "1,1",
            "0-2,1",
            "1024",
            "0-99999999999",
            "0-4294967295",
        ] {
            check(bad, None);
        }
        assert_eq!(show_cpu_list(&[8, 0, 2, 1]), "0-2,8");
        assert_eq!(show_cpu_list(&[]), "");
    }
}
