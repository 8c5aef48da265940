//! Numbers of this process for Prometheus, with the names and units that all its clients use.

use prometheus::{
    IntCounter, IntGauge,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::{Resource, getrlimit},
};
use std::fs;

/// Reads /proc whenever the numbers are asked for.
pub(crate) struct Process {
    cpu: IntCounter,
    open_files: IntGauge,
    max_files: IntGauge,
    virtual_memory: IntGauge,
    resident_memory: IntGauge,
    start: IntGauge,
    threads: IntGauge,
}

impl Process {
    /// Reads nothing yet.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        Ok(Self {
            cpu: IntCounter::new(
                "process_cpu_seconds_total",
                "Total user and system CPU time spent in seconds.",
            )?,
            open_files: IntGauge::new("process_open_fds", "Number of open file descriptors.")?,
            max_files: IntGauge::new("process_max_fds", "Maximum number of open file descriptors.")?,
            virtual_memory: IntGauge::new("process_virtual_memory_bytes", "Virtual memory size in bytes.")?,
            resident_memory: IntGauge::new(
                "process_resident_memory_bytes",
                "Resident memory size in bytes.",
            )?,
            start: IntGauge::new(
                "process_start_time_seconds",
                "Start time of the process since unix epoch in seconds.",
            )?,
            threads: IntGauge::new("process_threads", "Number of OS threads in the process.")?,
        })
    }

    fn all(&self) -> [&dyn Collector; 7] {
        [
            &self.cpu,
            &self.open_files,
            &self.max_files,
            &self.virtual_memory,
            &self.resident_memory,
            &self.start,
            &self.threads,
        ]
    }

    /// Takes over what can be read; a number that cannot keeps its last value.
    fn read(&self) -> Option<()> {
        if let Ok(files) = fs::read_dir("/proc/self/fd") {
            self.open_files.set(signed(files.count()));
        }
        if let Some(limit) = getrlimit(Resource::Nofile).current {
            self.max_files.set(signed(limit));
        }
        let stat = Stat::of(&fs::read_to_string("/proc/self/stat").ok()?)?;
        self.virtual_memory.set(signed(stat.virtual_memory));
        self.resident_memory.set(signed(stat.resident_pages).saturating_mul(signed(page_size())));
        self.threads.set(signed(stat.threads));
        let ticks = clock_ticks_per_second().max(1);
        // Two that ask at the same time may both have read less than is counted by now.
        self.cpu.inc_by((stat.cpu_ticks / ticks).saturating_sub(self.cpu.get()));
        let system = fs::read_to_string("/proc/stat").ok()?;
        let boot: u64 = system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
        self.start.set(signed(boot.saturating_add(stat.start_ticks / ticks)));
        Some(())
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.all().into_iter().flat_map(|number| number.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        match self.read() {
            Some(()) => self.all().into_iter().flat_map(|number| number.collect()).collect(),
            None => Vec::new(),
        }
    }
}

/// The fields of /proc/self/stat that are shown; see proc_pid_stat(5).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    start_ticks: u64,
    virtual_memory: u64,
    resident_pages: u64,
}

impl Stat {
    fn of(line: &str) -> Option<Self> {
        // The name of the program is in parentheses and may hold spaces; the field after it is the third.
        let fields: Vec<&str> = line.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)?.saturating_add(field(15)?),
            threads: field(20)?,
            start_ticks: field(22)?,
            virtual_memory: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

fn signed(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_does_not_move_the_fields() {
        let line = "42 (a ) (b) S 1 42 42 0 -1 4194560 900 0 3 0 250 50 0 0 20 0 7 0 9000 123456 321 18446744073709551615 1 1\n";
        let wanted = Stat {
            cpu_ticks: 300,
            threads: 7,
            start_ticks: 9000,
            virtual_memory: 123_456,
            resident_pages: 321,
        };
        assert_eq!(Stat::of(line), Some(wanted));
        assert_eq!(Stat::of("42 (cut) S 1 42"), None);
    }

    #[test]
    fn each_number_of_the_process_is_read() {
        let families = Process::new().unwrap().collect();
        assert_eq!(families.len(), 7);
        for family in families {
            let metric = &family.get_metric()[0];
            let value = metric.get_gauge().get_value() + metric.get_counter().get_value();
            assert!(value > 0.0 || family.name() == "process_cpu_seconds_total", "{}", family.name());
        }
    }
}
