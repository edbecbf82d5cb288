//! The machine as plain data: which CPUs this process may use, and which of them
//! share a core, a last-level cache, a NUMA node and a package.
//!
//! Read through hwloc, which knows sysfs, device trees and cpusets. Where hwloc
//! can't (containers with half a sysfs), sched_getaffinity(2) still names the
//! CPUs; they then count as separate cores of one node, and a warning says so.

use std::collections::BTreeSet;

use hwlocality::object::TopologyObject;
use hwlocality::object::types::ObjectType;

use crate::{cgroup, show_cpu_list};

/// One CPU (a hardware thread, hwloc's PU) that this process may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cpu {
    /// The kernel's number, as sched_setaffinity(2) takes it.
    pub number: u32,
    /// Physical core: equal for sibling hyperthreads. Unique in the machine.
    pub core: u32,
    /// Last-level (L3) cache group. Unique in the machine; the node's number
    /// plus 2^16 where there is no L3.
    pub cache: u32,
    /// NUMA node, the kernel's number.
    pub node: u32,
    /// Package (socket). Unique in the machine.
    pub package: u32,
}

/// Where a [`Topology`] comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// hwloc, this machine.
    System,
    /// Only sched_getaffinity(2): siblings, caches and nodes are unknown.
    Affinity,
    /// A description of another machine: threads can't be bound by it.
    Synthetic,
}

/// The CPUs that this process may use. Never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Topology {
    /// In the order of package, node, cache, core, thread.
    pub cpus: Vec<Cpu>,
    /// CPU time that the cgroup allows, in thousandths of a CPU (cpu.max);
    /// `None`: no limit.
    pub quota_millis: Option<u32>,
    /// Where this comes from.
    pub source: Source,
    /// What a person should know: sentences.
    pub warnings: Vec<String>,
}

impl Topology {
    /// The machine that we run on, reduced to what this process may use.
    #[must_use]
    pub fn detect() -> Self {
        let mut warnings = Vec::new();
        let allowed = affinity();
        let mut found = match hwlocality::Topology::new() {
            Ok(hwloc) if hwloc.is_this_system() => (read(&hwloc), Source::System),
            // HWLOC_SYNTHETIC or HWLOC_XMLFILE in the environment: a rehearsal.
            Ok(hwloc) => {
                warnings.push(
                    "hwloc describes another machine (HWLOC_* variables): no thread is bound".to_owned(),
                );
                (read(&hwloc), Source::Synthetic)
            }
            Err(error) => {
                warnings.push(format!("hwloc can't read this machine ({error})"));
                (Vec::new(), Source::Affinity)
            }
        };
        if found.1 == Source::System {
            match &allowed {
                Ok(allowed) => found.0.retain(|cpu| allowed.contains(&cpu.number)),
                Err(error) => warnings.push(format!("sched_getaffinity fails ({error})")),
            }
        }
        if found.0.is_empty() {
            let cpus = allowed.unwrap_or_default();
            warnings.push(format!(
                "the topology is unknown: CPUs {} count as separate cores of one node",
                show_cpu_list(&cpus)
            ));
            found = (flat(&cpus), Source::Affinity);
        }
        let (cpus, source) = found;
        let quota_millis = if source == Source::Synthetic { None } else { cgroup::quota_millis() };
        Self { cpus, quota_millis, source, warnings }
    }

    /// A machine described in hwloc's synthetic syntax, as in
    /// `pack:2 [numa] l3:1 core:4 pu:2` (hwloc manual, "Synthetic topologies").
    ///
    /// # Errors
    /// What hwloc says about the description.
    pub fn synthetic(description: &str) -> Result<Self, String> {
        let builder =
            hwlocality::Topology::builder().from_synthetic(description).map_err(|e| e.to_string())?;
        let hwloc = builder.build().map_err(|e| e.to_string())?;
        let cpus = read(&hwloc);
        if cpus.is_empty() {
            return Err("the description has no CPU".to_owned());
        }
        Ok(Self { cpus, quota_millis: None, source: Source::Synthetic, warnings: Vec::new() })
    }

    /// Whether threads of this process can be bound by this topology.
    #[must_use]
    pub fn is_this_system(&self) -> bool {
        self.source != Source::Synthetic
    }

    /// The CPU with this number, if this process may use it.
    #[must_use]
    pub fn cpu(&self, number: u32) -> Option<&Cpu> {
        self.cpus.iter().find(|cpu| cpu.number == number)
    }

    /// Physical cores, counted.
    #[must_use]
    pub fn core_count(&self) -> usize {
        self.count(|cpu| cpu.core)
    }

    /// NUMA nodes that have a CPU of ours, counted.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.count(|cpu| cpu.node)
    }

    fn count(&self, of: impl Fn(&Cpu) -> u32) -> usize {
        self.cpus.iter().map(of).collect::<BTreeSet<_>>().len()
    }

    /// The whole topology as JSON, for `forebay ctl topology`.
    #[must_use]
    pub fn describe(&self) -> serde_json::Value {
        let cpus: Vec<_> = self
            .cpus
            .iter()
            .map(|cpu| {
                serde_json::json!({
                    "cpu": cpu.number, "core": cpu.core, "cache": cpu.cache,
                    "node": cpu.node, "package": cpu.package,
                })
            })
            .collect();
        serde_json::json!({
            "source": match self.source {
                Source::System => "hwloc",
                Source::Affinity => "affinity",
                Source::Synthetic => "synthetic",
            },
            "packages": self.count(|cpu| cpu.package),
            "nodes": self.node_count(),
            "caches": self.count(|cpu| cpu.cache),
            "cores": self.core_count(),
            "cpus": cpus,
            "quota_cpus": self.quota_millis.map(|millis| f64::from(millis) / 1000.0),
            "warnings": self.warnings,
        })
    }
}

/// The processing units of a hwloc topology, in its own (locality) order.
fn read(hwloc: &hwlocality::Topology) -> Vec<Cpu> {
    let number = |index: Option<usize>| index.and_then(|index| u32::try_from(index).ok());
    hwloc
        .objects_with_type(ObjectType::PU)
        .filter_map(|pu: &TopologyObject| {
            // Logical indexes: os indexes of cores repeat in every package.
            let above = |kind| number(pu.first_ancestor_with_type(kind).map(TopologyObject::logical_index));
            let nodes = pu.nodeset();
            let node = number(nodes.and_then(|set| set.first_set()).map(usize::from)).unwrap_or(0);
            let index = number(pu.os_index())?;
            Some(Cpu {
                number: index,
                // A machine without core objects: every CPU is its own.
                core: above(ObjectType::Core).unwrap_or(index),
                cache: above(ObjectType::L3Cache).unwrap_or(node + (1 << 16)),
                node,
                package: above(ObjectType::Package).unwrap_or(0),
            })
        })
        .collect()
}

/// CPUs about which nothing is known. At least one.
fn flat(numbers: &[u32]) -> Vec<Cpu> {
    let numbers = if numbers.is_empty() { &[0] } else { numbers };
    numbers.iter().map(|&number| Cpu { number, core: number, cache: 1 << 16, node: 0, package: 0 }).collect()
}

/// The CPUs of this process's affinity mask (taskset, cpusets, cgroups).
fn affinity() -> Result<Vec<u32>, nix::errno::Errno> {
    let set = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0))?;
    let count = u32::try_from(nix::sched::CpuSet::count()).unwrap_or(u32::MAX);
    Ok((0..count).filter(|&cpu| set.is_set(cpu as usize).unwrap_or(false)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_synthetic_machine_keeps_its_shape() {
        let machine = Topology::synthetic("pack:2 [numa] l3:1 core:4 pu:2").unwrap();
        assert!(!machine.is_this_system());
        assert_eq!((machine.cpus.len(), machine.core_count(), machine.node_count()), (16, 8, 2));
        let first = machine.cpus[0];
        let siblings: Vec<_> = machine.cpus.iter().filter(|cpu| cpu.core == first.core).collect();
        assert_eq!(siblings.len(), 2);
        let json = machine.describe();
        assert_eq!((&json["packages"], &json["caches"]), (&2.into(), &2.into()));
        assert_eq!(machine.cpus.iter().map(|cpu| cpu.node).collect::<Vec<_>>(), [[0; 8], [1; 8]].concat());
    }

    #[test]
    fn no_l3_and_several_l3() {
        let plain = Topology::synthetic("core:4 pu:1").unwrap();
        assert_eq!(plain.count(|cpu| cpu.cache), 1);
        let chiplets = Topology::synthetic("[numa] pack:1 l3:4 core:2 pu:2").unwrap();
        assert_eq!((chiplets.count(|cpu| cpu.cache), chiplets.node_count()), (4, 1));
        assert!(Topology::synthetic("nonsense").is_err());
    }

    #[test]
    fn this_machine_has_what_the_affinity_mask_has() {
        let here = Topology::detect();
        let mut numbers: Vec<_> = here.cpus.iter().map(|cpu| cpu.number).collect();
        numbers.sort_unstable();
        if here.source != Source::Synthetic {
            assert_eq!(numbers, affinity().unwrap());
        }
        assert!(!numbers.is_empty());
    }

    #[test]
    fn a_flat_machine_is_never_empty() {
        assert_eq!(flat(&[]).len(), 1);
        assert_eq!(flat(&[3, 5]).iter().map(|cpu| cpu.core).collect::<Vec<_>>(), [3, 5]);
    }
}
