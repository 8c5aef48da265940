//! Pinning to CPUs, and measuring CPU time.

use crate::Failure;
use rustix::thread::{CpuSet, sched_setaffinity};
use std::{fs, time::Duration};

/// CPU of the server under test.
pub(crate) const SERVER: usize = 0;
/// CPU of the load.
pub(crate) const GENERATOR: usize = 1;

/// Pins this thread, and the processes it starts from now on, to one CPU.
pub(crate) fn keep_to(cpu: usize) -> Result<(), Failure> {
    let mut set = CpuSet::new();
    set.set(cpu);
    Ok(sched_setaffinity(None, &set)?)
}

/// Lets this thread, and the processes it starts from now on, use both CPUs.
pub(crate) fn keep_to_all() -> Result<(), Failure> {
    let mut set = CpuSet::new();
    set.set(SERVER);
    set.set(GENERATOR);
    Ok(sched_setaffinity(None, &set)?)
}

/// Returns the CPU time of all threads of a process.
pub(crate) fn used(process: u32) -> Result<Duration, Failure> {
    let mut nanos = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let schedule = fs::read_to_string(thread?.path().join("schedstat"))?;
        nanos += schedule.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanos))
}
