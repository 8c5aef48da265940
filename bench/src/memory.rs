//! Memory of a process, as the kernel counts it.

use crate::Failure;
use std::fs;

/// Returns the resident memory of a process in MiB.
pub(crate) fn resident(process: u32) -> Result<u64, Failure> {
    mebibytes(process, "VmRSS:")
}

/// Returns the greatest resident memory of a process since [`reset_peak`], or since it started, in MiB.
pub(crate) fn peak(process: u32) -> Result<u64, Failure> {
    mebibytes(process, "VmHWM:")
}

/// Begins to measure the greatest resident memory again.
pub(crate) fn reset_peak(process: u32) -> Result<(), Failure> {
    Ok(fs::write(format!("/proc/{process}/clear_refs"), "5")?)
}

fn mebibytes(process: u32, name: &str) -> Result<u64, Failure> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such line")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse::<u64>()? / 1024)
}
