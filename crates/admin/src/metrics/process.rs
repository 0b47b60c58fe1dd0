//! The process itself, by the names that Prometheus' client libraries have for it; from Linux' /proc (proc(5)).

use super::exposition::{Family, Kind, Value};

/// Ticks in a second, as `stat` counts: USER_HZ, which Linux has fixed for programs.
const TICKS: f64 = 100.0;

/// What can be read of it. `descriptors`: open ones, and how many there may be.
pub(super) fn families(descriptors: (u64, u64)) -> Vec<Family> {
    let (open, most) = descriptors;
    let gauge = |name, help, value| Family::one(Kind::Gauge, name, help, value);
    let mut out = vec![
        gauge("process_open_fds", "File descriptors open.", Value::Whole(open)),
        gauge("process_max_fds", "File descriptors there may be.", Value::Whole(most)),
    ];
    let status = read("/proc/self/status");
    if let Some(bytes) = memory(&status, "VmSize:") {
        out.push(gauge("process_virtual_memory_bytes", "Virtual memory.", Value::Whole(bytes)));
    }
    if let Some(bytes) = memory(&status, "VmRSS:") {
        out.push(gauge("process_resident_memory_bytes", "Resident memory.", Value::Whole(bytes)));
    }
    if let Some(stat) = stat(&read("/proc/self/stat")) {
        let cpu = Value::Real(stat.cpu_ticks as f64 / TICKS);
        out.push(Family::one(Kind::Counter, "process_cpu_seconds_total", "CPU time, user and system.", cpu));
        if let Some(boot) = boot_time(&read("/proc/stat")) {
            let start = Value::Real(boot as f64 + stat.start_ticks as f64 / TICKS);
            out.push(gauge("process_start_time_seconds", "Start, in Unix time.", start));
        }
        out.push(gauge("process_threads", "Threads.", Value::Whole(stat.threads)));
    }
    out
}

/// Empty where there is nothing to read: then the family is left out.
fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Bytes of a line such as `VmRSS:    1234 kB`.
fn memory(status: &str, line: &str) -> Option<u64> {
    let kibibytes = status.lines().find_map(|found| found.strip_prefix(line))?;
    kibibytes.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    /// After the machine's start.
    start_ticks: u64,
}

/// Fields 14, 15, 20 and 22; the second is the name, in parentheses, and may contain anything.
fn stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Stat { cpu_ticks: field(14)? + field(15)?, threads: field(20)?, start_ticks: field(22)? })
}

fn boot_time(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_found_behind_any_name() {
        let text = "77 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 30 12 0 0 20 0 5 0 4000 1 2";
        assert_eq!(stat(text), Some(Stat { cpu_ticks: 42, threads: 5, start_ticks: 4000 }));
        assert_eq!(stat("nothing"), None);
        assert_eq!(memory("VmSize:\t 9 kB\nVmRSS:\t     7 kB\n", "VmRSS:"), Some(7168));
        assert_eq!(memory("", "VmRSS:"), None);
        assert_eq!(boot_time("cpu 1\nbtime 1700000000\nprocesses 3\n"), Some(1_700_000_000));
    }

    #[test]
    fn this_process_can_be_read() {
        let names: Vec<String> = families((3, 1024)).into_iter().map(|family| family.name).collect();
        for wanted in
            ["process_resident_memory_bytes", "process_cpu_seconds_total", "process_start_time_seconds"]
        {
            assert!(names.iter().any(|name| name == wanted), "{names:?}");
        }
    }
}
