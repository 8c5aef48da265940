//! Evidence of use on its way from memory to the database, and the gaps in it.

use crate::{
    error::Error,
    frame::act::Act,
    node::{
        alive::Alive,
        failures::write_failures,
        state::Node,
        taken::{Batch, EvidenceRow, Taken},
    },
};
use crossfade_authority::{Counter, Failure, FailureCount, RefusedBy, SourceCount};
use crossfade_core::{NodeId, SecretId, Timestamp, api::GapKind, audit::Actor, text};
use crossfade_store::{
    EvidenceGap, PageStart, Purpose, Recorder, RefusedCallerRow, Registration, Secret, SourceCaps, Tx, Usage,
    UsageRow, UsageSource,
};
use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    sync::{
        MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// Maximum numbers of sources stored individually.
const CAPS: SourceCaps = SourceCaps { of_secret: 5000, of_address: 100 };
/// Maximum number of callers stored per drill, and per secret for other refusals.
const MOST_REFUSED: i64 = 1000;
/// Maximum number of secrets and gaps that are checked for a use; with more, a use is assumed.
const MAX_LOOKED_AT: i64 = 100;
/// Interval for recording that everything is stored, even if there was nothing to store. After a kill, the evidence has
/// a gap from the last such record on.
const NOTED_EVERY: Duration = Duration::from_secs(4);
/// How long other nodes are waited for that were asked to store their evidence, and how often that is looked for.
const HEARD_WITHIN: Duration = Duration::from_secs(1);
const LOOKED_EVERY: Duration = Duration::from_millis(20);

/// State of the stored evidence.
#[derive(Default)]
pub(crate) struct Recorded {
    /// Time up to which evidence is recorded as stored; `None` in a local command, which records nothing.
    until: Option<Timestamp>,
    /// Whether this process serves and could not yet store that it is recording.
    is_due: bool,
    /// Whether some evidence since then may not have been stored.
    pub(crate) in_doubt: bool,
    /// Number of the last flush that stored everything.
    stored_by: u64,
    /// Period of the evidence that the database refused since then.
    refused: Option<(Timestamp, Timestamp)>,
}

impl Recorded {
    /// Whether this process records, and no evidence so far is known to be missing.
    fn is_complete(&self) -> bool {
        self.until.is_some() && !self.is_due && !self.in_doubt && self.refused.is_none()
    }

    pub(crate) fn note_refused(&mut self, usage: &Usage) {
        let (from, to) = self.refused.unwrap_or((usage.first_used_at, usage.last_used_at));
        self.refused = Some((from.min(usage.first_used_at), to.max(usage.last_used_at)));
    }
}

/// Last times of a secret that are on their way to the database.
#[derive(Default)]
pub(crate) struct Unflushed {
    /// Last use.
    used: Option<Timestamp>,
    /// Last use or refusal.
    tried: Option<Timestamp>,
}

/// Key of a row of evidence: what refused the caller, if anything, the secret, and the source.
type Kept<'a> = (Option<&'a RefusedBy>, &'a SecretId, UsageSource);

pub(crate) fn usage(counter: Counter) -> Usage {
    Usage {
        first_used_at: counter.first,
        last_used_at: counter.last,
        use_count: i64::try_from(counter.count).unwrap_or(i64::MAX),
    }
}

impl Node {
    /// Records that this process records evidence from now on, and the gap since the last process did.
    pub(crate) async fn begin_recording(&self) -> Result<(), Error> {
        let mut recorded = self.flush.lock().await;
        recorded.is_due = true;
        let (now, _) = self
            .write(async |tx, now| {
                close_recorders(tx, &self.own.id, Service::Begins, now).await?;
                tx.evidence_recorded(&self.own.id, now, true).await?;
                Ok(now)
            })
            .await?;
        (recorded.until, recorded.is_due) = (Some(now), false);
        Ok(())
    }

    /// Records that this process records evidence, if that could not be stored at its start.
    pub(crate) async fn resume_recording(&self) -> Result<(), Error> {
        let is_due = self.flush.lock().await.is_due;
        if is_due { self.begin_recording().await } else { Ok(()) }
    }

    /// Writes the remaining evidence, and records that it is complete up to now. For the orderly end of a process.
    pub(crate) async fn end_recording(&self) -> Result<(), Error> {
        self.flush_evidence().await?;
        let mut recorded = self.flush.lock().await;
        if recorded.until.take().is_some() {
            self.write(async |tx, now| {
                // The last one that stops leaves when it did.
                match tx.recorders().await?.iter().any(|it| is_another(it, &self.own.id) && it.is_recording) {
                    true => Ok(tx.forget_recorder(Some(&self.own.id)).await?),
                    false => Ok(tx.evidence_recorded(&self.own.id, now, false).await?),
                }
            })
            .await?;
        }
        Ok(())
    }

    /// Records the gaps of nodes that have stopped without storing what they saw.
    pub(crate) async fn note_stopped_recorders(&self) -> Result<(), Error> {
        let (found, now) = self
            .read(async |tx| Ok((tx.recorders().await?, tx.clock().await?.unwrap_or(self.clock.now()))))
            .await?;
        if !found.iter().any(|it| is_another(it, &self.own.id) && has_stopped(it, now)) {
            return Ok(());
        }
        self.write(async |tx, now| close_recorders(tx, &self.own.id, Service::GoesOn, now).await).await?;
        Ok(())
    }

    /// Asks the other nodes to store the evidence that they have, and waits a second for them. A node that does not answer
    /// is a gap until it does.
    pub(crate) async fn hear_other_nodes(&self) -> Result<(), Error> {
        if !self.db.has_own_clock() {
            return Ok(());
        }
        // Those who ask at the same time share one question.
        let called = Instant::now();
        let mut last = self.heard.lock().await;
        if last.is_some_and(|last| last >= called) {
            return Ok(());
        }
        let (asked_at, begun) = (self.clock.now(), Instant::now());
        *last = Some(begun);
        let mut is_asked = false;
        loop {
            let found = self.db.read_for::<_, Error>(Purpose::Feed, async |tx| Ok(tx.recorders().await?));
            let is_missing = |it: &Recorder| {
                is_another(it, &self.own.id) && it.is_recording && it.recorded_until < asked_at
            };
            if !found.await?.iter().any(is_missing) {
                return Ok(());
            }
            if !is_asked {
                self.db.ask_recorders(asked_at).await?;
                is_asked = true;
            }
            if begun.elapsed() >= HEARD_WITHIN {
                return Ok(());
            }
            tokio::time::sleep(LOOKED_EVERY).await;
        }
    }

    /// Stores the evidence whenever another process asks for it.
    pub(crate) async fn record_when_asked(&self) -> Infallible {
        loop {
            self.asked_to_record.notified().await;
            self.must_note_recorded.store(true, Ordering::SeqCst);
            if let Err(error) = self.flush_evidence().await {
                tracing::warn!(%error, "cannot store evidence that another node asks for");
                tokio::time::sleep(LOOKED_EVERY).await;
            }
        }
    }

    /// Stores the evidence if another process has asked for it, where no announcement arrives.
    pub(crate) async fn look_whether_asked(&self) {
        let found = self.db.read_for::<_, Error>(Purpose::Feed, async |tx| Ok(tx.recorders().await?));
        let is_asked = |it: &Recorder| !is_another(it, &self.own.id) && it.recorded_until < it.asked_at;
        if found.await.is_ok_and(|found| found.iter().any(is_asked)) {
            self.asked_to_record.notify_one();
        }
    }

    /// Records a heartbeat, about one per second and one before each read of evidence. Returns a gap that has to be
    /// recorded.
    pub(crate) fn beat(&self, begin: bool) -> Option<(Timestamp, Timestamp)> {
        let mut alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.clock.is_caught_up() {
            // A manual clock moves by hours at a time, without missing any caller.
            *alive = Alive::default();
            return None;
        }
        alive.beat(self.clock.now(), begin)
    }

    /// Writes the evidence collected so far. Returns when it is stored, including evidence taken by another flush.
    ///
    /// Writes in small transactions, so that rotations and revocations get the lock in between. A flood of evidence
    /// must not delay ending the secret that causes it.
    pub(crate) async fn flush_evidence(&self) -> Result<(), Error> {
        let flushed = self.flush_evidence_after(self.flushes_begun()).await;
        self.evidence_outage().note(flushed.is_ok(), self.clock.now());
        flushed
    }

    /// Returns the number of flushes that have begun so far.
    pub(crate) fn flushes_begun(&self) -> u64 {
        self.flushes.load(Ordering::SeqCst)
    }

    /// Writes the evidence, unless a flush that began after the first `asked` ones has stored it. Simultaneous readers
    /// share one flush.
    pub(crate) async fn flush_evidence_after(&self, asked: u64) -> Result<(), Error> {
        let mut recorded = self.flush.lock().await;
        if recorded.stored_by > asked {
            return Ok(());
        }
        let number = self.flushes.fetch_add(1, Ordering::SeqCst) + 1;
        // What was counted before this moment is in what is taken out now.
        let is_asked = self.must_note_recorded.swap(false, Ordering::SeqCst);
        let until = self.clock.now();
        let still = self.beat(false);
        let mut taken = Taken::take(self, &mut recorded);
        while let Some(batch) = taken.next_batch() {
            let (used, failed) = taken.rows_of(&batch);
            let written = self.write_evidence(used, failed, &taken.is_committing).await;
            taken.settle(&batch, written.as_ref().err());
            match written {
                // One row that the database refuses does not hold up the others.
                Err(error) if error.is_refusal_of_data() => {
                    if !taken.narrow(&batch) {
                        self.set_aside(&mut taken, &batch, &error).await?;
                    }
                }
                written => {
                    written?;
                    self.count_failures_with_ended_secrets(taken.rows_of(&batch).1);
                }
            }
        }
        drop(taken);
        self.note_recorded(&mut recorded, until, still, is_asked).await?;
        recorded.stored_by = number;
        Ok(())
    }

    /// Counts stored failures with ended secrets, from which their owners are told.
    fn count_failures_with_ended_secrets(&self, failed: &[FailureCount]) {
        let has_ended = |it: &&FailureCount| matches!(it.failure, Failure::Expired | Failure::Revoked);
        for it in failed.iter().filter(has_ended) {
            if let Some(secret) = &it.secret {
                self.count_presented(secret, (it.counter.first, it.counter.last), it.counter.count);
            }
        }
    }

    /// Writes rows and failures in one transaction.
    async fn write_evidence(
        &self,
        used: &[EvidenceRow],
        failed: &[FailureCount],
        is_committing: &AtomicBool,
    ) -> Result<(), Error> {
        self.write(async |tx, now| {
            let accepted = used.iter().filter(|(refused_by, ..)| refused_by.is_none());
            let accepted: Vec<UsageRow> = accepted.map(|(_, row, _)| row.clone()).collect();
            tx.add_uses(&accepted, CAPS).await?;
            let refused = used.iter().filter_map(|(refused_by, row, _)| {
                let UsageRow { secret_id, source, usage, .. } = row.clone();
                let drill_id = match refused_by.clone()? {
                    RefusedBy::Drill(drill) => Some(drill),
                    RefusedBy::Record => None,
                };
                Some(RefusedCallerRow { secret_id, drill_id, source, refusals: usage })
            });
            tx.add_refused_callers(&refused.collect::<Vec<_>>(), MOST_REFUSED).await?;
            let mut act = Act::new(tx, now, Actor::machine("serve"));
            write_failures(&mut act, failed, &self.addresses).await?;
            // Only the commit is left. A caller who hangs up from now on leaves its outcome open.
            is_committing.store(true, Ordering::Relaxed);
            Ok(())
        })
        .await
        .map(drop)
    }

    /// Stores a single row that the database refuses with its texts in ASCII or, if it refuses that as well, as a gap.
    /// Fails during an outage.
    async fn set_aside(&self, taken: &mut Taken<'_>, batch: &Batch, error: &Error) -> Result<(), Error> {
        let (used, _) = taken.rows_of(batch);
        if let [(refused_by, row, _)] = used
            && let Some(row) = in_ascii(row)
        {
            let secret = row.secret_id.clone();
            let again = [(refused_by.clone(), row, Vec::new())];
            match self.write_evidence(&again, &[], &taken.is_committing).await {
                Err(again) if again.is_refusal_of_data() => taken.settle(batch, Some(&again)),
                written => {
                    taken.settle(batch, written.as_ref().err());
                    tracing::warn!(%error, %secret, "evidence is stored with its texts in ASCII");
                    return written;
                }
            }
        }
        let (used, failed) = taken.rows_of(batch);
        let secret = used.first().map(|(_, row, _)| row.secret_id.to_string());
        let usage = used.first().map(|(_, row, _)| row.usage).or(failed.first().map(|it| usage(it.counter)));
        self.set_aside.fetch_add(1, Ordering::Relaxed);
        tracing::error!(%error, secret, "evidence that the database refuses is set aside");
        if let Some(usage) = &usage {
            taken.recorded.note_refused(usage);
        }
        taken.pass(batch);
        Ok(())
    }

    async fn note_recorded(
        &self,
        recorded: &mut Recorded,
        until: Timestamp,
        still: Option<(Timestamp, Timestamp)>,
        is_asked: bool,
    ) -> Result<(), Error> {
        let Some(before) = recorded.until else { return Ok(()) };
        let refused = recorded.refused;
        let is_due = is_asked || recorded.in_doubt || refused.is_some() || still.is_some();
        if !is_due && until.since(before) < NOTED_EVERY {
            return Ok(());
        }
        let unknown = if recorded.in_doubt { Some((before, until)) } else { still };
        let gap = unknown.map(|(from, to)| EvidenceGap {
            began_at: from.min(still.map_or(from, |(from, _)| from)),
            ended_at: to,
            kind: GapKind::Unknown,
        });
        let set_aside = refused.map(|(began_at, ended_at)| {
            // A gap that lasts no time would not be one.
            let ended_at = ended_at.after(Duration::from_micros(1));
            EvidenceGap { began_at, ended_at, kind: GapKind::Refused }
        });
        self.write(async |tx, _| {
            for gap in set_aside.iter().chain(&gap) {
                tx.insert_evidence_gap(gap).await?;
            }
            // Without a lease there is nothing to record, and others need not ask.
            if self.lease.holds() {
                tx.evidence_recorded(&self.own.id, until, true).await?;
            }
            Ok(())
        })
        .await?;
        (recorded.until, recorded.is_due, recorded.in_doubt) = (Some(until), false, false);
        recorded.refused = None;
        let mut alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        alive.still = alive.still.filter(|newer| Some(*newer) != still);
        Ok(())
    }

    /// Returns the rows to store for the counts: one row per secret, stored source and kind of refusal, with the
    /// indexes of the counts in it.
    pub(crate) fn rows(&self, sources: &[SourceCount]) -> Vec<EvidenceRow> {
        let mut merged: BTreeMap<Kept<'_>, (Counter, Vec<usize>)> = BTreeMap::new();
        for (at, count) in sources.iter().enumerate() {
            let source = UsageSource {
                ip: count.ip.map(|ip| self.addresses.kept(ip)).unwrap_or_default(),
                user_agent: text::shown(&count.user_agent),
                instance: text::shown(&count.instance),
                gathered: count.gathered,
            };
            let (counter, places) = merged
                .entry((count.refused_by.as_ref(), &count.secret, source))
                .or_insert_with(|| (count.counter, Vec::new()));
            if !places.is_empty() {
                counter.merge(count.counter);
            }
            places.push(at);
        }
        let merged = merged.into_iter().map(|((refused_by, secret, source), (counter, places))| {
            let (secret_id, longest_pause) = (secret.clone(), counter.longest_pause);
            let row = UsageRow { secret_id, source, usage: usage(counter), longest_pause };
            (refused_by.cloned(), row, places)
        });
        merged.collect()
    }

    /// Removes the evidence from memory, and remembers when each secret was last used until that is stored.
    pub(crate) fn drain_evidence(&self) -> (Vec<SourceCount>, Vec<FailureCount>) {
        let mut unflushed = self.unflushed();
        let drained = self.authority.evidence().drain();
        for source in &drained.0 {
            let last = unflushed.entry(source.secret.clone()).or_default();
            last.tried = last.tried.max(Some(source.counter.last));
            if source.refused_by.is_none() {
                last.used = last.used.max(Some(source.counter.last));
            }
        }
        drained
    }

    pub(crate) fn unflushed(&self) -> MutexGuard<'_, HashMap<SecretId, Unflushed>> {
        self.unflushed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the last unstored use of a secret. Together with the stored use it is exact, without waiting for a
    /// flush.
    pub(crate) fn unflushed_use(&self, secret: &SecretId) -> Option<Timestamp> {
        let unflushed = self.unflushed();
        unflushed.get(secret).and_then(|last| last.used).max(self.authority.evidence().last_use(secret))
    }

    /// Whether no secret of the registration has ever been used. `false` if evidence since its creation may be missing, or
    /// while another node can accept its secrets.
    pub(crate) async fn is_unused(&self, tx: &mut Tx, registration: &Registration) -> Result<bool, Error> {
        // Not waited for: a flush waits for the lock that this transaction holds.
        let Ok(recorded) = self.flush.try_lock() else { return Ok(false) };
        let stood_still = self.alive.lock().unwrap_or_else(PoisonError::into_inner).still.is_some();
        if !recorded.is_complete() || stood_still {
            return Ok(false);
        }
        if tx.recorders().await?.iter().any(|it| is_another(it, &self.own.id) && it.is_recording) {
            return Ok(false);
        }
        // A server that is stopped in order has stored everything, and issues nothing until its next start.
        let is_loss = |gap: &EvidenceGap| gap.kind != GapKind::Stopped;
        let gaps = tx.evidence_gaps(registration.created_at, MAX_LOOKED_AT).await?;
        let page = PageStart { after: None, limit: MAX_LOOKED_AT };
        let secrets = tx.secrets(&registration.id, &page).await?;
        let is_used =
            |secret: &Secret| secret.usage.is_some() || self.unflushed_use(&secret.rule.id).is_some();
        let are_all = [gaps.len(), secrets.len()].iter().all(|count| (*count as i64) < MAX_LOOKED_AT);
        Ok(are_all && !gaps.iter().any(is_loss) && !secrets.iter().any(is_used))
    }

    /// Returns the last unflushed time at which a secret was used or refused.
    pub(crate) fn unflushed_try(&self, secret: &SecretId) -> Option<Timestamp> {
        let unflushed = self.unflushed();
        unflushed.get(secret).and_then(|last| last.tried).max(self.authority.evidence().last_try(secret))
    }
}

/// What the process does that closes the rows of stopped recorders.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Service {
    /// It begins to serve.
    Begins,
    /// It has served for a while.
    GoesOn,
}

fn is_another(recorder: &Recorder, own: &NodeId) -> bool {
    recorder.node.as_ref() != Some(own)
}

/// Whether a process may have accepted secrets of which nobody knows, and does so no more.
fn has_stopped(recorder: &Recorder, now: Timestamp) -> bool {
    recorder.is_recording && recorder.lease_until.is_none_or(|until| until <= now)
}

/// Records the gaps that processes have left which record no more: those that did not store what they saw, and the time in
/// which nothing was served.
async fn close_recorders(tx: &mut Tx, own: &NodeId, service: Service, now: Timestamp) -> Result<(), Error> {
    let others: Vec<Recorder> = tx.recorders().await?.into_iter().filter(|it| is_another(it, own)).collect();
    // Leases end by the clock of the database, which can be behind the time of what is stored.
    let lease_now = tx.clock().await?.unwrap_or(now);
    let is_served =
        service == Service::GoesOn || others.iter().any(|it| it.is_recording && !has_stopped(it, lease_now));
    for it in others.iter().filter(|it| !it.is_recording || has_stopped(it, lease_now)) {
        // What it saw is missing at least for a moment, whatever the clock of the database says.
        let least = it.recorded_until.after(Duration::from_micros(1));
        let of_lease = it.lease_until.filter(|_| is_served);
        let ended_at = of_lease.map_or(now, |until| until.min(now).max(least));
        let gap = |kind| EvidenceGap { began_at: it.recorded_until, ended_at, kind };
        let gap = match it.is_recording {
            true => Some(gap(GapKind::Killed)),
            // Others served meanwhile.
            false if is_served => None,
            false => Some(gap(GapKind::Stopped)),
        };
        if let Some(gap) = gap.filter(|gap| gap.began_at < gap.ended_at) {
            tx.insert_evidence_gap(&gap).await?;
        }
        tx.forget_recorder(it.node.as_ref()).await?;
    }
    Ok(())
}

/// Returns the row with its texts in ASCII; `None` if they already are.
fn in_ascii(row: &UsageRow) -> Option<UsageRow> {
    let is_ascii = row.source.user_agent.is_ascii() && row.source.instance.is_ascii();
    (!is_ascii).then(|| {
        let mut row = row.clone();
        row.source.user_agent = text::in_ascii(&row.source.user_agent);
        row.source.instance = text::in_ascii(&row.source.instance);
        row
    })
}
