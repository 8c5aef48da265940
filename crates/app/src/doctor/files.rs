//! Checks of the data directory: its files, their permissions, and the free space.

use super::{Check, Instance, Outcome, count};
use crate::keys::master_key::EVERYBODY;
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
/// Free space below which the next ends may not fit into the journal, and how far it grows before it is written again.
const JOURNAL_FULL: u64 = 1 << 20;
const JOURNAL_GROWS: u64 = 32 << 20;
/// Permission bits for the group of a file.
const GROUP: u32 = 0o070;
const GROUP_WRITE: u32 = 0o020;
const EVERYBODY_WRITE: u32 = 0o002;
/// When the permissions of a group are right.
const GROUP_IS_PRIVATE: &str =
    "unless the server alone is in this group, as with fsGroup on Kubernetes and a group of its own";

pub(super) fn check(instance: &Instance<'_>) -> Vec<Check> {
    let mut checks: Vec<Check> = Vec::new();
    if let Some(path) = &instance.journal {
        checks.push(journal(instance, path));
        checks.extend(journal_room(path));
    }
    checks.extend(instance.mailer.iter().filter_map(|mailer| password(mailer.server().password_file()?)));
    let Some(directory) = directory(instance) else {
        checks.extend(private_files(instance, None));
        return checks;
    };
    let owner = match std::fs::metadata(&directory) {
        Ok(found) => {
            checks.push(private_directory(&directory, &found));
            Some(owner_of_files(instance, &found))
        }
        // On PostgreSQL the directory can be empty; on SQLite a missing database is reported by its own check.
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => {
            checks.push(unreadable("data_directory", &directory, &error));
            None
        }
    };
    checks.extend(private_files(instance, owner.flatten().map(|uid| (&*directory, uid))));
    if owner.is_some() {
        checks.push(disk_room("disk_space", &directory, (FULL, NEARLY_FULL)));
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
            let key = instance.master_key.file()?;
            key.starts_with(&instance.data_dir).then(|| instance.data_dir.clone())
        }
    }
}

/// Checks whether a copy or a loss of the database would take the journal with it.
fn journal(instance: &Instance<'_>, path: &Path) -> Check {
    const NAME: &str = "journal";
    let shown = path.display();
    let parent = |path: &Path| {
        path.parent().map(|parent| match parent.as_os_str().is_empty() {
            true => PathBuf::from("."),
            false => parent.to_owned(),
        })
    };
    let real = |path: PathBuf| path.canonicalize().unwrap_or(path);
    let own = parent(path).map(real);
    let database = match &instance.location {
        Location::File(database) => parent(database),
        Location::Postgres(_) => None,
    };
    let beside = database.into_iter().chain([instance.data_dir.clone()]).map(real);
    if beside.into_iter().any(|directory| own.as_ref().is_some_and(|own| own.starts_with(&directory))) {
        return Check::warn(
            NAME,
            format!("{shown} lies beside the database, so an older copy of the directory replaces both."),
            "Move the file to another disk while the server is stopped, and set --journal-file to its new place.",
        );
    }
    match std::fs::metadata(path) {
        Ok(found) => exposed(NAME, path, &found).unwrap_or_else(|| {
            Check::ok(NAME, format!("Ends are noted in {shown} ({}).", size(found.len())))
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => Check::warn(
            NAME,
            format!(
                "{shown} does not exist. The next start creates it, unless the database was used with another journal."
            ),
            "Start crossfade serve with this setting.",
        ),
        Err(error) => unreadable(NAME, path, &error),
    }
}

/// Checks who can access the file with the password of the mail server. `None` if it cannot be read, which the check of mail
/// reports.
fn password(path: &Path) -> Option<Check> {
    const NAME: &str = "smtp_password_file";
    let found = std::fs::metadata(path).ok()?;
    let private = || Check::ok(NAME, format!("Only the owner can access {}.", path.display()));
    Some(exposed(NAME, path, &found).unwrap_or_else(private))
}

/// Returns a warning of a file that others than its owner can access; `None` if they cannot.
fn exposed(name: &'static str, path: &Path, found: &Metadata) -> Option<Check> {
    let (shown, mode) = (path.display(), found.mode() & 0o7777);
    let mend = format!("chmod 600 {shown}");
    if mode & EVERYBODY != 0 {
        return Some(Check::warn(name, format!("Every user can access {shown} (mode {mode:o})."), mend));
    }
    let directory = path.parent().map(|it| if it.as_os_str().is_empty() { Path::new(".") } else { it });
    let volume = directory.and_then(|directory| std::fs::metadata(directory).ok());
    if mode & GROUP == 0 || volume.is_some_and(|it| gives_group(&it, found)) {
        return None;
    }
    let sentence = format!("Its group can {} {shown} (mode {mode:o}).", group_permission(mode));
    Some(Check::warn(name, sentence, format!("{mend}, {GROUP_IS_PRIVATE}.")))
}

/// Checks the disk of the journal. To remove superseded lines, the journal is written a second time.
fn journal_room(path: &Path) -> Option<Check> {
    let length = std::fs::metadata(path).ok()?.len();
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let limits = (JOURNAL_FULL, length.saturating_add(JOURNAL_GROWS));
    Some(disk_room("journal_space", directory.unwrap_or_else(|| Path::new(".")), limits))
}

fn disk_room(name: &'static str, directory: &Path, limits: (u64, u64)) -> Check {
    match rustix::fs::statvfs(directory) {
        Ok(disk) => {
            let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
            room(name, directory, (bytes(disk.f_bavail), bytes(disk.f_blocks)), limits)
        }
        Err(error) => unreadable(name, directory, &error.into()),
    }
}

/// Whether a mounted volume gives its files to a group, as Kubernetes does for `fsGroup`: the directory belongs to root, and
/// passes its group on. Kubernetes sets the mode of each file again at every mount, and the group is that of the pod.
fn gives_group(directory: &Metadata, file: &Metadata) -> bool {
    is_volume((directory.uid(), directory.gid(), directory.mode()), file.gid())
}

fn is_volume((owner, group, mode): (u32, u32, u32), file_group: u32) -> bool {
    const PASSES_GROUP_ON: u32 = 0o2000;
    owner == 0
        && group != 0
        && mode & PASSES_GROUP_ON != 0
        && mode & EVERYBODY_WRITE == 0
        && file_group == group
}

fn private_directory(path: &Path, found: &Metadata) -> Check {
    const NAME: &str = "data_directory";
    let (shown, mode) = (path.display(), found.mode() & 0o7777);
    if !found.is_dir() {
        let mend = "Set --data-dir to the directory that contains the database.";
        return Check::fail(NAME, format!("{shown} is not a directory."), mend);
    }
    let mend = format!("chmod 700 {shown}");
    let by_group = format!("{mend}, {GROUP_IS_PRIVATE}.");
    match mode {
        mode if mode & EVERYBODY_WRITE != 0 => Check::fail(
            NAME,
            format!("Every user can add and remove files in {shown} (mode {mode:o})."),
            mend,
        ),
        mode if mode & EVERYBODY != 0 => {
            Check::warn(NAME, format!("Every user can list {shown} (mode {mode:o})."), mend)
        }
        mode if mode & GROUP_WRITE != 0 => Check::warn(
            NAME,
            format!("Its group can add and remove files in {shown} (mode {mode:o})."),
            by_group,
        ),
        mode if mode & GROUP != 0 => {
            Check::warn(NAME, format!("Its group can list {shown} (mode {mode:o})."), by_group)
        }
        _ => Check::ok(NAME, format!("Only the owner can access {shown}.")),
    }
}

/// Returns the user that the files in the directory belong to. A directory that a group writes to, such as a mounted
/// volume, often belongs to another user than the server: there it is the owner of the database.
fn owner_of_files(instance: &Instance<'_>, directory: &Metadata) -> Option<u32> {
    if directory.mode() & GROUP_WRITE == 0 {
        return Some(directory.uid());
    }
    match &instance.location {
        Location::File(path) => std::fs::metadata(path).ok().map(|found| found.uid()),
        Location::Postgres(_) => None,
    }
}

/// Checks the permissions and the owners of the files in the directory with this owner. `None` if there are no files
/// yet.
fn private_files(instance: &Instance<'_>, directory: Option<(&Path, u32)>) -> Option<Check> {
    const NAME: &str = "files";
    let mut files: Vec<PathBuf> = instance.master_key.file().map(Path::to_owned).into_iter().collect();
    if let Location::File(path) = &instance.location {
        let beside = ["db-wal", "db-shm", "serve-lock", "migrate-lock"];
        files.push(path.clone());
        files.extend(beside.map(|extension| path.with_extension(extension)));
    }
    let (mut outcome, mut wrong, mut mends, mut looked_at) = (Outcome::Ok, Vec::new(), Vec::new(), 0);
    let mut open_to_group: Vec<String> = Vec::new();
    for path in files {
        let shown = path.display();
        // A missing file is reported by the check that needs it.
        let Ok(found) = std::fs::metadata(&path) else { continue };
        looked_at += 1;
        let mode = found.mode() & 0o7777;
        if mode & EVERYBODY != 0 {
            outcome = Outcome::Fail;
            wrong.push(format!("Every user can access {shown} (mode {mode:o})"));
            mends.push(format!("chmod 600 {shown}"));
        } else if mode & GROUP != 0 {
            // What is mounted into a container often belongs to another user, and its group alone lets the server in.
            wrong.push(format!("Its group can {} {shown} (mode {mode:o})", group_permission(mode)));
            open_to_group.push(shown.to_string());
        }
        // A command that was run as another user leaves files that the server cannot open. A link leads to a mounted
        // file, which belongs to whoever mounts it.
        if let Some((_, owner)) = directory
            .filter(|(in_it, uid)| path.starts_with(in_it) && found.uid() != *uid && !path.is_symlink())
        {
            let uid = found.uid();
            outcome = Outcome::Fail;
            wrong.push(format!("{shown} belongs to user {uid}, but the directory belongs to user {owner}"));
            mends.push(format!("chown {owner} {shown}"));
        }
    }
    if !open_to_group.is_empty() {
        outcome = if outcome == Outcome::Fail { outcome } else { Outcome::Warn };
        mends.push(format!("chmod 600 {}, {GROUP_IS_PRIVATE}", open_to_group.join(" ")));
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

fn group_permission(mode: u32) -> &'static str {
    match (mode & 0o040, mode & GROUP_WRITE) {
        (0, 0) => "run",
        (0, _) => "write",
        (_, 0) => "read",
        _ => "read and write",
    }
}

fn room(name: &'static str, path: &Path, (free, total): (u64, u64), (full, nearly): (u64, u64)) -> Check {
    let sentence = format!("{} of {} are free on the disk of {}.", size(free), size(total), path.display());
    let mend =
        "Free some space or use a larger disk. When the disk is full, nothing can be rotated or revoked.";
    match free {
        free if free < full => Check::fail(name, sentence, mend),
        free if free < nearly => Check::warn(name, sentence, mend),
        _ => Check::ok(name, sentence),
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
    fn a_volume_with_a_group_is_told_from_a_shared_directory() {
        let (root, server, pod) = (0, 65532, 2000);
        assert!(is_volume((root, pod, 0o42775), pod));
        assert!(!is_volume((server, pod, 0o42775), pod), "a directory of the server's own");
        assert!(!is_volume((root, pod, 0o40775), pod), "the group is not passed on");
        assert!(!is_volume((root, pod, 0o42775), 100), "a file of another group");
        assert!(!is_volume((root, pod, 0o42777), pod));
        assert!(!is_volume((root, root, 0o42775), root));
    }

    #[test]
    fn a_disk_that_fills_up_is_told_in_time() {
        let limits = (FULL, NEARLY_FULL);
        let outcome = |free| room("disk_space", Path::new("/d"), (free, 100 << 30), limits).outcome;
        assert_eq!(outcome(FULL - 1), Outcome::Fail);
        assert_eq!(outcome(FULL), Outcome::Warn);
        assert_eq!(outcome(NEARLY_FULL - 1), Outcome::Warn);
        assert_eq!(outcome(NEARLY_FULL), Outcome::Ok);
        assert_eq!(
            room("disk_space", Path::new("/d"), (1_500_000, 2_000_000_000_000_000), limits).sentence,
            "1.5 MB of 2000.0 TB are free on the disk of /d."
        );
    }
}
