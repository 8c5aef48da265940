//! The journal: a file outside the database and its backups, to which each end is synced before its reply.

use crate::{
    error::Error,
    history::{
        lines::{Chain, Found, Line, compacted, first, read},
        seals::is_about_data_key,
    },
    keys::seal::derived,
};
use aws_lc_rs::hmac;
use crossfade_core::{
    Code, Problem, Timestamp,
    ended::{EndHash, Hex},
    forget::TOKENS_LIVE_ON,
};
use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, ErrorKind, Read, Seek},
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, fchown},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::OwnedMutexGuard,
    task::spawn_blocking,
    time::{sleep, timeout},
};

/// Size at which superseded lines are removed for the first time.
const COMPACTED_AT: u64 = 16 * 1024 * 1024;
/// Number of ends before the journal is open.
const NOT_OPEN: i64 = i64::MAX;

/// How long a disk has to answer, and how long once it is known that it may not.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
const ANSWERS_AGAIN_WITHIN: Duration = Duration::from_millis(100);
/// Number of attempts to take a lock that another process holds, and the pause between two attempts.
const LOCK_TRIES: u32 = 6;
const LOCK_PAUSE: Duration = Duration::from_millis(300);
/// Number of attempts to open a file that another process replaces meanwhile.
const OPEN_TRIES: u32 = 5;
const SILENT: &str = "its disk does not answer";

/// The journal of a serving process.
pub(crate) struct Journal {
    inner: Arc<Inner>,
    /// Last synced end; [`NOT_OPEN`] while nothing is noted in the journal.
    synced: AtomicI64,
    /// Last end that may be stored.
    noted: AtomicI64,
    /// One writer at a time, so that the ends stay in order.
    pub(crate) turn: tokio::sync::Mutex<()>,
    failing: Mutex<Option<String>>,
}

struct Inner {
    path: PathBuf,
    key: hmac::Key,
    instance: String,
    open: Arc<tokio::sync::Mutex<Option<Open>>>,
}

/// The open file, and where it goes on.
struct Open {
    file: File,
    chain: Chain,
    length: u64,
    compacted_at: u64,
    /// Whether its name must still be synced.
    is_renamed: bool,
    /// Whether it may contain superseded seals of data keys.
    has_old_seals: bool,
}

impl Journal {
    /// `root` is a key that the database contains only sealed.
    pub(crate) fn new(path: &Path, root: &[u8], instance: &str) -> Self {
        let (key, instance) = (code_key(root), instance.to_owned());
        let inner = Inner { path: path.to_owned(), key, instance, open: Arc::default() };
        Self {
            inner: Arc::new(inner),
            synced: AtomicI64::new(NOT_OPEN),
            noted: AtomicI64::new(0),
            turn: tokio::sync::Mutex::default(),
            failing: Mutex::default(),
        }
    }

    /// Returns the key of its codes, and its instance.
    #[cfg(test)]
    pub(crate) fn key(&self) -> (&hmac::Key, &str) {
        (&self.inner.key, &self.inner.instance)
    }

    /// Returns the last synced end. A journal in which nothing is noted is never behind.
    pub(crate) fn synced(&self) -> i64 {
        self.synced.load(Ordering::SeqCst)
    }

    /// Whether nothing is noted in the journal.
    pub(crate) fn rests(&self) -> bool {
        self.synced() == NOT_OPEN
    }

    /// Records that ends up to this one may be stored.
    pub(crate) fn noted_up_to(&self, end: i64) {
        self.noted.fetch_max(end, Ordering::SeqCst);
    }

    /// Whether an end may be stored that is not in the journal.
    pub(crate) fn is_behind(&self) -> bool {
        self.synced() < self.noted.load(Ordering::SeqCst)
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

    /// Works on the file beside the tasks of this process. A disk that hangs delays nothing but the journal: what it does
    /// not answer in time goes on alone, and everything after it fails.
    async fn on_file<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner, &mut Option<Open>) -> T + Send + 'static,
    ) -> Result<T, String> {
        let inner = self.inner.clone();
        let limit = if self.failing().is_some() { ANSWERS_AGAIN_WITHIN } else { ANSWERS_WITHIN };
        let mut open: OwnedMutexGuard<Option<Open>> =
            timeout(limit, inner.open.clone().lock_owned()).await.map_err(|_| SILENT)?;
        let working = spawn_blocking(move || work(&inner, &mut open));
        timeout(ANSWERS_WITHIN, working).await.map_err(|_| SILENT)?.map_err(|error| error.to_string())
    }

    /// Locks and reads the file. Fails if it belongs to another instance or is used by another server. Waits for a
    /// command, which holds the lock only for a moment.
    pub(crate) async fn read(&self) -> Result<Found, Error> {
        for attempt in 1..=LOCK_TRIES {
            let read = self.on_file(Inner::read).await.map_err(|error| self.inner.unusable(&error))?;
            match read? {
                Some(found) => return Ok(found),
                None if attempt < LOCK_TRIES => sleep(LOCK_PAUSE).await,
                None => {}
            }
        }
        Err(self.inner.in_use())
    }

    /// Reads the file for a command that runs beside a server. If no server has locked it, locks it for the command.
    pub(crate) async fn read_beside(&self) -> Result<Beside, Error> {
        self.on_file(Inner::read_beside).await.map_err(|error| self.inner.unusable(&error))?
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
    pub(crate) async fn close(&self) {
        if let Ok(mut open) = timeout(ANSWERS_WITHIN, self.inner.open.lock()).await {
            *open = None;
        }
    }

    /// Begins a journal with this ID after an end and its running hash, and after a release if there was one. A damaged journal is kept under
    /// another name.
    pub(crate) async fn begin(
        &self,
        id: &str,
        after: (i64, EndHash),
        release: Option<&str>,
        now: Timestamp,
        is_damaged: bool,
    ) -> Result<(), Error> {
        let line = first(id, &self.inner.instance, after, release);
        let begun = self.on_file(move |inner, open| inner.begin(open, line, is_damaged.then_some(now))).await;
        let begun = begun.map_err(|error| self.inner.unusable(&error)).flatten();
        self.note(begun.as_ref().err().map(ToString::to_string));
        begun
    }

    /// Removes superseded seals of data keys, so that a former master key opens nothing in the file.
    pub(crate) async fn remove_old_seals(&self, now: Timestamp) {
        if self.rests() {
            return;
        }
        let removed = self.on_file(move |inner, open| inner.remove_old_seals(open, now)).await;
        match removed.map_err(|error| self.inner.unusable(&error)).flatten() {
            Ok(()) => {}
            Err(error) => tracing::warn!(%error, "cannot remove superseded seals from the journal"),
        }
    }

    /// Appends lines, and syncs them.
    pub(crate) async fn append(&self, lines: Vec<Line>, now: Timestamp) -> Result<(), String> {
        let written = self
            .on_file(move |inner, open| inner.append(open, &lines, now).map_err(|error| error.to_string()));
        let written = written.await.flatten();
        self.note(written.as_ref().err().cloned());
        written
    }
}

/// A journal, as a command finds it.
pub(crate) enum Beside {
    /// No server uses it, and the command has locked it.
    Locked(Found),
    /// A server uses it. What it contains is synced.
    Served(Found),
}

/// The file, after an attempt to lock it.
enum Opened {
    /// There is none.
    Nothing,
    /// Another process has locked it.
    Busy(File),
    /// This process has locked it.
    Locked(File),
}

impl Inner {
    fn read_beside(&self, open: &mut Option<Open>) -> Result<Beside, Error> {
        match self.open_file()? {
            Opened::Nothing => Ok(Beside::Locked(Found::Nothing)),
            // Kept locked from here on, so that no server takes it in between.
            Opened::Locked(file) => self.read_locked(file, open).map(Beside::Locked),
            Opened::Busy(file) => {
                let bytes = synced_contents(&file).map_err(|error| self.unusable(&error))?;
                Ok(Beside::Served(read(&bytes, &self.key, &self.instance)))
            }
        }
    }

    /// Returns `None` if another process has locked the file.
    fn read(&self, open: &mut Option<Open>) -> Result<Option<Found>, Error> {
        match open.take() {
            Some(open_before) if is_at(&open_before.file, &self.path) => {
                self.read_locked(open_before.file, open).map(Some)
            }
            _ => match self.open_file()? {
                Opened::Nothing => Ok(Some(Found::Nothing)),
                Opened::Busy(_) => Ok(None),
                Opened::Locked(file) => self.read_locked(file, open).map(Some),
            },
        }
    }

    /// Opens the file, and locks it unless another process has.
    fn open_file(&self) -> Result<Opened, Error> {
        for _ in 0..OPEN_TRIES {
            let file = match OpenOptions::new().read(true).write(true).open(&self.path) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Opened::Nothing),
                Err(error) => return Err(self.unusable(&error)),
            };
            match file.try_lock() {
                // The process that held the lock may have replaced the file since it was opened.
                Ok(()) if !is_at(&file, &self.path) => {}
                Ok(()) => return Ok(Opened::Locked(file)),
                Err(TryLockError::WouldBlock) => return Ok(Opened::Busy(file)),
                Err(TryLockError::Error(error)) => return Err(self.unusable(&error)),
            }
        }
        Err(self.unusable(&"other processes replace the file all the time"))
    }

    fn read_locked(&self, file: File, open: &mut Option<Open>) -> Result<Found, Error> {
        let bytes = synced_contents(&file).map_err(|error| self.unusable(&error))?;
        let found = read(&bytes, &self.key, &self.instance);
        let (chain, length) = match &found {
            Found::Foreign => {
                let text = format!(
                    "{} is not a journal of this instance, or its first line was changed. Nothing was changed. Set \
                    --journal-file to the journal of this instance, or to a new file.",
                    self.path.display()
                );
                return Err(Problem::new(Code::Unavailable, text).into());
            }
            Found::Whole(contents) => (contents.chain.clone(), contents.length),
            Found::Nothing | Found::Damaged { .. } => (Chain::new(&self.key), 0),
        };
        // Left by a process that died while it removed superseded lines.
        let _ = std::fs::remove_file(self.beside());
        let has_old_seals = matches!(&found, Found::Whole(contents) if contents.has_old_seals());
        let compacted_at = COMPACTED_AT.max(length);
        // The process that gave it its name may have died before it synced that.
        *open = Some(Open { file, chain, length, compacted_at, is_renamed: true, has_old_seals });
        Ok(found)
    }

    fn begin(&self, open: &mut Option<Open>, line: Line, damaged: Option<Timestamp>) -> Result<(), Error> {
        // Locked until the new one is.
        let before = open.take();
        let begun = match (before, damaged) {
            (Some(empty), None) if is_at(&empty.file, &self.path) => {
                self.fill(empty.file, &self.path, &[line])
            }
            (_before, damaged) => {
                if let Some(now) = damaged {
                    let mut aside = self.path.clone().into_os_string();
                    aside.push(format!(".damaged-{}", now.as_micros()));
                    std::fs::rename(&self.path, aside).map_err(|error| self.unusable(&error))?;
                }
                self.create(&self.path, &[line])
            }
        };
        *open = Some(begun?);
        Ok(())
    }

    fn append(&self, guard: &mut Option<Open>, lines: &[Line], now: Timestamp) -> io::Result<()> {
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
        if open.is_renamed {
            sync_directory(&self.path)?;
            open.is_renamed = false;
        }
        open.chain = chain;
        open.length += text.len() as u64;
        open.has_old_seals |= lines.iter().any(is_about_data_key);
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

    fn remove_old_seals(&self, guard: &mut Option<Open>, now: Timestamp) -> Result<(), Error> {
        let Some(open) = guard.as_mut().filter(|open| open.has_old_seals) else { return Ok(()) };
        if is_at(&open.file, &self.path)
            && let Some(compacted) = self.compact(&open.file, now)?
        {
            *guard = Some(compacted);
        }
        Ok(())
    }

    /// Writes the journal again without the lines that later ones supersede.
    fn compact(&self, file: &File, now: Timestamp) -> Result<Option<Open>, Error> {
        let failed = |error| self.unusable(&error);
        let bytes = contents(file).map_err(failed)?;
        let Found::Whole(contents) = read(&bytes, &self.key, &self.instance) else { return Ok(None) };
        // A token that expired that long ago has expired by every clock.
        let lines = compacted(*contents, &self.instance, now.before(TOKENS_LIVE_ON));
        let written = self.replace(file, &lines);
        if written.is_err() {
            // It takes the space that the next ends need.
            let _ = std::fs::remove_file(self.beside());
        }
        let written = written?;
        // From here on it is the journal. Its name is synced before the next end counts as noted.
        let compacted_at = COMPACTED_AT.max(written.length.saturating_mul(2));
        Ok(Some(Open { compacted_at, is_renamed: true, ..written }))
    }

    /// Writes a file with these lines beside the journal, and puts it in its place.
    fn replace(&self, file: &File, lines: &[Line]) -> Result<Open, Error> {
        let (failed, beside) = (|error| self.unusable(&error), self.beside());
        let _ = std::fs::remove_file(&beside);
        let written = self.create(&beside, lines)?;
        keep_owner(file, &written.file).map_err(failed)?;
        std::fs::rename(&beside, &self.path).map_err(failed)?;
        Ok(written)
    }

    /// Returns the place of a file that is about to replace the journal.
    fn beside(&self) -> PathBuf {
        let mut beside = self.path.clone().into_os_string();
        beside.push(".new");
        beside.into()
    }

    /// Creates a file, and locks it before anything is written to it.
    fn create(&self, path: &Path, lines: &[Line]) -> Result<Open, Error> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(path);
        let file = self.lock(file.map_err(|error| self.unusable(&error))?)?;
        self.fill(file, path, lines)
    }

    /// Writes the lines of a new journal to a locked file.
    fn fill(&self, file: File, path: &Path, lines: &[Line]) -> Result<Open, Error> {
        let (mut chain, mut text) = (Chain::new(&self.key), Vec::new());
        let written = (|| {
            for line in lines {
                chain.write(line, &mut text)?;
            }
            file.set_len(0)?;
            file.write_all_at(&text, 0)?;
            file.sync_all()?;
            sync_directory(path)
        })();
        written.map_err(|error| self.unusable(&error))?;
        let length = text.len() as u64;
        let (compacted_at, is_renamed, has_old_seals) = (COMPACTED_AT, false, false);
        Ok(Open { file, chain, length, compacted_at, is_renamed, has_old_seals })
    }

    fn lock(&self, file: File) -> Result<File, Error> {
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(self.in_use()),
            Err(TryLockError::Error(error)) => Err(self.unusable(&error)),
        }
    }

    fn in_use(&self) -> Error {
        let text = format!(
            "Another server is using the journal {}. Nothing was changed. Give each instance a journal of its own.",
            self.path.display()
        );
        Problem::new(Code::Unavailable, text).into()
    }

    fn unusable(&self, error: &dyn std::fmt::Display) -> Error {
        let text = format!(
            "Cannot use the journal {}: {error}. Nothing was changed. Correct --journal-file, or the permissions of \
            the file and its directory.",
            self.path.display()
        );
        Problem::new(Code::Unavailable, text).into()
    }
}

/// Returns the key of the codes.
fn code_key(root: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, derived(root, b"crossfade: codes of the journal").as_slice())
}

/// Returns every sealed data key in a journal; `None` if the file cannot be read or is no intact journal of this instance.
pub(crate) fn seals_in(path: &Path, root: &[u8], instance: &str) -> Option<Vec<Hex>> {
    match read(&std::fs::read(path).ok()?, &code_key(root), instance) {
        Found::Whole(contents) => Some(contents.seals().cloned().collect()),
        _ => None,
    }
}

/// Reads a file whose lines may come from a process that died before they were synced.
fn synced_contents(file: &File) -> io::Result<Vec<u8>> {
    let bytes = contents(file)?;
    file.sync_all()?;
    Ok(bytes)
}

fn contents(mut file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Gives a new file the owner and the permissions of the one that it replaces: a command may run as another user than the
/// server, which must be able to open it.
fn keep_owner(of: &File, new: &File) -> io::Result<()> {
    let (of, own) = (of.metadata()?, new.metadata()?);
    if (of.uid(), of.gid()) != (own.uid(), own.gid()) {
        fchown(new, Some(of.uid()), Some(of.gid()))?;
    }
    new.set_permissions(of.permissions())
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A journal of its own for a test, in an empty directory.
    fn journal(test: &str) -> (Journal, PathBuf) {
        let directory = std::env::temp_dir().join(format!("crossfade-journal-{test}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir(&directory).unwrap();
        let path = directory.join("ends.journal");
        (Journal::new(&path, &[7; 32], "i"), path)
    }

    fn start() -> (i64, EndHash) {
        (0, EndHash::after(None, 0, ""))
    }

    fn remove(path: &Path) {
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[tokio::test]
    async fn a_disk_that_does_not_answer_delays_nothing_but_the_journal() {
        let (journal, path) = journal("silent");
        let now = Timestamp::from_micros(1);
        journal.begin("j", start(), None, now, false).await.unwrap();
        journal.note(Some("slow".into()));
        // Held, as by a write that never returns.
        let stuck = journal.inner.open.clone().lock_owned().await;
        let line = || vec![Line::Gap { up_to: 5, release: None, hash: None }];
        assert_eq!(journal.append(line(), now).await, Err(SILENT.to_owned()));
        assert_eq!(journal.failing().as_deref(), Some(SILENT));
        assert!(journal.read().await.is_err());
        drop(stuck);
        journal.append(line(), now).await.unwrap();
        assert_eq!(journal.failing(), None);
        remove(&path);
    }

    fn gap(up_to: i64) -> Vec<Line> {
        vec![Line::Gap { up_to, release: None, hash: None }]
    }

    #[tokio::test]
    async fn a_file_that_cannot_replace_the_journal_is_removed() {
        let (journal, path) = journal("replaced");
        let now = Timestamp::from_micros(1);
        journal.begin("j", start(), None, now, false).await.unwrap();
        let (beside, aside) = (journal.inner.beside(), path.with_extension("aside"));
        // The last step fails, as every earlier one does on a full disk: the new file is there by then.
        std::fs::rename(&path, &aside).unwrap();
        std::fs::create_dir(&path).unwrap();
        {
            let open = journal.inner.open.lock().await;
            assert!(journal.inner.compact(&open.as_ref().unwrap().file, now).is_err());
        }
        assert!(!beside.exists());
        std::fs::remove_dir(&path).unwrap();
        std::fs::rename(&aside, &path).unwrap();
        journal.append(gap(5), now).await.unwrap();
        // Left by a process that was killed.
        std::fs::write(&beside, "half").unwrap();
        journal.read().await.unwrap();
        assert!(!beside.exists());
        remove(&path);
    }

    #[tokio::test]
    async fn a_compacted_journal_keeps_its_owner_and_mode() {
        let (journal, path) = journal("owner");
        let now = Timestamp::from_micros(1);
        journal.begin("j", start(), None, now, false).await.unwrap();
        let mut mode = std::fs::metadata(&path).unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o640);
        std::fs::set_permissions(&path, mode).unwrap();
        // Only root can give a file away.
        let is_root = std::os::unix::fs::chown(&path, Some(12_345), Some(54_321)).is_ok();
        {
            let mut open = journal.inner.open.lock().await;
            let compacted = journal.inner.compact(&open.as_ref().unwrap().file, now).unwrap();
            *open = compacted;
        }
        let found = std::fs::metadata(&path).unwrap();
        assert_eq!(found.mode() & 0o777, 0o640);
        if is_root {
            assert_eq!((found.uid(), found.gid()), (12_345, 54_321));
        }
        journal.append(gap(5), now).await.unwrap();
        remove(&path);
    }

    #[tokio::test]
    async fn a_server_waits_for_a_command_that_uses_the_journal() {
        let (journal, path) = journal("busy");
        let now = Timestamp::from_micros(1);
        journal.begin("j", start(), None, now, false).await.unwrap();
        journal.close().await;
        let command = Journal::new(&path, &[7; 32], "i");
        assert!(matches!(command.read_beside().await.unwrap(), Beside::Locked(Found::Whole(_))));
        assert!(matches!(journal.read_beside().await.unwrap(), Beside::Served(Found::Whole(_))));
        let done = async {
            sleep(Duration::from_millis(10)).await;
            // The command replaces the file, and ends.
            let mut open = command.inner.open.lock().await;
            *open = command.inner.compact(&open.as_ref().unwrap().file, now).unwrap();
            *open = None;
        };
        let (found, ()) = tokio::join!(journal.read(), done);
        assert!(matches!(found.unwrap(), Found::Whole(_)));
        journal.append(gap(5), now).await.unwrap();
        remove(&path);
    }

    #[tokio::test]
    async fn a_file_that_appears_before_a_journal_begins_is_left_as_it_is() {
        let (journal, path) = journal("begun");
        let now = Timestamp::from_micros(1);
        assert!(matches!(journal.read().await.unwrap(), Found::Nothing));
        std::fs::write(&path, "somebody else's").unwrap();
        assert!(journal.begin("j", start(), None, now, false).await.is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "somebody else's");
        assert!(journal.failing().is_some());
        // An empty one is used.
        std::fs::write(&path, "").unwrap();
        assert!(matches!(journal.read().await.unwrap(), Found::Nothing));
        journal.begin("j", start(), None, now, false).await.unwrap();
        assert!(matches!(journal.read().await.unwrap(), Found::Whole(_)));
        assert_eq!(journal.failing(), None);
        remove(&path);
    }
}
