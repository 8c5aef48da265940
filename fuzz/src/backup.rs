//! Files that claim to be backups: as they come, and a real one in which one line was replaced and the checksum was
//! computed again.

use crate::instance::with_instance;
use aws_lc_rs::digest::{SHA256, digest};
use crossfade_app::{Restore, back_up};
use crossfade_authority::Clock;
use crossfade_core::Timestamp;
use crossfade_store::Location;
use std::{fs, sync::LazyLock};

/// The lines of a backup, without the last one.
static LINES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let mut out = Vec::new();
    with_instance(|instance| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let location = Location::File(instance.path("crossfade.db"));
        let clock = Clock::manual(Timestamp::from_seconds(1_795_525_500));
        let key = instance.path("master.key");
        runtime.block_on(back_up(&location, key.as_path(), &clock, &mut out)).unwrap();
    });
    out.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
});

/// Runs one input.
pub fn run(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let file = with_instance(|instance| instance.path("backup"));
    let key = with_instance(|instance| instance.path("master.key"));
    if *kind == b'r' {
        fs::write(&file, rest).unwrap();
    } else {
        let mut lines = LINES.clone();
        let last = lines.pop().unwrap();
        let at = usize::from(*kind) % lines.len();
        lines[at] = [rest, b"\n"].concat();
        let content = lines.concat();
        let sum: String =
            digest(&SHA256, &content).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let mut trailer: serde_json::Value = serde_json::from_slice(&last).unwrap();
        trailer["sha256"] = sum.into();
        fs::write(&file, [content, format!("{trailer}\n").into_bytes()].concat()).unwrap();
    }
    let _ = Restore::check(&file, key.as_path());
}
