//! Journals: files as they come, lines of any content under right codes, and a real journal in which one line was
//! replaced. Of a real journal, no end is read that was not written.

#[path = "../../crates/app/src/history/lines.rs"]
#[allow(dead_code, reason = "the reader of the program, of which this uses a part")]
mod lines;

use aws_lc_rs::hmac;
use crossfade_core::{
    GrantId, Timestamp,
    ended::{End, EndHash},
};
use lines::{Chain, Contents, Found, Line, compacted, first, read};
use std::sync::LazyLock;

const INSTANCE: &str = "i";

static KEY: LazyLock<hmac::Key> = LazyLock::new(|| hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]));

fn written(lines: &[Line]) -> Vec<u8> {
    let (mut chain, mut text) = (Chain::new(&KEY), Vec::new());
    for line in lines {
        chain.write(line, &mut text).unwrap();
    }
    text
}

static JOURNAL: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let hash = |seq: i64| EndHash::after(None, seq, "");
    let end = |seq: i64| {
        let id = GrantId::parse(&format!("grant_{seq:022}")).unwrap();
        Line::End { seq, end: End::Grant { id }, hash: Some(hash(seq)) }
    };
    let gap = Line::Gap { up_to: 9, release: Some("r".into()), hash: Some(hash(9)) };
    written(&[first("j", INSTANCE, (4, hash(4)), None), end(5), end(6), Line::InUse, gap, end(10)])
});

/// Returns the lines of a text, each with the code that it must have.
fn with_codes(text: &[u8]) -> Vec<u8> {
    let (mut last, mut out) = (Vec::new(), Vec::new());
    for json in text.split(|byte| *byte == b'\n') {
        let mut context = hmac::Context::with_key(&KEY);
        context.update(&last);
        context.update(json);
        last = context.sign().as_ref().to_vec();
        out.extend(last.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()));
        out.extend([b" ", json, b"\n"].concat());
    }
    out
}

/// Reads a journal, and checks that what was compacted says the same.
fn whole(bytes: &[u8]) -> Option<Contents> {
    let Found::Whole(found) = read(bytes, &KEY, INSTANCE) else { return None };
    assert!(found.length <= bytes.len() as u64);
    let lines = compacted((*found).clone(), INSTANCE, Timestamp::from_micros(0));
    let Found::Whole(again) = read(&written(&lines), &KEY, INSTANCE) else {
        panic!("compacted and not read")
    };
    let facts = |it: &Contents| (it.id.clone(), it.after, it.last, it.releases.clone(), it.is_in_use);
    assert_eq!(facts(&again), facts(&found));
    Some(*found)
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    match kind {
        b'r' => drop(whole(rest)),
        b'c' => drop(whole(&with_codes(rest))),
        _ => {
            let mut lines: Vec<_> = JOURNAL.split_inclusive(|byte| *byte == b'\n').collect();
            let at = usize::from(*kind) % lines.len();
            let changed = [rest, b"\n"].concat();
            lines[at] = &changed;
            let real = whole(&JOURNAL).unwrap();
            if let Some(found) = whole(&lines.concat()) {
                assert!(real.ends.starts_with(&found.ends), "an end that was not written");
            }
        }
    }
}
