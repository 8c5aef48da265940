//! Evidence of use on its way from memory into the database, and the times of which it is not complete.

use crate::{app::App, error::Error, worker::write_failures};
use crossfade_authority::{Counter, FailureCount, SourceCount};
use crossfade_core::{Code, DrillId, SecretId, Timestamp, api::GapKind, text};
use crossfade_store::{DrillCallerRow, EvidenceGap, SourceCaps, Usage, UsageRow, UsageSource};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

/// Distinct sources that are kept one by one.
const CAPS: SourceCaps = SourceCaps { of_secret: 5000, of_address: 100 };
/// Distinct callers that are kept of each drill.
const MOST_DRILL_CALLERS: i64 = 1000;
/// Rows of evidence that are written in one transaction.
const ROWS_AT_ONCE: usize = 500;
/// How often it is noted that everything is stored, also when there was nothing to store. After a kill, evidence
/// has a gap from the last note on.
const NOTED_EVERY: Duration = Duration::from_secs(4);

/// How far evidence is stored.
#[derive(Default)]
pub(crate) struct Recorded {
    /// Up to when it is noted to be; `None` where nothing is recorded: in a local command.
    until: Option<Timestamp>,
    /// Whether something since then was perhaps not stored.
    in_doubt: bool,
}

/// For how long a process that serves may be without a sign of life. Beyond it stood still, as a machine does that is
/// suspended or moved, or its clock was set: who called meanwhile is not known.
const STOOD_STILL: Duration = Duration::from_secs(15);

/// The signs of life of a process that serves.
#[derive(Default)]
pub(crate) struct Alive {
    /// The last one; `None` before the first.
    last: Option<Timestamp>,
    /// A time without any, that is not recorded as a gap yet.
    still: Option<(Timestamp, Timestamp)>,
}

/// What a row of evidence is kept by: the drill that refused, if one did, the secret, and the source.
type Kept<'a> = (Option<&'a DrillId>, &'a SecretId, UsageSource);

pub(crate) fn usage(counter: Counter) -> Usage {
    Usage {
        first_used_at: counter.first,
        last_used_at: counter.last,
        use_count: i64::try_from(counter.count).unwrap_or(i64::MAX),
    }
}

impl App {
    /// Notes that this process records from now on, and what is missing since the last one did.
    pub(crate) async fn begin_recording(&self) -> Result<(), Error> {
        let mut recorded = self.flush.lock().await;
        let (now, _) = self
            .write(async |tx, now| {
                if let Some((began_at, recording)) = tx.evidence_state().await?.filter(|(at, _)| *at < now) {
                    let kind = if recording { GapKind::Killed } else { GapKind::Stopped };
                    tx.insert_evidence_gap(&EvidenceGap { began_at, ended_at: now, kind }).await?;
                }
                tx.evidence_recorded(now, true).await?;
                Ok(now)
            })
            .await?;
        recorded.until = Some(now);
        Ok(())
    }

    /// Writes what is left, and notes that nothing is missing up to now. The end of a process in order.
    pub async fn end_recording(&self) -> Result<(), Error> {
        self.flush_evidence().await?;
        let mut recorded = self.flush.lock().await;
        if recorded.until.take().is_some() {
            self.write(async |tx, now| Ok(tx.evidence_recorded(now, false).await?)).await?;
        }
        Ok(())
    }

    /// A sign of life, about one a second, and one before each look at evidence.
    pub(crate) fn beat(&self, begin: bool) -> Option<(Timestamp, Timestamp)> {
        let mut alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.clock.is_caught_up() {
            // It is moved by hours at a time, and nobody is waited for.
            *alive = Alive::default();
            return None;
        }
        let now = self.clock.now();
        match alive.last {
            None if !begin => return None,
            Some(last) if now.since(last) > STOOD_STILL => {
                alive.still = Some((alive.still.map_or(last, |(from, _)| from), now));
            }
            _ => {}
        }
        alive.last = Some(now);
        alive.still
    }

    /// Writes the evidence gathered so far. Returns when it is stored, also what another flush has taken.
    ///
    /// In small transactions, between which whoever rotates or revokes gets the lock: a flood of evidence must
    /// not delay the end of the secret that makes it.
    pub async fn flush_evidence(&self) -> Result<(), Error> {
        let mut recorded = self.flush.lock().await;
        // What was counted before this moment is in what is taken out now.
        let until = self.clock.now();
        let still = self.beat(false);
        let (sources, failures) = self.drain_evidence();
        let rows = self.rows(&sources);
        let (mut rows, mut left) = (rows.as_slice(), failures.as_slice());
        let mut result = Ok(());
        while result.is_ok() && !(rows.is_empty() && left.is_empty()) {
            let (used, more) = rows.split_at(rows.len().min(ROWS_AT_ONCE));
            let (failed, more_failed) = left.split_at(left.len().min(ROWS_AT_ONCE));
            let written = self
                .write(async |tx, now| {
                    let done = used.iter().filter(|(drill, ..)| drill.is_none());
                    let done: Vec<UsageRow> = done.map(|(_, row, _)| row.clone()).collect();
                    tx.add_uses(&done, CAPS).await?;
                    let refused = used.iter().filter_map(|(drill, row, _)| {
                        let (source, refusals) = (row.source.clone(), row.usage);
                        Some(DrillCallerRow { drill_id: drill.clone()?, source, refusals })
                    });
                    tx.add_drill_callers(&refused.collect::<Vec<_>>(), MOST_DRILL_CALLERS).await?;
                    Ok(write_failures(tx, failed, now).await?)
                })
                .await;
            // What was perhaps written is not put back: evidence may be too little, never too much.
            let in_doubt = written.as_ref().is_err_and(|error| error.problem.code == Code::OutcomeUnknown);
            recorded.in_doubt |= in_doubt;
            if written.is_ok() || in_doubt {
                (rows, left) = (more, more_failed);
            }
            result = written.map(drop);
        }
        let back =
            rows.iter().flat_map(|(.., counts)| counts.iter().map(|at| sources[*at].clone())).collect();
        self.authority.evidence().restore(back, left.to_vec());
        self.unflushed().clear();
        result?;
        self.note_recorded(&mut recorded, until, still).await
    }

    async fn note_recorded(
        &self,
        recorded: &mut Recorded,
        until: Timestamp,
        still: Option<(Timestamp, Timestamp)>,
    ) -> Result<(), Error> {
        let Some(before) = recorded.until else { return Ok(()) };
        if !recorded.in_doubt && still.is_none() && until.since(before) < NOTED_EVERY {
            return Ok(());
        }
        let unknown = if recorded.in_doubt { Some((before, until)) } else { still };
        let gap = unknown.map(|(from, to)| EvidenceGap {
            began_at: from.min(still.map_or(from, |(from, _)| from)),
            ended_at: to,
            kind: GapKind::Unknown,
        });
        self.write(async |tx, _| {
            if let Some(gap) = &gap {
                tx.insert_evidence_gap(gap).await?;
            }
            Ok(tx.evidence_recorded(until, true).await?)
        })
        .await?;
        *recorded = Recorded { until: Some(until), in_doubt: false };
        let mut alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        alive.still = alive.still.filter(|newer| Some(*newer) != still);
        Ok(())
    }

    /// What is stored of the counts: one row for each secret and source as they are kept, apart for each drill that
    /// refused it, with the places of the counts that went into it.
    fn rows(&self, sources: &[SourceCount]) -> Vec<(Option<DrillId>, UsageRow, Vec<usize>)> {
        let mut merged: BTreeMap<Kept<'_>, (Counter, Vec<usize>)> = BTreeMap::new();
        for (at, count) in sources.iter().enumerate() {
            let source = UsageSource {
                ip: count.ip.map(|ip| self.addresses.kept(ip)).unwrap_or_default(),
                user_agent: text::shown(&count.user_agent),
                instance: text::shown(&count.instance),
                gathered: count.gathered,
            };
            let (counter, places) = merged
                .entry((count.drill.as_ref(), &count.secret, source))
                .or_insert_with(|| (count.counter, Vec::new()));
            if !places.is_empty() {
                counter.merge(count.counter);
            }
            places.push(at);
        }
        let merged = merged.into_iter().map(|((drill, secret, source), (counter, places))| {
            let (secret_id, longest_pause) = (secret.clone(), counter.longest_pause);
            let row = UsageRow { secret_id, source, usage: usage(counter), longest_pause };
            (drill.cloned(), row, places)
        });
        merged.collect()
    }

    /// Takes the evidence out of memory, and keeps at hand when each secret was last used until that is stored.
    fn drain_evidence(&self) -> (Vec<SourceCount>, Vec<FailureCount>) {
        let mut unflushed = self.unflushed();
        let drained = self.authority.evidence().drain();
        for source in drained.0.iter().filter(|it| it.drill.is_none()) {
            let last = unflushed.entry(source.secret.clone()).or_insert(source.counter.last);
            *last = source.counter.last.max(*last);
        }
        drained
    }

    fn unflushed(&self) -> MutexGuard<'_, HashMap<SecretId, Timestamp>> {
        self.unflushed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last use of a secret that is known and not stored yet. With what is stored it is exact to the moment,
    /// without waiting for a flush.
    pub(crate) fn unflushed_use(&self, secret: &SecretId) -> Option<Timestamp> {
        let unflushed = self.unflushed();
        unflushed.get(secret).copied().max(self.authority.evidence().last_use(secret))
    }
}
