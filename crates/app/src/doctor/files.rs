//! Checks of the data directory: its files, their permissions, and the free space.

use super::{Check, Instance, Outcome, count};
use crate::master_key::EVERYBODY;
use crossfade_store::Location;
use std::{
    fs::Metadata,
    io::ErrorKind,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Free space below which the disk counts as full: SQLite's log alone can need this much.
const FULL: u64 = 100 << 20;
/// Free space below which a warning is due.
const NEARLY_FULL: u64 = 1 << 30;
/// Permission bits for everyone except the owner of a file.
const OTHERS: u32 = 0o077;
const OTHERS_WRITE: u32 = 0o022;

pub(super) fn check(instance: &Instance<'_>) -> Vec<Check> {
    let mut checks = Vec::new();
    let Some(directory) = directory(instance) else {
        return private_files(instance, None).into_iter().collect();
    };
    let owner = match std::fs::metadata(&directory) {
        Ok(found) => {
            checks.push(private_directory(&directory, &found));
            Some(found.uid())
        }
        // On PostgreSQL nothing need be in it; on SQLite the missing database is told by its own check.
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => {
            checks.push(unreadable("data_directory", &directory, &error));
            None
        }
    };
    checks.extend(private_files(instance, owner.map(|uid| (&*directory, uid))));
    if owner.is_some() {
        checks.push(match rustix::fs::statvfs(&directory) {
            Ok(disk) => room(
                &directory,
                disk.f_bavail.saturating_mul(disk.f_frsize),
                disk.f_blocks.saturating_mul(disk.f_frsize),
            ),
            Err(error) => unreadable("disk_space", &directory, &error.into()),
        });
    }
    checks
}

/// Returns the directory of the database if it is a file; otherwise the data directory, if it contains anything.
fn directory(instance: &Instance<'_>) -> Option<PathBuf> {
    match &instance.location {
        Location::File(path) => Some(match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        }),
        Location::Postgres(_) => {
            instance.master_key_file.starts_with(&instance.data_dir).then(|| instance.data_dir.clone())
        }
    }
}

fn private_directory(path: &Path, found: &Metadata) -> Check {
    const NAME: &str = "data_directory";
    let (shown, mode) = (path.display(), found.mode() & 0o7777);
    if !found.is_dir() {
        let mend = "Set --data-dir to the directory that contains the database.";
        return Check::fail(NAME, format!("{shown} is not a directory."), mend);
    }
    let mend = format!("chmod 700 {shown}");
    match mode {
        mode if mode & OTHERS_WRITE != 0 => Check::fail(
            NAME,
            format!("Users other than its owner can add and remove files in {shown} (mode {mode:o})."),
            mend,
        ),
        mode if mode & OTHERS != 0 => {
            Check::warn(NAME, format!("Users other than its owner can list {shown} (mode {mode:o})."), mend)
        }
        _ => Check::ok(NAME, format!("Only the owner can access {shown}.")),
    }
}

/// Checks the permissions and the owners of the files in the directory with this owner. `None` if there are no files
/// yet.
fn private_files(instance: &Instance<'_>, directory: Option<(&Path, u32)>) -> Option<Check> {
    const NAME: &str = "files";
    let key = &instance.master_key_file;
    let mut files = vec![key.clone()];
    if let Location::File(path) = &instance.location {
        let beside = ["db-wal", "db-shm", "serve-lock", "migrate-lock"];
        files.push(path.clone());
        files.extend(beside.map(|extension| path.with_extension(extension)));
    }
    let (mut outcome, mut wrong, mut mends, mut looked_at) = (Outcome::Ok, Vec::new(), Vec::new(), 0);
    for path in files {
        let shown = path.display();
        // A missing file is told by the check that needs it.
        let Ok(found) = std::fs::metadata(&path) else { continue };
        looked_at += 1;
        let mode = found.mode() & 0o7777;
        if path == *key && mode & OTHERS != 0 && mode & EVERYBODY == 0 {
            // A key that is mounted into a container belongs to another user, and its group alone lets the server read it.
            outcome = if outcome == Outcome::Fail { outcome } else { Outcome::Warn };
            wrong.push(format!("{shown} can be read by its group (mode {mode:o})"));
            mends.push(format!("chmod 600 {shown}, unless only the server is in the group"));
        } else if mode & OTHERS != 0 {
            outcome = Outcome::Fail;
            wrong.push(format!("{shown} can be read by users other than its owner (mode {mode:o})"));
            mends.push(format!("chmod 600 {shown}"));
        }
        // A command that was run as another user leaves files that the server cannot open.
        if let Some((_, owner)) =
            directory.filter(|(in_it, uid)| path.starts_with(in_it) && found.uid() != *uid)
        {
            let uid = found.uid();
            outcome = Outcome::Fail;
            wrong.push(format!("{shown} belongs to user {uid}, but the directory belongs to user {owner}"));
            mends.push(format!("chown {owner} {shown}"));
        }
    }
    let sentence = format!("{}.", wrong.join(". "));
    match (looked_at, outcome) {
        (0, _) => None,
        (_, Outcome::Ok) => {
            Some(Check::ok(NAME, format!("{}, each accessible only to its owner.", count(looked_at, "file"))))
        }
        (_, Outcome::Warn) => Some(Check::warn(NAME, sentence, mends.join("; "))),
        (_, Outcome::Fail) => Some(Check::fail(NAME, sentence, mends.join("; "))),
    }
}

fn room(path: &Path, free: u64, total: u64) -> Check {
    const NAME: &str = "disk_space";
    let sentence = format!("{} of {} are free on the disk of {}.", size(free), size(total), path.display());
    let mend =
        "Free some space or use a larger disk. When the disk is full, nothing can be rotated or revoked.";
    match free {
        free if free < FULL => Check::fail(NAME, sentence, mend),
        free if free < NEARLY_FULL => Check::warn(NAME, sentence, mend),
        _ => Check::ok(NAME, sentence),
    }
}

fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    let (mut amount, mut unit) = (bytes as f64 / 1000.0, 0);
    while amount >= 1000.0 && unit + 1 < UNITS.len() {
        (amount, unit) = (amount / 1000.0, unit + 1);
    }
    format!("{amount:.1} {}", UNITS[unit])
}

fn unreadable(name: &'static str, path: &Path, error: &std::io::Error) -> Check {
    Check::fail(
        name,
        format!("Cannot check {}: {error}.", path.display()),
        "Run this command as the user that runs the server.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Outcome;

    #[test]
    fn a_disk_that_fills_up_is_told_in_time() {
        let outcome = |free| room(Path::new("/d"), free, 100 << 30).outcome;
        assert_eq!(outcome(FULL - 1), Outcome::Fail);
        assert_eq!(outcome(FULL), Outcome::Warn);
        assert_eq!(outcome(NEARLY_FULL - 1), Outcome::Warn);
        assert_eq!(outcome(NEARLY_FULL), Outcome::Ok);
        assert_eq!(
            room(Path::new("/d"), 1_500_000, 2_000_000_000_000_000).sentence,
            "1.5 MB of 2000.0 TB are free on the disk of /d."
        );
    }
}
