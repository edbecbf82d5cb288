//! The CPU time that a container is allowed: `cpu.max` of cgroup v2 (kernel
//! documentation, "Control Group v2", "CPU Interface Files"). Eight reactors that
//! share two CPUs' worth of time would all be throttled at once, for tens of
//! milliseconds: better start two. (cgroup v1's cpu.cfs_quota_us is not read.)

use std::path::{Path, PathBuf};

/// Depth of the cgroup tree that is looked at.
const DEPTH_MAX: usize = 64;

/// The tightest limit from this process's group up to the root, in thousandths
/// of a CPU.
pub(crate) fn quota_millis() -> Option<u32> {
    let membership = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    quota_of(Path::new("/sys/fs/cgroup"), &membership)
}

fn quota_of(root: &Path, membership: &str) -> Option<u32> {
    // "0::/system.slice/forebay.service": hierarchy 0 is v2 (cgroups(7)).
    let path = membership.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let mut folder: PathBuf = root.join(path);
    let mut tightest = None;
    for _ in 0..DEPTH_MAX {
        let limit = std::fs::read_to_string(folder.join("cpu.max")).ok().and_then(|text| parse(&text));
        tightest = [tightest, limit].into_iter().flatten().min();
        if folder == root || !folder.pop() || !folder.starts_with(root) {
            break;
        }
    }
    tightest
}

/// `"max 100000"` or `"QUOTA PERIOD"`, microseconds.
fn parse(text: &str) -> Option<u32> {
    let mut words = text.split_ascii_whitespace();
    let quota: u64 = words.next()?.parse().ok()?;
    let period: u64 = words.next()?.parse().ok()?;
    let millis = quota.checked_mul(1000)?.checked_div(period)?;
    Some(u32::try_from(millis).unwrap_or(u32::MAX).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_max() {
        assert_eq!(parse("max 100000\n"), None);
        assert_eq!(parse("150000 100000\n"), Some(1500));
        assert_eq!(parse("1 100000\n"), Some(1));
        for bad in ["", "5", "x y", "5 0", "99999999999999999999 1"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_tightest_ancestor_wins() {
        let root = std::env::temp_dir().join(format!("forebay-cgroup-{}", std::process::id()));
        let leaf = root.join("a/b");
        std::fs::create_dir_all(&leaf).unwrap();
        std::fs::write(leaf.join("cpu.max"), "400000 100000\n").unwrap();
        std::fs::write(root.join("a/cpu.max"), "200000 100000\n").unwrap();
        assert_eq!(quota_of(&root, "1:cpu:/x\n0::/a/b\n"), Some(2000));
        assert_eq!(quota_of(&root, "0::/\n"), None);
        assert_eq!(quota_of(&root, "0::/a/gone\n"), Some(2000));
        assert_eq!(quota_of(&root, "1:cpu:/x\n"), None);
        std::fs::remove_dir_all(&root).unwrap();
    }
}
