//! Verifies a trail, event by event, against its chain and the signed statements about it.

use super::{
    chain::{ChainHash, HASH, PREVIOUS_HASH},
    statement::{Statement, StatementKind},
};
use crate::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use std::fmt;

/// The first place where a trail is not what was recorded.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Fault {
    /// An event differs from its hash.
    Altered {
        /// The event.
        seq: i64,
    },
    /// An event and its hash are not those that the next event continues.
    Replaced {
        /// The event.
        seq: i64,
    },
    /// Events are missing.
    Missing {
        /// The first one.
        first: i64,
        /// The last one.
        last: i64,
    },
    /// An event was inserted: it is there twice, in the wrong place, or after the end of the trail.
    Inserted {
        /// The event.
        seq: i64,
    },
    /// The chain was written again: a signed statement names another hash.
    Rewritten {
        /// The last event that a signed statement confirms; 0 if there is none.
        after: i64,
        /// The event that the statement is about.
        up_to: i64,
    },
    /// The trail ends too early: a signed statement or the database names a later event.
    CutOff {
        /// The last event.
        last: i64,
        /// The event that the trail had reached.
        up_to: i64,
    },
    /// A checkpoint from outside is of the history that a restored backup replaced.
    Forked {
        /// The last event that both histories have.
        seq: i64,
        /// When the backup was restored.
        restored_at: Timestamp,
        /// The event that the checkpoint from outside is about.
        checkpoint_seq: i64,
    },
    /// A statement is not signed by a trusted key, or its signature is wrong.
    Untrusted {
        /// The event that the statement is about.
        seq: i64,
        /// ID of the key.
        key: String,
    },
    /// The lines of a filtered export are not those that were exported.
    OtherLines,
    /// No signed statement belongs to the trail, so its beginning cannot be known.
    Unsigned,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Altered { seq } => write!(f, "Event {seq} was altered: it differs from its hash."),
            Self::Replaced { seq } => write!(
                f,
                "Event {seq} was replaced together with its hash: the next event continues a different event."
            ),
            Self::Missing { first, last } if first == last => write!(f, "Event {first} is missing."),
            Self::Missing { first, last } => write!(f, "Events {first} to {last} are missing."),
            Self::Inserted { seq } => {
                write!(f, "Event {seq} was inserted: it does not belong in this place.")
            }
            Self::Rewritten { after, up_to } => write!(
                f,
                "The trail was written again after event {after}: the signed statement about event {up_to} names a \
                different hash."
            ),
            Self::CutOff { last, up_to } => write!(
                f,
                "The end is missing: the trail ends with event {last}, but had reached event {up_to}."
            ),
            Self::Forked { seq, restored_at, checkpoint_seq } => write!(
                f,
                "The checkpoint of event {checkpoint_seq} is from a history that was replaced: a backup that ends \
                with event {seq} was restored at {restored_at}, and the events after it are different ones."
            ),
            Self::Untrusted { seq, key } => write!(
                f,
                "The statement about event {seq} is not signed by a trusted key: it names key {key}."
            ),
            Self::OtherLines => write!(
                f,
                "The lines differ from those that were exported: at least one was added, removed or changed."
            ),
            Self::Unsigned => write!(f, "The trail has no signed statement, so it cannot be verified."),
        }
    }
}

/// A backup that was restored: where the history forked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Fork {
    /// The last restored event.
    pub seq: i64,
    /// When the backup was taken.
    pub backup_created_at: Option<Timestamp>,
    /// When it was restored.
    pub restored_at: Timestamp,
}

/// A trail that is what was recorded.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Verified {
    /// Number of verified events.
    pub events: u64,
    /// The first one; `null` if there is none.
    pub first_seq: Option<i64>,
    /// The last one; `null` if there is none.
    pub last_seq: Option<i64>,
    /// Number of events recorded before the trail had a chain. Only all of them together are confirmed.
    pub before_chain: u64,
    /// The last event that a signed statement confirms; `null` if there is none.
    pub signed_seq: Option<i64>,
    /// When that statement was signed.
    pub signed_at: Option<Timestamp>,
    /// Number of compared statements.
    pub statements: u64,
    /// Restored backups.
    pub forks: Vec<Fork>,
    /// Event of the checkpoint from outside that was not compared, because the trail begins later; `null` if the
    /// checkpoint was compared, or if there is none.
    pub not_compared: Option<i64>,
}

/// A statement to compare.
#[derive(Clone, Debug)]
pub struct Known {
    /// The statement, whose signature was verified.
    pub statement: Statement,
    /// Whether it was kept outside the verified trail.
    pub is_outside: bool,
}

/// Verifies a complete trail. Takes the events in their order, one by one.
pub struct Verifier {
    /// Statements by event.
    known: Vec<Known>,
    /// Number of statements that have been passed.
    passed: usize,
    /// The last event and its hash.
    last: Option<(i64, ChainHash)>,
    /// The last event recorded before the trail had a chain; 0 if there is none.
    chained_after: i64,
    /// An event that does not continue the one before it, and its hash. The event after it shows which of both is wrong.
    suspect: Option<(i64, ChainHash)>,
    done: Verified,
}

impl Verifier {
    /// Creates a verifier with statements whose signatures were verified.
    pub fn new(mut known: Vec<Known>) -> Self {
        known.sort_by_key(|known| (known.statement.seq, known.statement.at));
        let restores =
            known.iter().map(|known| &known.statement).filter(|it| it.kind == StatementKind::Restore);
        let fork = |it: &Statement| Fork {
            seq: it.seq,
            backup_created_at: it.backup_created_at,
            restored_at: it.at,
        };
        let forks = restores.map(fork).collect();
        let done = Verified { forks, ..Verified::default() };
        let start = |known: &&Known| !known.is_outside && known.statement.kind == StatementKind::Start;
        let chained_after = known.iter().rfind(start).map_or(0, |known| known.statement.seq);
        Self { known, passed: 0, last: None, chained_after, suspect: None, done }
    }

    /// Verifies the next event, as it is exported.
    pub fn push(&mut self, mut event: Map<String, Value>) -> Result<(), Fault> {
        let seq = event.get("seq").and_then(Value::as_i64).unwrap_or(0);
        let own = event.get(HASH).and_then(Value::as_str).and_then(ChainHash::parse);
        let previous = event.get(PREVIOUS_HASH).and_then(Value::as_str).and_then(ChainHash::parse);
        if let Some(suspect) = self.suspect {
            return Err(blame(suspect, seq, previous));
        }
        let (before, is_anchored) = match self.last {
            None => (self.begin(seq)?, true),
            Some((last, _)) if seq <= last => return Err(Fault::Inserted { seq }),
            Some((last, _)) if seq > last + 1 => {
                return Err(Fault::Missing { first: last + 1, last: seq - 1 });
            }
            Some((last, hash)) => (hash, last == self.chained_after),
        };
        match (own, previous) {
            (None, None) if seq <= self.chained_after => {
                event.insert(PREVIOUS_HASH.to_owned(), before.to_string().into());
                self.done.before_chain += 1;
                self.go_on(seq, ChainHash::of_members(event))
            }
            (Some(own), Some(previous)) if seq > self.chained_after => {
                if ChainHash::of_members(event) != own {
                    return Err(Fault::Altered { seq });
                }
                match previous == before {
                    true => self.go_on(seq, own),
                    false if is_anchored => Err(Fault::Altered { seq }),
                    false => {
                        self.suspect = Some((seq, own));
                        Ok(())
                    }
                }
            }
            _ => Err(Fault::Altered { seq }),
        }
    }

    /// Returns the hash before the first event.
    fn begin(&mut self, first: i64) -> Result<ChainHash, Fault> {
        let own = |kind| {
            let known =
                self.known.iter().filter(move |known| !known.is_outside && known.statement.kind == kind);
            known.map(|known| &known.statement)
        };
        let trimmed = own(StatementKind::Trim).next_back();
        let started = own(StatementKind::Start).next_back();
        let (begins, hash) = match (trimmed, started) {
            (Some(trimmed), _) => (trimmed.seq + 1, trimmed.hash),
            (None, Some(started)) => (started.first_seq.unwrap_or(1), ChainHash::START),
            (None, None) => return Err(Fault::Unsigned),
        };
        if first < begins {
            return Err(Fault::Inserted { seq: first });
        }
        if first > begins {
            return Err(Fault::Missing { first: begins, last: first - 1 });
        }
        self.done.first_seq = Some(first);
        self.compare(first - 1, hash)?;
        Ok(hash)
    }

    fn go_on(&mut self, seq: i64, hash: ChainHash) -> Result<(), Fault> {
        self.last = Some((seq, hash));
        self.done.events += 1;
        self.done.last_seq = Some(seq);
        self.compare(seq, hash)
    }

    /// Compares the statements about this event with its hash. Passes over those about deleted events, and notes if one
    /// was from outside.
    fn compare(&mut self, seq: i64, hash: ChainHash) -> Result<(), Fault> {
        while let Some(known) = self.known.get(self.passed).filter(|known| known.statement.seq <= seq) {
            let statement = &known.statement;
            if statement.seq == seq {
                if statement.hash != hash {
                    return Err(self.broken_by(
                        known,
                        Fault::Rewritten { after: self.done.signed_seq.unwrap_or(0), up_to: seq },
                    ));
                }
                self.done.statements += 1;
                // Before the first event there is nothing to confirm.
                if seq > 0 {
                    self.done.signed_seq = Some(seq);
                    self.done.signed_at = Some(statement.at);
                }
            } else if known.is_outside {
                self.done.not_compared = Some(statement.seq);
            }
            self.passed += 1;
        }
        Ok(())
    }

    /// Returns the fault that a statement shows, or the fork that explains why a statement from outside does not fit.
    fn broken_by(&self, known: &Known, fault: Fault) -> Fault {
        let outside = &known.statement;
        let is_before = |fork: &&Fork| fork.seq < outside.seq && outside.at <= fork.restored_at;
        match self.done.forks.iter().find(is_before).filter(|_| known.is_outside) {
            Some(fork) => {
                Fault::Forked { seq: fork.seq, restored_at: fork.restored_at, checkpoint_seq: outside.seq }
            }
            None => fault,
        }
    }

    /// Returns the result after the last event. `end` is the last event and its hash according to the database.
    pub fn finish(mut self, end: Option<(i64, ChainHash)>) -> Result<Verified, Fault> {
        if let Some((seq, hash)) = self.suspect {
            return Err(blame((seq, hash), seq + 1, end.map(|(_, hash)| hash)));
        }
        let (last, hash) = match self.last {
            Some(last) => last,
            // Every event was deleted, or there was none yet.
            None => {
                let begun = self.known.iter().filter(|known| !known.is_outside).map(|known| &known.statement);
                let mut begun =
                    begun.filter(|it| matches!(it.kind, StatementKind::Trim | StatementKind::Start));
                let last = begun.next_back().map(|it| (it.seq, it.hash)).ok_or(Fault::Unsigned)?;
                self.compare(last.0, last.1)?;
                last
            }
        };
        if let Some(known) = self.known.get(self.passed) {
            let cut_off = Fault::CutOff { last, up_to: known.statement.seq };
            return Err(self.broken_by(known, cut_off));
        }
        match end {
            Some((end, _)) if end > last => Err(Fault::CutOff { last, up_to: end }),
            Some((end, _)) if end < last => Err(Fault::Inserted { seq: end + 1 }),
            Some((_, end)) if end != hash => Err(Fault::Replaced { seq: last }),
            _ => Ok(self.done),
        }
    }
}

/// Returns what is wrong with an event that does not continue the one before it: the event before was replaced if the
/// event after continues this one, and otherwise this one was.
fn blame((seq, own): (i64, ChainHash), next: i64, continued: Option<ChainHash>) -> Fault {
    match continued {
        _ if next <= seq => Fault::Inserted { seq },
        Some(hash) if hash == own => Fault::Replaced { seq: seq - 1 },
        _ => Fault::Altered { seq },
    }
}

/// Whether an export is of these lines, by their SHA-256 and number.
pub fn is_of(export: &Statement, lines: &str, events: u64) -> bool {
    export.sha256.as_deref() == Some(lines) && export.events == Some(events)
}

/// Verifies the events of a filtered export, each by itself.
#[derive(Default)]
pub struct RowVerifier {
    done: Verified,
}

impl RowVerifier {
    /// Verifies the next event, as it is exported.
    pub fn push(&mut self, event: Map<String, Value>) -> Result<(), Fault> {
        let seq = event.get("seq").and_then(Value::as_i64).unwrap_or(0);
        if self.done.last_seq.is_some_and(|last| seq <= last) {
            return Err(Fault::Inserted { seq });
        }
        match event.get(HASH).and_then(Value::as_str).map(ChainHash::parse) {
            Some(Some(own)) if ChainHash::of_members(event) == own => {}
            None if self.done.before_chain == self.done.events => self.done.before_chain += 1,
            _ => return Err(Fault::Altered { seq }),
        }
        self.done.first_seq.get_or_insert(seq);
        self.done.last_seq = Some(seq);
        self.done.events += 1;
        Ok(())
    }

    /// Returns the result. `lines` is the SHA-256 of the lines of the events.
    pub fn finish(mut self, export: &Statement, lines: &str) -> Result<Verified, Fault> {
        if !is_of(export, lines, self.done.events) {
            return Err(Fault::OtherLines);
        }
        self.done.signed_seq = self.done.last_seq;
        self.done.signed_at = Some(export.at);
        self.done.statements = 1;
        Ok(self.done)
    }
}

#[cfg(test)]
mod tests;
