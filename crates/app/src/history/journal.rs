//! The journal: a file outside the database and its backups, to which each end is synced before its reply.

use crate::{
    error::Error,
    history::lines::{Chain, Contents, Found, Line, compact, first, read},
    keys::seal::derived,
};
use aws_lc_rs::hmac;
use crossfade_core::{Code, Problem, Timestamp, ended::End, forget::TOKENS_LIVE_ON};
use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, ErrorKind, Read, Seek, Write},
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

/// Size at which superseded lines are removed for the first time.
const COMPACTED_AT: u64 = 16 * 1024 * 1024;
/// Number of ends before the journal is open.
const NOT_OPEN: i64 = i64::MAX;

/// The journal of a serving process.
pub(crate) struct Journal {
    inner: Arc<Inner>,
    /// Last synced end; [`NOT_OPEN`] while nothing is noted in the journal.
    synced: AtomicI64,
    /// One writer at a time, so that the ends stay in order.
    pub(crate) turn: tokio::sync::Mutex<()>,
    failing: Mutex<Option<String>>,
}

struct Inner {
    path: PathBuf,
    key: hmac::Key,
    instance: String,
    open: Mutex<Option<Open>>,
}

/// The open file, and where it goes on.
struct Open {
    file: File,
    chain: Chain,
    length: u64,
    compacted_at: u64,
}

impl Journal {
    /// `root` is a key that the database contains only sealed.
    pub(crate) fn new(path: &Path, root: &[u8], instance: &str) -> Self {
        let key =
            hmac::Key::new(hmac::HMAC_SHA256, derived(root, b"crossfade: codes of the journal").as_slice());
        let inner =
            Inner { path: path.to_owned(), key, instance: instance.to_owned(), open: Mutex::default() };
        Self {
            inner: Arc::new(inner),
            synced: AtomicI64::new(NOT_OPEN),
            turn: tokio::sync::Mutex::default(),
            failing: Mutex::default(),
        }
    }

    /// Returns the last synced end. A journal in which nothing is noted is never behind.
    pub(crate) fn synced(&self) -> i64 {
        self.synced.load(Ordering::SeqCst)
    }

    /// Returns why the journal cannot be written; `None` while it can.
    pub(crate) fn failing(&self) -> Option<String> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Records whether the journal can be written.
    pub(crate) fn note(&self, failure: Option<String>) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*failing, &failure) {
            (None, Some(error)) => {
                tracing::error!(%error, "cannot write the journal; nothing can end until it is written")
            }
            (Some(_), None) => tracing::info!("the journal is written again"),
            _ => {}
        }
        *failing = failure;
    }

    /// Locks and reads the file. Fails if it belongs to another instance or is used by another server.
    pub(crate) fn read(&self) -> Result<Found, Error> {
        let mut open = self.inner.open();
        let file = match open.take() {
            Some(open) if is_at(&open.file, &self.inner.path) => open.file,
            _ => match OpenOptions::new().read(true).write(true).open(&self.inner.path) {
                Ok(file) => self.inner.lock(file)?,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
                Err(error) => return Err(self.inner.unusable(&error)),
            },
        };
        let mut bytes = Vec::new();
        let mut input = &file;
        let got = input.rewind().and_then(|()| input.read_to_end(&mut bytes));
        got.map_err(|error| self.inner.unusable(&error))?;
        let found = read(&bytes, &self.inner.key, &self.inner.instance);
        let (chain, length) = match &found {
            Found::Foreign => {
                let text = format!(
                    "{} is not a journal of this instance, or its first line was changed. Nothing was changed. Set \
                    --journal-file to the journal of this instance, or to a new file.",
                    self.inner.path.display()
                );
                return Err(Problem::new(Code::Unavailable, text).into());
            }
            Found::Whole(contents) => (contents.chain.clone(), contents.length),
            Found::Nothing | Found::Damaged { .. } => (Chain::new(&self.inner.key), 0),
        };
        *open = Some(Open { file, chain, length, compacted_at: COMPACTED_AT.max(length) });
        Ok(found)
    }

    /// Notes ends after `synced` in the journal from now on.
    pub(crate) fn go_on_after(&self, synced: i64) {
        self.synced.store(synced, Ordering::SeqCst);
    }

    /// Notes nothing in the journal from now on.
    pub(crate) fn rest(&self) {
        self.synced.store(NOT_OPEN, Ordering::SeqCst);
    }

    /// Closes the file and releases its lock.
    pub(crate) fn close(&self) {
        *self.inner.open() = None;
    }

    /// Begins a journal with this ID after an end. A damaged journal is kept under another name.
    pub(crate) fn begin(&self, id: &str, after: i64, now: Timestamp, is_damaged: bool) -> Result<(), Error> {
        let mut open = self.inner.open();
        *open = None;
        let begun = (|| {
            if is_damaged {
                let mut aside = self.inner.path.clone().into_os_string();
                aside.push(format!(".damaged-{}", now.as_micros()));
                std::fs::rename(&self.inner.path, aside)?;
            }
            self.inner.create(&self.inner.path, &[first(id, &self.inner.instance, after)])
        })();
        let begun: Open = begun.map_err(|error| self.inner.unusable(&error))?;
        self.inner.lock_again(&begun.file)?;
        *open = Some(begun);
        Ok(())
    }

    /// Appends lines, and syncs them.
    pub(crate) async fn append(&self, lines: Vec<Line>, now: Timestamp) -> Result<(), String> {
        let inner = self.inner.clone();
        let written = tokio::task::spawn_blocking(move || inner.append(&lines, now)).await;
        let written = match written {
            Ok(written) => written.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        self.note(written.as_ref().err().cloned());
        written
    }
}

impl Inner {
    fn open(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, lines: &[Line], now: Timestamp) -> io::Result<()> {
        let mut guard = self.open();
        let open = guard.as_mut().ok_or_else(|| io::Error::other("it is not open"))?;
        if !is_at(&open.file, &self.path) {
            return Err(io::Error::other("the file was replaced or removed while it was in use"));
        }
        let (mut chain, mut text) = (open.chain.clone(), Vec::new());
        for line in lines {
            chain.write(line, &mut text)?;
        }
        // At its place and not at the end: a part of these lines may have been written by an attempt that failed.
        open.file.write_all_at(&text, open.length)?;
        open.file.sync_data()?;
        open.chain = chain;
        open.length += text.len() as u64;
        if open.length > open.compacted_at {
            open.compacted_at = open.length.saturating_mul(2);
            match self.compact(&open.file, now) {
                Ok(Some(compacted)) => *guard = Some(compacted),
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "cannot remove superseded lines from the journal"),
            }
        }
        Ok(())
    }

    /// Writes the journal again without the lines that later ones supersede.
    fn compact(&self, file: &File, now: Timestamp) -> io::Result<Option<Open>> {
        let mut bytes = Vec::new();
        let mut input = file;
        input.rewind()?;
        input.read_to_end(&mut bytes)?;
        let Found::Whole(contents) = read(&bytes, &self.key, &self.instance) else { return Ok(None) };
        let Contents { id, after, ends, .. } = *contents;
        let mut lines = vec![first(&id, &self.instance, after)];
        // A token that expired that long ago has expired by every clock.
        let expired_by = now.before(TOKENS_LIVE_ON);
        lines.extend(
            compact(ends, expired_by).into_iter().map(|(seq, end): (i64, End)| Line::End { seq, end }),
        );
        let mut beside = self.path.clone().into_os_string();
        beside.push(".new");
        let beside = PathBuf::from(beside);
        let _ = std::fs::remove_file(&beside);
        let written = self.create(&beside, &lines)?;
        written.file.try_lock().map_err(|_| io::Error::other("the new file is locked"))?;
        std::fs::rename(&beside, &self.path)?;
        sync_directory(&self.path)?;
        let compacted_at = COMPACTED_AT.max(written.length.saturating_mul(2));
        Ok(Some(Open { compacted_at, ..written }))
    }

    fn create(&self, path: &Path, lines: &[Line]) -> io::Result<Open> {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(true).mode(0o600).open(path)?;
        let (mut chain, mut text) = (Chain::new(&self.key), Vec::new());
        for line in lines {
            chain.write(line, &mut text)?;
        }
        file.write_all(&text)?;
        file.sync_all()?;
        sync_directory(path)?;
        Ok(Open { file, chain, length: text.len() as u64, compacted_at: COMPACTED_AT })
    }

    fn lock(&self, file: File) -> Result<File, Error> {
        self.lock_again(&file)?;
        Ok(file)
    }

    fn lock_again(&self, file: &File) -> Result<(), Error> {
        match file.try_lock() {
            Ok(()) => Ok(()),
            Err(TryLockError::WouldBlock) => {
                let text = format!(
                    "Another server is using the journal {}. Nothing was changed. Give each instance a journal of its \
                    own.",
                    self.path.display()
                );
                Err(Problem::new(Code::Unavailable, text).into())
            }
            Err(TryLockError::Error(error)) => Err(self.unusable(&error)),
        }
    }

    fn unusable(&self, error: &io::Error) -> Error {
        let text = format!(
            "Cannot use the journal {}: {error}. Nothing was changed. Correct --journal-file, or the permissions of \
            the file and its directory.",
            self.path.display()
        );
        Problem::new(Code::Unavailable, text).into()
    }
}

/// Whether an open file is the one at this path.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(there)) => (open.dev(), open.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or_else(|| Path::new(".")))?.sync_all()
}
