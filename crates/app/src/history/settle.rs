//! Settles the history of the database before anything is decided from it.

use crate::{
    error::Error,
    frame::{act::Act, entry::About},
    history::{
        journal::Journal,
        judge::{JournalState, Plan, judge},
        lines::{Contents, Found, Line},
    },
    node::state::Node,
};
use crossfade_core::{
    Code, Problem, Timestamp,
    audit::{Actor, Event},
    base62,
    ended::Cause,
};
use crossfade_store::{ChangeKind, History, Purpose, QuarantineRow, Tx};
use std::sync::{PoisonError, atomic::Ordering};

/// Number of ends that are copied to the journal at once.
const COPIED_AT_ONCE: i64 = 500;

impl Node {
    /// Compares the database with the journal and the server it was last used with. Applies ends that it lacks, or
    /// begins a quarantine.
    pub(crate) async fn settle_history(&self) -> Result<(), Error> {
        let _turn = match &self.journal {
            Some(journal) => Some(journal.turn.lock().await),
            None => None,
        };
        let history = self.db.read_for::<_, Error>(Purpose::Feed, async |tx| Ok(tx.history().await?)).await?;
        let found = self.journal.as_ref().map(Journal::read).transpose()?;
        let (state, contents) = match found {
            None => (JournalState::Off, None),
            Some(Found::Nothing | Found::Foreign) => (JournalState::Missing, None),
            Some(Found::Damaged { line }) => {
                tracing::error!(line, "a line of the journal was changed, or a line before it removed");
                (JournalState::Damaged, None)
            }
            Some(Found::Whole(contents)) => {
                let Contents { id, after, last, ends, .. } = &*contents;
                let is_bare = ends.is_empty() && after == last;
                let state = JournalState::Whole { id: id.clone(), after: *after, last: *last, is_bare };
                (state, Some(contents))
            }
        };
        let system_id = *self.system_id.lock().unwrap_or_else(PoisonError::into_inner);
        let plan = judge(&history, &state, system_id);
        if !matches!(plan, Plan::Stay | Plan::Continue) {
            tracing::warn!(?plan, end_seq = history.end_seq, "the history of the database is settled");
        }
        let is_damaged = state == JournalState::Damaged;
        match (plan, contents) {
            (Plan::Continue, Some(contents)) => self.go_on(&history, *contents, system_id).await,
            (Plan::Apply | Plan::ApplySome, Some(contents)) => {
                self.apply_ends(&history, *contents, plan == Plan::Apply, system_id).await
            }
            (Plan::Adopt, contents) => self.adopt(&history, contents, is_damaged, system_id).await,
            (Plan::Quarantine(cause), _) => {
                self.rest_journal();
                self.begin_quarantine(cause).await
            }
            _ => {
                self.rest_journal();
                self.stay(&history, system_id).await
            }
        }
    }

    fn rest_journal(&self) {
        if let Some(journal) = &self.journal {
            journal.rest();
        }
    }

    /// Remembers the server that the database is on. A release without a journal is over: a journal that is configured
    /// later and has ends cannot be compared with the database.
    async fn stay(&self, history: &History, system_id: Option<i64>) -> Result<(), Error> {
        let is_known = system_id.is_none() || system_id == history.system_id;
        let is_released = history.journal.as_deref() == Some("");
        if history.quarantine.is_some() || (is_known && !is_released) {
            return Ok(());
        }
        let (journal, system_id) =
            (history.journal.as_deref().filter(|id| !id.is_empty()), system_id.or(history.system_id));
        let stored = self.settle(async |tx, _| Ok(tx.set_history(journal, system_id).await?)).await;
        // A database that stores no changes is served all the same.
        if let Err(error) = stored {
            tracing::warn!(%error, "cannot remember the database server");
        }
        Ok(())
    }

    /// Goes on with a database that lacks nothing.
    async fn go_on(
        &self,
        history: &History,
        contents: Contents,
        system_id: Option<i64>,
    ) -> Result<(), Error> {
        let journal = self.journal()?;
        journal.go_on_after(contents.last);
        // Ends that were stored, and not noted before the last server ended.
        if let Err(error) = self.copy_ends(journal, history.end_seq).await {
            tracing::warn!(%error, "cannot note ends in the journal");
        }
        if history.quarantine.is_none() && history.is_noting && history.system_id == system_id {
            return Ok(());
        }
        let stored = self.settle(async |tx, now| {
            if let Some(quarantine) = history.quarantine {
                tx.end_quarantine().await?;
                tx.append_change(&ChangeKind::Everything).await?;
                audit(tx, now, &Event::QuarantineEnded { cause: quarantine.cause }).await?;
            }
            tx.set_noting(true).await?;
            Ok(tx.set_history(Some(&contents.id), system_id.or(history.system_id)).await?)
        });
        match stored.await {
            Err(error) if history.quarantine.is_none() && error.fault.is_some() => {
                tracing::warn!(%error, "cannot store that ends are noted in the journal");
                Ok(())
            }
            stored => stored,
        }
    }

    /// Applies the ends that the database lacks.
    async fn apply_ends(
        &self,
        history: &History,
        contents: Contents,
        is_complete: bool,
        system_id: Option<i64>,
    ) -> Result<(), Error> {
        let journal = self.journal()?;
        self.settle(async |tx, now| {
            tx.set_noting(is_complete).await?;
            let (mut applied, mut missing) = (0, 0);
            for (_, end) in contents.ends.iter().filter(|(seq, _)| *seq > history.end_seq) {
                match tx.apply_end(end).await? {
                    true => applied += 1,
                    false => missing += 1,
                }
            }
            tx.end_entries().await?;
            let event = Event::JournalApplied {
                first_seq: history.end_seq + 1,
                last_seq: contents.last,
                applied,
                missing,
            };
            audit(tx, now, &event).await?;
            match (is_complete, history.quarantine) {
                (true, Some(quarantine)) => {
                    tx.end_quarantine().await?;
                    audit(tx, now, &Event::QuarantineEnded { cause: quarantine.cause }).await?;
                }
                (false, None) => start_quarantine(tx, now, Cause::JournalIncomplete).await?,
                _ => {}
            }
            if is_complete {
                tx.continue_ends_from(contents.last);
                tx.set_history(Some(&contents.id), system_id.or(history.system_id)).await?;
            }
            Ok(tx.append_change(&ChangeKind::Everything).await?)
        })
        .await?;
        match is_complete {
            true => journal.go_on_after(contents.last),
            false => journal.rest(),
        }
        Ok(())
    }

    /// Uses the journal from now on. It may be new, or have been used before a release.
    async fn adopt(
        &self,
        history: &History,
        contents: Option<Box<Contents>>,
        is_damaged: bool,
        system_id: Option<i64>,
    ) -> Result<(), Error> {
        let (journal, now) = (self.journal()?, self.clock.now());
        let (id, last) = match contents {
            Some(contents) => {
                // One further, so that a copy from before the time without the journal is behind it.
                let up_to = contents.last.max(history.end_seq) + 1;
                let gap = journal.append(vec![Line::Gap { up_to }], now).await;
                gap.map_err(|error| unwritable(&error, "Nothing was changed."))?;
                (contents.id, up_to)
            }
            None => {
                let mut id = [0; 16];
                self.random.fill(&mut id);
                let id = base62::encode_fixed(&id, 22);
                journal.begin(&id, history.end_seq, now, is_damaged)?;
                (id, history.end_seq)
            }
        };
        self.settle(async |tx, _| {
            tx.set_noting(true).await?;
            tx.continue_ends_from(last);
            Ok(tx.set_history(Some(&id), system_id.or(history.system_id)).await?)
        })
        .await?;
        journal.go_on_after(last);
        Ok(())
    }

    async fn begin_quarantine(&self, cause: Cause) -> Result<(), Error> {
        self.settle(async |tx, now| start_quarantine(tx, now, cause).await).await
    }

    /// Runs `work` in a transaction of its own, before this server may make other changes.
    async fn settle<T>(
        &self,
        work: impl AsyncFnOnce(&mut Tx, Timestamp) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let written = self.db.write::<T, Error>(async |tx| {
            if let Some(told) = tx.told() {
                self.clock.calibrate(told);
            }
            self.clock.raise(tx.highest_time());
            let now = self.clock.now();
            let done = work(tx, now).await;
            tx.stamp(now);
            done
        });
        Ok(written.await?.0)
    }

    fn journal(&self) -> Result<&Journal, Error> {
        self.journal.as_ref().ok_or_else(|| Error::internal("there is no journal"))
    }

    /// Refuses a change that ends something while the journal cannot be written. Nothing else is refused.
    pub(crate) fn may_end(&self) -> Result<(), Error> {
        match self.journal.as_ref().and_then(Journal::failing) {
            Some(error) => Err(unwritable(&error, "Nothing was changed.")),
            None => Ok(()),
        }
    }

    /// Waits until every end up to `end` is synced to the journal.
    pub(crate) async fn sync_journal(&self, end: i64) -> Result<(), Error> {
        let Some(journal) = &self.journal else { return Ok(()) };
        if journal.synced() >= end {
            return Ok(());
        }
        let _turn = journal.turn.lock().await;
        self.copy_ends(journal, end).await
    }

    async fn copy_ends(&self, journal: &Journal, end: i64) -> Result<(), Error> {
        while journal.synced() < end {
            let synced = journal.synced();
            let read = self
                .db
                .read_for::<_, Error>(Purpose::Feed, async |tx| Ok(tx.ends(synced, COPIED_AT_ONCE).await?));
            let rows = read.await?;
            let last = rows.last().map_or(end, |(seq, _)| *seq);
            let mut lines = Vec::with_capacity(rows.len() + 1);
            // Ends that the database has forgotten: the journal was replaced by an older copy.
            match rows.first() {
                Some((first, _)) if *first > synced + 1 => lines.push(Line::Gap { up_to: first - 1 }),
                None => lines.push(Line::Gap { up_to: end }),
                Some(_) => {}
            }
            lines.extend(rows.into_iter().map(|(seq, end)| Line::End { seq, end }));
            let appended = journal.append(lines, self.clock.now()).await;
            appended.map_err(|error| {
                unwritable(&error, "The change was stored. Read the current state before you retry.")
            })?;
            journal.go_on_after(last);
        }
        Ok(())
    }

    /// Notes ends that are stored and not in the journal yet, and adopts the journal after a release.
    pub(crate) async fn tend_journal(&self) {
        let settled = match self.must_settle.swap(false, Ordering::SeqCst) {
            true => self.settle_history().await,
            false => Ok(()),
        };
        let tended = match settled {
            Err(error) => {
                self.must_settle.store(true, Ordering::SeqCst);
                Err(error)
            }
            Ok(()) if self.journal.is_none() => Ok(()),
            Ok(()) => {
                let read = async |tx: &mut Tx| Ok::<_, Error>(tx.history().await?.end_seq);
                match self.db.read_for(Purpose::Feed, read).await {
                    Ok(end) => self.sync_journal(end).await,
                    Err(error) => Err(error),
                }
            }
        };
        if let Err(error) = tended {
            tracing::warn!(%error, "cannot bring the journal up to date");
        }
    }
}

async fn start_quarantine(tx: &mut Tx, now: Timestamp, cause: Cause) -> Result<(), Error> {
    let data_until = tx.highest_time();
    tx.start_quarantine(&QuarantineRow { since: now, cause, data_until }).await?;
    tx.append_change(&ChangeKind::Everything).await?;
    audit(tx, now, &Event::QuarantineStarted { cause }).await
}

async fn audit(tx: &mut Tx, now: Timestamp, event: &Event) -> Result<(), Error> {
    Act::new(tx, now, Actor::machine("serve")).audit(event, About::default()).await
}

fn unwritable(error: &str, what: &str) -> Error {
    let (code, advice) = match what.starts_with("Nothing") {
        true => (Code::Unavailable, " Correct the file or its disk, then try again."),
        false => (Code::OutcomeUnknown, ""),
    };
    let text = format!("The journal cannot be written. {what}{advice}");
    Error { source: Some(error.to_owned().into()), ..Problem::new(code, text).into() }
}
