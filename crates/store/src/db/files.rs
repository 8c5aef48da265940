//! The files of a served SQLite database, and whether they are still at their paths.

use super::{StoreError, connect::cannot_open};
use std::{
    fs::File,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// Device and inode of a file.
type FileId = (u64, u64);

/// Files of the database that this process serves; empty on PostgreSQL and in a process that does not serve.
#[derive(Default)]
pub(super) struct Files(Mutex<Vec<(PathBuf, FileId)>>);

/// Watches files until it is dropped.
pub(super) struct Watch(Arc<Files>);

impl Files {
    /// Starts to watch a database file, its write-ahead log, the index of the log, and the lock file. The caller must
    /// keep a connection open, because SQLite itself removes the log when the last connection closes, and creates it
    /// when the first one opens.
    pub(super) fn watch(
        self: &Arc<Self>,
        database: &Path,
        (lock, file): (&Path, &File),
    ) -> Result<Watch, StoreError> {
        let names = std::fs::metadata(database).map_err(|error| cannot_open(database, &error))?.nlink();
        if names > 1 {
            // SQLite keeps a log next to each name, so servers using two names would overwrite each other's changes.
            let text = format!("the file has {names} names (hard links); remove all but one");
            return Err(cannot_open(database, &text));
        }
        let id = |path: &Path| std::fs::metadata(path).map(|found| (found.dev(), found.ino()));
        let failed = |error| cannot_open(database, &error);
        let lock_id = file.metadata().map(|found| (found.dev(), found.ino())).map_err(failed)?;
        let mut known =
            vec![(database.to_owned(), id(database).map_err(failed)?), (lock.to_owned(), lock_id)];
        for suffix in ["-wal", "-shm"] {
            let mut path = database.as_os_str().to_owned();
            path.push(suffix);
            let path = PathBuf::from(path);
            // A database in a directory that cannot be written has none.
            if let Ok(id) = id(&path) {
                known.push((path, id));
            }
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = known;
        Ok(Watch(self.clone()))
    }

    /// Fails if a file was replaced or removed: a change would go to a file that is no longer the database.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        for (path, expected) in &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            let found = std::fs::metadata(path).map(|found| (found.dev(), found.ino()));
            if !found.is_ok_and(|found| found == *expected) {
                return Err(StoreError::Replaced(path.display().to_string()));
            }
        }
        Ok(())
    }
}

impl Watch {
    pub(super) fn check(&self) -> Result<(), StoreError> {
        self.0.check()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
