//! What a command says and tidies up when a signal ends it between a request and its response.

use super::note;
use crate::signals;
use std::{
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, Once, PoisonError},
};

/// A response that a command waits for, and the empty file that was opened for its value.
struct Awaited {
    file: Option<PathBuf>,
}

static AWAITED: Mutex<Option<Awaited>> = Mutex::new(None);

fn awaited() -> MutexGuard<'static, Option<Awaited>> {
    AWAITED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes that a request is sent whose value goes to this file.
pub(super) fn await_value(file: Option<&Path>) {
    static ONCE: Once = Once::new();
    *awaited() = Some(Awaited { file: file.map(Path::to_owned) });
    ONCE.call_once(|| signals::end_after(|| drop_on_exit(abandon())));
}

/// Notes that the response has arrived. While the result exists, no signal ends the process.
pub(super) fn received() -> impl Sized {
    let mut awaited = awaited();
    *awaited = None;
    awaited
}

/// Removes the empty file of a value that has not arrived, and says that the outcome is unknown. Nothing more is written
/// to files afterwards.
pub(crate) fn abandon() -> impl Sized {
    let mut awaited = awaited();
    if let Some(Awaited { file }) = awaited.take() {
        let removed = file.filter(|path| std::fs::remove_file(path).is_ok());
        let removed = removed.map(|path| format!(" Removed the empty file {}.", path.display()));
        note(&format!(
            "Stopped before the response arrived, so it is unknown whether the change was made.{} Check before \
            you run the command again.",
            removed.unwrap_or_default()
        ));
    }
    awaited
}

/// Keeps a lock until the process ends.
fn drop_on_exit(held: impl Sized) {
    std::mem::forget(held);
}
