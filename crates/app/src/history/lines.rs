//! The lines of a journal. Each is a code and a JSON value. The code is an HMAC over the code of the line before and the
//! value, with a key of the instance, so that nobody without the master key can add, change or reorder lines, or
//! remove one before the last. A last line that was not written to its end is tolerated, and missing last lines are not
//! noticed by the journal alone.

use aws_lc_rs::{constant_time, hmac};
use crossfade_core::{
    Timestamp,
    ended::{End, EndHash},
};
use crossfade_store::NotedEnd;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

const VERSION: u32 = 1;
/// Number of digits of a code.
const CODE: usize = 64;
/// Number of ends whose hashes are kept although their lines are superseded.
const HASHES_KEPT: usize = 100_000;

/// One line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Line {
    /// The first line.
    Journal {
        version: u32,
        /// ID of the journal.
        id: String,
        /// Instance that it belongs to.
        instance: String,
        /// Last end that is not in it.
        after: i64,
        /// Releases after which it was adopted before this line was written.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        releases: Vec<Release>,
        /// Whether a database was used with it before this line was written.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        in_use: bool,
        /// Running hash after which it begins; `None` in lines of earlier versions.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hash: Option<EndHash>,
        /// Hashes of ends before this line was written, also of those whose lines were superseded.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        hashes: Vec<(i64, Vec<EndHash>)>,
    },
    /// The journal was not used for a while: ends up to this one may be missing.
    Gap {
        up_to: i64,
        /// Release after which it is adopted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        release: Option<String>,
        /// Running hash from which the ends go on after it; `None` if it is not known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hash: Option<EndHash>,
    },
    /// A database has stored that it is used with this journal.
    InUse,
    /// An end.
    End {
        seq: i64,
        end: End,
        /// Running hash up to this end; `None` in lines of earlier versions.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hash: Option<EndHash>,
    },
}

impl From<NotedEnd> for Line {
    fn from(NotedEnd { seq, end, hash }: NotedEnd) -> Self {
        Self::End { seq, end, hash }
    }
}

/// A release after which a journal was adopted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Release {
    pub(crate) id: String,
    /// Last end before the adoption.
    pub(crate) up_to: i64,
}

/// Codes of successive lines.
#[derive(Clone)]
pub(crate) struct Chain {
    key: hmac::Key,
    last: Vec<u8>,
}

impl Chain {
    pub(crate) fn new(key: &hmac::Key) -> Self {
        Self { key: key.clone(), last: Vec::new() }
    }

    fn next(&mut self, json: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&self.last);
        context.update(json);
        let tag = context.sign();
        self.last = tag.as_ref().to_vec();
        tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Appends a line to a text.
    pub(crate) fn write(&mut self, line: &Line, text: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        let json = serde_json::to_vec(line)?;
        text.extend_from_slice(self.next(&json).as_bytes());
        text.push(b' ');
        text.extend_from_slice(&json);
        text.push(b'\n');
        Ok(())
    }

    /// Returns the value of a line, without its end; `None` if the code is not that of the next line.
    fn read(&mut self, line: &[u8]) -> Option<Line> {
        let (code, json) = line.split_at_checked(CODE)?;
        let json = json.strip_prefix(b" ")?;
        constant_time::verify_slices_are_equal(self.next(json).as_bytes(), code).ok()?;
        serde_json::from_slice(json).ok()
    }
}

/// An intact journal.
#[derive(Clone)]
pub(crate) struct Contents {
    /// Its ID.
    pub(crate) id: String,
    /// Last end that may be missing. Every later one up to `last` is in it.
    pub(crate) after: i64,
    /// Last end.
    pub(crate) last: i64,
    /// Releases after which it was adopted.
    pub(crate) releases: Vec<Release>,
    /// Whether a database was used with it.
    pub(crate) is_in_use: bool,
    /// Its ends, oldest first.
    pub(crate) ends: Vec<(i64, End)>,
    /// Running hashes by the number of the end, as far as they are known.
    pub(crate) hashes: BTreeMap<i64, EndHash>,
    /// Continues its codes.
    pub(crate) chain: Chain,
    /// Length in bytes, without an incomplete last line.
    pub(crate) length: u64,
}

/// What a file contains.
pub(crate) enum Found {
    /// No journal yet.
    Nothing,
    /// No journal of this instance.
    Foreign,
    /// A journal in which this line was changed, or a line before it removed.
    Damaged { line: usize },
    /// An intact journal.
    Whole(Box<Contents>),
}

/// Reads a journal of this instance.
pub(crate) fn read(bytes: &[u8], key: &hmac::Key, instance: &str) -> Found {
    let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') else {
        // The beginning of a first line: its creation was interrupted.
        return if begins_a_journal(bytes) { Found::Nothing } else { Found::Foreign };
    };
    let lines: Vec<&[u8]> = bytes[..end].split(|byte| *byte == b'\n').collect();
    let (mut chain, mut length) = (Chain::new(key), 0);
    let mut contents: Option<Contents> = None;
    for (at, text) in lines.iter().enumerate() {
        let mut next = chain.clone();
        match (next.read(text), &mut contents) {
            (Some(Line::Journal { version: VERSION, instance: of, .. }), None) if of != instance => {
                return Found::Foreign;
            }
            (
                Some(Line::Journal { version: VERSION, id, after, releases, in_use, hash, hashes, .. }),
                None,
            ) => {
                let mut known = unpacked(hashes);
                known.extend(hash.map(|hash| (after, hash)));
                contents = Some(Contents {
                    id,
                    after,
                    last: after,
                    releases,
                    is_in_use: in_use,
                    ends: Vec::new(),
                    hashes: known,
                    chain: chain.clone(),
                    length: 0,
                });
            }
            (Some(Line::Gap { up_to, release, hash }), Some(found)) => {
                found.after = found.after.max(up_to);
                found.last = found.last.max(up_to);
                found.hashes.extend(hash.map(|hash| (up_to, hash)));
                if let Some(id) = release {
                    found.releases.retain(|earlier| earlier.id != id);
                    found.releases.push(Release { id, up_to });
                }
            }
            (Some(Line::InUse), Some(found)) => found.is_in_use = true,
            (Some(Line::End { seq, end, hash }), Some(found)) => {
                found.last = found.last.max(seq);
                found.hashes.extend(hash.map(|hash| (seq, hash)));
                found.ends.push((seq, end));
            }
            (_, None) => return Found::Foreign,
            // A power failure can leave anything in the place of a line that was never acknowledged.
            _ if at + 1 == lines.len() => break,
            _ => return Found::Damaged { line: at + 1 },
        }
        chain = next;
        length += text.len() as u64 + 1;
    }
    match contents {
        Some(mut contents) => {
            // They are applied in the order in which they happened, wherever they are in the file.
            contents.ends.sort_by_key(|(seq, _)| *seq);
            Found::Whole(Box::new(Contents { chain, length, ..contents }))
        }
        None => Found::Foreign,
    }
}

/// Whether text without the end of a line can be what is there of a first line.
fn begins_a_journal(bytes: &[u8]) -> bool {
    let (code, json) = bytes.split_at(bytes.len().min(CODE));
    let begins = b" {\"journal\":";
    code.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        && json.iter().zip(begins).all(|(byte, expected)| byte == expected)
}

/// Returns the first line of a journal that begins after an end and its running hash, and after a release if there was
/// one.
pub(crate) fn first(id: &str, instance: &str, (after, hash): (i64, EndHash), release: Option<&str>) -> Line {
    let releases = release.map(|id| Release { id: id.to_owned(), up_to: after });
    Line::Journal {
        version: VERSION,
        id: id.to_owned(),
        instance: instance.to_owned(),
        after,
        releases: releases.into_iter().collect(),
        in_use: false,
        hash: Some(hash),
        hashes: Vec::new(),
    }
}

/// Returns hashes as runs of successive ends, without the oldest ones if there are many.
fn packed(hashes: &BTreeMap<i64, EndHash>) -> Vec<(i64, Vec<EndHash>)> {
    let mut runs: Vec<(i64, Vec<EndHash>)> = Vec::new();
    let forgotten = hashes.len().saturating_sub(HASHES_KEPT);
    for (seq, hash) in hashes.iter().skip(forgotten) {
        match runs.last_mut() {
            Some((first, run)) if *first + run.len() as i64 == *seq => run.push(*hash),
            _ => runs.push((*seq, vec![*hash])),
        }
    }
    runs
}

fn unpacked(runs: Vec<(i64, Vec<EndHash>)>) -> BTreeMap<i64, EndHash> {
    runs.into_iter().flat_map(|(first, run)| (first..).zip(run)).collect()
}

/// Returns the lines that say as much as these contents, without what is superseded or expired by `expired_by`.
pub(crate) fn compacted(contents: Contents, instance: &str, expired_by: Timestamp) -> Vec<Line> {
    let Contents { id, after, releases, is_in_use, ends, hashes, .. } = contents;
    let first = Line::Journal {
        version: VERSION,
        id,
        instance: instance.to_owned(),
        after,
        releases,
        in_use: is_in_use,
        hash: hashes.get(&after).copied(),
        hashes: packed(&hashes),
    };
    let line = |(seq, end)| Line::End { seq, end, hash: hashes.get(&seq).copied() };
    let ends = compact(ends, expired_by).into_iter().map(line);
    std::iter::once(first).chain(ends).collect()
}

/// Returns the ends that still say something: of each subject the one with the greatest number, and none about an access token that expired by
/// `expired_by`. The one with the greatest number always stays, because it says how far the journal goes.
fn compact(ends: Vec<(i64, End)>, expired_by: Timestamp) -> Vec<(i64, End)> {
    let mut newest: HashMap<String, i64> = HashMap::new();
    for (seq, end) in &ends {
        let newest = newest.entry(end.subject()).or_insert(*seq);
        *newest = (*newest).max(*seq);
    }
    let last = ends.iter().map(|(seq, _)| *seq).max();
    let says = |(seq, end): &(i64, End)| {
        let is_over = matches!(end, End::AccessToken { expires_at, .. } if *expires_at <= expired_by);
        Some(*seq) == last || (!is_over && newest.get(&end.subject()) == Some(seq))
    };
    ends.into_iter().filter(says).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossfade_core::{GrantId, TokenId};

    fn key(byte: u8) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &[byte; 32])
    }

    fn grant(n: u8) -> End {
        End::Grant { id: GrantId::parse(&format!("grant_{n:022}")).unwrap() }
    }

    fn written(lines: &[Line]) -> Vec<u8> {
        let (mut chain, mut text) = (Chain::new(&key(1)), Vec::new());
        for line in lines {
            chain.write(line, &mut text).unwrap();
        }
        text
    }

    fn journal() -> Vec<u8> {
        let end = |seq| Line::End { seq, end: grant(seq as u8), hash: Some(hash(seq)) };
        let gap = Line::Gap { up_to: 9, release: Some("r".into()), hash: Some(hash(9)) };
        written(&[first("j", "i", (4, hash(4)), None), end(5), end(6), gap, end(10)])
    }

    fn hash(seq: i64) -> EndHash {
        EndHash::after(None, seq, "")
    }

    fn whole(bytes: &[u8]) -> Contents {
        match read(bytes, &key(1), "i") {
            Found::Whole(contents) => *contents,
            _ => panic!("not intact"),
        }
    }

    #[test]
    fn a_journal_is_read_back_with_its_gap() {
        let text = journal();
        let found = whole(&text);
        assert_eq!((found.id.as_str(), found.after, found.last), ("j", 9, 10));
        assert_eq!(found.ends.len(), 3);
        assert_eq!(found.length, text.len() as u64);
    }

    #[test]
    fn what_was_compacted_says_the_same() {
        let mut found = whole(&journal());
        found.is_in_use = true;
        let hashes = [4, 5, 6, 9, 10].map(|seq| (seq, hash(seq)));
        assert_eq!(found.hashes, BTreeMap::from(hashes));
        let again = whole(&written(&compacted(found.clone(), "i", Timestamp::from_micros(0))));
        assert_eq!((&again.id, again.after, again.last), (&found.id, found.after, found.last));
        assert_eq!(again.releases, [Release { id: "r".into(), up_to: 9 }]);
        assert!(again.is_in_use);
        assert_eq!(again.hashes, found.hashes);
    }

    #[test]
    fn a_journal_never_goes_back() {
        let end = |seq| Line::End { seq, end: grant(1), hash: None };
        let gap = |up_to| Line::Gap { up_to, release: None, hash: None };
        for lines in [vec![gap(9), end(5), gap(8)], vec![end(9), end(5)]] {
            let lines: Vec<_> = std::iter::once(first("j", "i", (4, hash(4)), None)).chain(lines).collect();
            let found = whole(&written(&lines));
            let again = whole(&written(&compacted(found.clone(), "i", Timestamp::from_micros(0))));
            assert_eq!((found.last, again.last, again.after), (9, 9, found.after));
        }
    }

    #[test]
    fn hashes_of_superseded_lines_are_kept_up_to_a_limit() {
        let mut found = whole(&journal());
        let many = HASHES_KEPT as i64 + 5;
        found.ends = (20..20 + many).map(|seq| (seq, grant(1))).collect();
        found.hashes.extend(found.ends.iter().map(|(seq, _)| (*seq, hash(*seq))));
        let again = whole(&written(&compacted(found.clone(), "i", Timestamp::from_micros(0))));
        assert_eq!(again.ends.len(), 1);
        assert_eq!(again.hashes.get(&25), found.hashes.get(&25));
        assert_eq!(
            (again.hashes.get(&24), again.hashes.len()),
            (None, HASHES_KEPT + 1),
            "and where it begins"
        );
    }

    #[test]
    fn lines_of_an_earlier_version_are_read() {
        let mut text = Vec::new();
        let mut chain = Chain::new(&key(1));
        for json in [
            r#"{"journal":{"version":1,"id":"j","instance":"i","after":4}}"#.to_owned(),
            format!(r#"{{"end":{{"seq":5,"end":{}}}}}"#, serde_json::to_string(&grant(5)).unwrap()),
            r#"{"gap":{"up_to":9}}"#.to_owned(),
        ] {
            let code = chain.next(json.as_bytes());
            text.extend_from_slice(format!("{code} {json}\n").as_bytes());
        }
        let found = whole(&text);
        assert_eq!((found.after, found.last, found.ends.len(), found.hashes.len()), (9, 9, 1, 0));
    }

    #[test]
    fn an_incomplete_last_line_is_tolerated_and_written_over() {
        let text = journal();
        let complete = text[..text.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
        for cut in complete..text.len() {
            let found = whole(&text[..cut]);
            assert_eq!((found.last, found.length), (9, complete as u64), "{cut}");
        }
        let zeros = [&text[..complete], &[0; 40], b"\n"].concat();
        assert_eq!(whole(&zeros).last, 9);
    }

    #[test]
    fn a_changed_moved_or_removed_line_is_named() {
        let text = journal();
        let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
        let mut changed = text.clone();
        changed[lines[0].len() + CODE + 8] ^= 1;
        let removed = [lines[0], lines[2], lines[3], lines[4]].concat();
        let moved = [lines[0], lines[2], lines[1], lines[3], lines[4]].concat();
        for (text, number) in [(changed, 2), (removed, 2), (moved, 2)] {
            assert!(matches!(read(&text, &key(1), "i"), Found::Damaged { line } if line == number));
        }
    }

    #[test]
    fn a_strangers_journal_is_none_of_ours() {
        let text = journal();
        assert!(matches!(read(&text, &key(2), "i"), Found::Foreign));
        assert!(matches!(read(&text, &key(1), "another"), Found::Foreign));
        assert!(matches!(read(b"GRUB\n", &key(1), "i"), Found::Foreign));
        assert!(matches!(read(b"GRUB", &key(1), "i"), Found::Foreign));
        let first = text.iter().position(|byte| *byte == b'\n').unwrap();
        for cut in 0..first {
            assert!(matches!(read(&text[..cut], &key(1), "i"), Found::Nothing), "{cut}");
        }
    }

    #[test]
    fn of_each_subject_the_last_end_stays() {
        let token = |expires| End::AccessToken {
            jti: format!("{expires}"),
            expires_at: Timestamp::from_micros(expires),
            at: Timestamp::from_micros(0),
        };
        let api = End::ApiToken {
            id: TokenId::parse("tok_0000000000000000000001").unwrap(),
            at: Timestamp::from_micros(1),
        };
        let ends = vec![(1, grant(1)), (2, token(5)), (3, token(50)), (4, api), (5, grant(1)), (6, token(6))];
        let kept: Vec<i64> =
            compact(ends, Timestamp::from_micros(10)).into_iter().map(|(seq, _)| seq).collect();
        assert_eq!(kept, [3, 4, 5, 6]);
    }

    #[test]
    fn the_end_with_the_greatest_number_stays_wherever_it_is() {
        let end = |seq, micros| {
            let at = Timestamp::from_micros(micros);
            let id = TokenId::parse("tok_0000000000000000000001").unwrap();
            Line::End { seq, end: End::ApiToken { id, at }, hash: None }
        };
        let at = |contents: &Contents| {
            let of = |(seq, end): &(i64, End)| (*seq, end.at().unwrap().as_micros());
            contents.ends.iter().map(of).collect::<Vec<_>>()
        };
        let lines = [first("j", "i", (4, hash(4)), None), end(5, 50), end(9, 90), end(7, 70)];
        let found = whole(&written(&lines));
        assert_eq!(at(&found), [(5, 50), (7, 70), (9, 90)], "in the order in which they are applied");
        let again = whole(&written(&compacted(found, "i", Timestamp::from_micros(0))));
        assert_eq!((at(&again), again.last), (vec![(9, 90)], 9));
        let ends = vec![(9, grant(1)), (5, grant(1)), (6, grant(2))];
        let kept: Vec<i64> =
            compact(ends, Timestamp::from_micros(0)).into_iter().map(|(seq, _)| seq).collect();
        assert_eq!(kept, [9, 6]);
    }
}
