//! Figures about the process and the machine, for INFO: read from /proc and the kernel when asked, never
//! kept.

use std::fs;

use rustix::param::page_size;
use rustix::system::{sysinfo, uname};

use crate::system::{ProcessorTimes, process_times};

/// Bytes of memory the process really occupies.
pub fn resident_bytes() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or_default() * page_size() as u64
}

/// Bytes of the process's own pages: without what it shares with others, its program's text above all.
pub fn own_bytes() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let mut pages = text.split(' ').skip(1).map_while(|pages| pages.parse::<u64>().ok());
    let (resident, shared) = (pages.next().unwrap_or_default(), pages.next().unwrap_or_default());
    resident.saturating_sub(shared) * page_size() as u64
}

/// Bytes that the process may use: what its control groups allow, and no more than the machine has.
pub fn available_memory() -> u64 {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = groups.lines().flat_map(limit_files).filter_map(|file| fs::read_to_string(file).ok());
    let limits = limits.filter_map(|text| text.trim().parse().ok());
    limits.fold(system_memory_bytes(), u64::min)
}

/// Where a line of /proc/self/cgroup says that limits of memory are: those of the group and of all above it.
fn limit_files(line: &str) -> Vec<String> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else { return Vec::new() };
    let (root, name) = match controllers {
        "" => ("/sys/fs/cgroup", "memory.max"),
        names if names.split(',').any(|name| name == "memory") => {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return Vec::new(),
    };
    let group = std::path::Path::new(group.trim_start_matches('/'));
    group.ancestors().map(|group| format!("{root}/{}", group.join(name).display())).collect()
}

/// Bytes of memory of the machine.
pub fn system_memory_bytes() -> u64 {
    let info = sysinfo();
    info.totalram * u64::from(info.mem_unit.max(1))
}

/// `Linux 6.1.0 x86_64`
pub fn os() -> String {
    let name = uname();
    let part = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    format!("{} {} {}", part(name.sysname()), part(name.release()), part(name.machine()))
}

/// What the process has used.
pub fn times() -> ProcessorTimes {
    process_times()
}

/// What the first thread has used, as far as the kernel counts: in hundredths of a second.
pub fn main_thread_times() -> ProcessorTimes {
    let pid = std::process::id();
    let text = fs::read_to_string(format!("/proc/self/task/{pid}/stat")).unwrap_or_default();
    parse_stat(&text).unwrap_or_default()
}

/// Fields 14 and 15 of a stat line; the name in field 2 may contain spaces and parentheses.
fn parse_stat(line: &str) -> Option<ProcessorTimes> {
    let (_, rest) = line.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut seconds = || fields.next()?.parse::<f64>().ok().map(|ticks| ticks / TICKS_PER_S);
    Some(ProcessorTimes { user_s: seconds()?, system_s: seconds()? })
}

/// USER_HZ, the same on every architecture that matters.
const TICKS_PER_S: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_behind_the_name() {
        let line = "7 (a ) b) S 1 7 7 0 -1 4194304 100 0 0 0 250 150 0 0 20 0 1 0 100 1 1";
        let times = parse_stat(line).expect("a whole line");
        assert_eq!((times.user_s, times.system_s), (2.5, 1.5));
        assert!(parse_stat("7 (a").is_none());
    }

    #[test]
    fn limits_lie_in_the_group_and_above_it() {
        let check = |line: &str, expected: &[&str]| assert_eq!(limit_files(line), expected, "{line}");
        check(
            "4:memory:/a/b",
            &[
                "/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            ],
        );
        check("0::/a", &["/sys/fs/cgroup/a/memory.max", "/sys/fs/cgroup/memory.max"]);
        check("1:cpu:/", &[]);
        check("", &[]);
    }

    #[test]
    fn the_machine_is_known() {
        assert!((1 << 20..=system_memory_bytes()).contains(&available_memory()));
        assert!((1..resident_bytes()).contains(&own_bytes()));
        assert!(resident_bytes() > 0 && system_memory_bytes() > resident_bytes());
        assert!(os().starts_with("Linux "));
        assert!(main_thread_times().user_s >= 0.0 && times().user_s >= 0.0);
    }
}
