//! Files that claim to be exports of a trail or checkpoints: as they come, and a real export in which one line was
//! replaced. Whoever knows the key of the instance accepts no event line but those that were exported.

use crate::instance::with_instance;
use axum::body::Body;
use crossfade_app::{KnownOutside, verify_export};
use http::Request;
use std::{fs, path::PathBuf, sync::LazyLock};

struct Stage {
    export: Vec<u8>,
    lines: Vec<Vec<u8>>,
    known: KnownOutside,
    file: PathBuf,
    // Kept, because it is removed when it is dropped.
    _directory: tempfile::TempDir,
}

static STAGE: LazyLock<Stage> = LazyLock::new(|| {
    let export = with_instance(|instance| {
        let token = format!("Bearer {}", instance.token);
        let request = Request::get("/api/v1/audit-events/export").header("authorization", token);
        instance.send(request.body(Body::empty()).unwrap()).body
    });
    let lines: Vec<_> = export.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let last: serde_json::Value = serde_json::from_slice(lines.last().unwrap()).unwrap();
    let keys = vec![last["statement"]["key"].as_str().unwrap().to_owned()];
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("trail.jsonl");
    Stage { export, lines, known: KnownOutside { checkpoint: None, keys }, file, _directory: directory }
});

/// Returns the lines that are no statements.
fn events(export: &[u8]) -> Vec<&[u8]> {
    let is_event = |line: &&[u8]| {
        let value: Result<serde_json::Value, _> = serde_json::from_slice(line);
        !line.is_empty() && value.is_ok_and(|value| value.get("statement").is_none())
    };
    export.split_inclusive(|byte| *byte == b'\n').filter(is_event).collect()
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let stage = &*STAGE;
    let Some((kind, rest)) = data.split_first() else { return };
    let content = match kind {
        b'r' | b'c' => rest.to_vec(),
        // A line more.
        b'+' => [&stage.export[..], rest, b"\n"].concat(),
        _ => {
            let mut lines = stage.lines.clone();
            let at = usize::from(*kind) % lines.len();
            lines[at] = if rest.is_empty() { Vec::new() } else { [rest, b"\n"].concat() };
            lines.concat()
        }
    };
    fs::write(&stage.file, &content).unwrap();
    if *kind == b'c' {
        let _ = KnownOutside::read_checkpoint(&stage.file);
        return;
    }
    let Ok(found) = verify_export(&stage.file, &stage.known) else { return };
    if found.verified.is_some() {
        assert_eq!(events(&content), events(&stage.export), "another export is accepted");
    }
    // Without a known key, nothing is claimed to be known.
    let unknown = verify_export(&stage.file, &KnownOutside::default());
    assert!(unknown.is_ok_and(|unknown| !unknown.keys_are_known));
}
