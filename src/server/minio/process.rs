//! What the system says of this process and its machine (proc(5)). Where there is no `/proc`, nothing is said.

use std::collections::HashMap;
use std::fs;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

/// Numbers that could be had; each `None` is left out of the metrics.
#[derive(Debug, Default)]
pub(super) struct Process {
    pub(super) open_files: Option<u64>,
    pub(super) open_files_limit: Option<u64>,
    pub(super) cpu_seconds: Option<f64>,
    pub(super) resident: Option<u64>,
    pub(super) virtual_memory: Option<u64>,
    /// `/proc/self/io`, by its own names.
    pub(super) io: HashMap<String, u64>,
}

impl Process {
    /// Reads files of `/proc`, so it blocks, if for microseconds.
    pub(super) fn of_self() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // Behind the name, which may hold anything, in parentheses.
        let fields: Vec<&str> = stat.rsplit_once(") ").map_or(Vec::new(), |(_, rest)| rest.split(' ').collect());
        let ticks = |field: usize| fields.get(field)?.parse::<u64>().ok();
        let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let pages = |field: usize| Some(statm.split(' ').nth(field)?.parse::<u64>().ok()? * page_size() as u64);
        Self {
            open_files: fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as u64),
            open_files_limit: getrlimit(Resource::Nofile).current,
            cpu_seconds: ticks(11)
                .zip(ticks(12))
                .map(|(user, system)| (user + system) as f64 / clock_ticks_per_second() as f64),
            resident: pages(1),
            virtual_memory: pages(0),
            io: numbers(&fs::read_to_string("/proc/self/io").unwrap_or_default()),
        }
    }
}

/// Memory of the machine, in bytes, by the names of `/proc/meminfo`.
pub(super) fn memory() -> HashMap<String, u64> {
    let kib = numbers(&fs::read_to_string("/proc/meminfo").unwrap_or_default());
    kib.into_iter().map(|(name, value)| (name, value.saturating_mul(1024))).collect()
}

/// The machine's load averages over 1, 5 and 15 minutes.
pub(super) fn load() -> Option<[f64; 3]> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    let mut numbers = text.split(' ').map(|number| number.parse().ok());
    Some([numbers.next()??, numbers.next()??, numbers.next()??])
}

/// Lines of a name, a colon, and a number; a unit may follow.
fn numbers(text: &str) -> HashMap<String, u64> {
    let line = |line: &str| {
        let (name, rest) = line.split_once(':')?;
        Some((name.to_owned(), rest.split_whitespace().next()?.parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_by_name() {
        let read = numbers("rchar: 12\nMemTotal:       24000 kB\nodd\nnot: a number\n");
        assert_eq!((read.len(), read["rchar"], read["MemTotal"]), (2, 12, 24000));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_knows_itself() {
        let this = Process::of_self();
        assert!(this.open_files.is_some_and(|open| open > 0 && Some(open) < this.open_files_limit));
        assert!(this.resident > Some(0) && this.resident < this.virtual_memory && this.cpu_seconds.is_some());
        assert!(this.io.contains_key("rchar") && memory()["MemTotal"] > memory()["MemFree"] && load().is_some());
    }
}
