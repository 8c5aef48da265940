//! `crossfade backup` and `crossfade restore`: the files and the output.

use crate::{
    cli::{BackUp, Restore},
    failure::Failure,
    output,
    progress::while_waiting,
    serve::create_data_dir,
    signals::stop_or_hang_up,
};
use crossfade_app::{Backup, Restored};
use crossfade_authority::Clock;
use serde::Serialize;
use std::{
    collections::BTreeMap,
    fs::File,
    io::BufWriter,
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;

/// Tables listed in the output.
const TOLD: [&str; 6] = ["environments", "clients", "secrets", "rotations", "users", "audit_events"];

/// Runs `crossfade backup`.
pub(crate) async fn back_up(args: BackUp) -> Result<(), Failure> {
    let settings = args.settings.resolve()?;
    let partial = Partial::create(&args.output)?;
    let clock = Clock::system();
    let written = crossfade_app::back_up(
        &settings.location,
        settings.master_key.clone(),
        &clock,
        BufWriter::new(partial.file()),
    );
    let written = tokio::select! {
        written = while_waiting("Writing the backup", written) => written?,
        () = stop_or_hang_up() => return Err(Failure::failed("Stopped before the backup was complete. No \
            file was written.")),
    };
    partial.keep()?;
    output::note(&format!(
        "{} contains everything acknowledged before {}: {}; {} rows, {} bytes.",
        args.output.display(),
        output::time(Some(written.header.created_at)),
        told(&written.rows),
        written.total(),
        written.bytes,
    ));
    output::note(&format!(
        "The backup does not contain the master key and cannot be restored without the key of the {}. Keep \
        that key too, in a separate place.",
        settings.master_key
    ));
    if args.json {
        output::json(&Report { file: &args.output, backup: written })?;
    }
    Ok(())
}

/// Runs `crossfade restore`.
pub(crate) async fn restore(args: Restore) -> Result<(), Failure> {
    let settings = args.settings.resolve()?;
    // Before anything is made: a command that is refused leaves nothing behind.
    let checked = crossfade_app::Restore::check(&args.from, settings.master_key.clone())?;
    create_data_dir(&settings)?;
    let done = while_waiting("Restoring", checked.run(&settings.location, &Clock::system())).await?;
    for line in undone(&done) {
        output::note(&line);
    }
    if args.json {
        output::json(&done)?;
    }
    Ok(())
}

/// Returns sentences about what a restore has brought back, and what it has undone.
fn undone(done: &Restored) -> [String; 5] {
    let taken_at = output::time(Some(done.header.created_at));
    [
        format!(
            "Restored: {}. The data is as it was at {taken_at}. Later changes are lost.",
            told(&done.rows)
        ),
        format!(
            "- {} secrets are current and {} retiring. Secrets created after the backup no longer exist. \
            Secrets revoked or replaced after it become valid again with a release. Except those that were \
            compromised since then, and rotate them with --transition 0 --compromised.",
            done.current_secrets, done.retiring_secrets
        ),
        "- API tokens, grants and accounts that were ended after the backup become active again \
        with a release, unless you except them. Access tokens do not."
            .to_owned(),
        "- Backups contain no one-time links and no values of remembered responses. Create new links for \
        anyone who needs one."
            .to_owned(),
        "The instance is in quarantine. With the journal of this instance, start crossfade serve. Without a \
        journal, run crossfade quarantine show and crossfade quarantine release. Then run crossfade doctor."
            .to_owned(),
    ]
}

#[derive(Serialize)]
struct Report<'a> {
    file: &'a Path,
    #[serde(flatten)]
    backup: Backup,
}

fn told(rows: &BTreeMap<&'static str, u64>) -> String {
    let told = TOLD
        .iter()
        .map(|table| format!("{} {}", rows.get(table).copied().unwrap_or_default(), table.replace('_', " ")));
    told.collect::<Vec<_>>().join(", ")
}

/// A file that gets its final name only when complete. It is removed if it is dropped before that.
struct Partial {
    file: NamedTempFile,
    path: PathBuf,
}

impl Partial {
    fn create(path: &Path) -> Result<Self, Failure> {
        if path.symlink_metadata().is_ok() {
            return Err(exists(path));
        }
        let (Some(name), Some(directory)) = (path.file_name(), path.parent()) else {
            return Err(Failure::usage(format!("{} is not a file name.", path.display())));
        };
        // In the same directory, because a file cannot be renamed into another file system. Mode 0600.
        let file = tempfile::Builder::new()
            .prefix(&format!(".{}.", name.to_string_lossy()))
            .suffix(".partial")
            .tempfile_in(here(directory))
            .map_err(|error| {
                Failure::failed(format!("Cannot write {}: {error}. No backup was created.", path.display()))
            })?;
        Ok(Self { file, path: path.to_owned() })
    }

    fn file(&self) -> &File {
        self.file.as_file()
    }

    fn keep(self) -> Result<(), Failure> {
        let path = self.path;
        let failed = |error: std::io::Error| {
            Failure::failed(format!("Cannot write {}: {error}. No backup was created.", path.display()))
        };
        self.file.as_file().sync_all().map_err(failed)?;
        self.file.persist_noclobber(&path).map_err(|error| match error.error.kind() {
            std::io::ErrorKind::AlreadyExists => exists(&path),
            _ => failed(error.error),
        })?;
        // The name, too, outlives a power failure.
        let directory = path.parent().map(here).unwrap_or_else(|| Path::new("."));
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)
    }
}

fn here(directory: &Path) -> &Path {
    if directory.as_os_str().is_empty() { Path::new(".") } else { directory }
}

fn exists(path: &Path) -> Failure {
    Failure::failed(format!(
        "{} already exists. Nothing was changed. Choose a new file name.",
        path.display()
    ))
}
