//! Brings what ends into the journal: before the reply, or as soon as the journal can be written again.

use crate::{
    error::Error,
    history::{
        journal::{Beside, Journal},
        judge::Common,
        lines::{Found, Line},
        seals::is_about_data_key,
    },
    node::state::Node,
};
use crossfade_core::{Code, Problem};
use crossfade_store::{Purpose, Tx};
use std::{sync::atomic::Ordering, time::Duration};
use tokio::time::{Instant, sleep};

/// Number of ends that are copied to the journal at once.
const COPIED_AT_ONCE: i64 = 500;
/// How long a command waits until the server beside it has noted what the command has ended, and how often it looks.
const NOTED_BY_SERVER_WITHIN: Duration = Duration::from_secs(10);
const LOOKED_EVERY: Duration = Duration::from_millis(100);
/// Texts for a change that was refused, and for one that was stored.
const REFUSED: &str = "Nothing was changed.";
const STORED: &str = "The change was stored. Read the current state before you retry.";

/// What must be in the journal before the reply to a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Awaited {
    Nothing,
    /// Everything up to this end.
    Synced(i64),
    /// Everything up to this end, unless the journal cannot be written: the change ended nothing.
    Tried(i64),
    /// Everything up to this end, noted by this command or by the server beside it.
    Beside(i64),
}

impl Node {
    /// Notes what a transaction ends. Refuses an end that the journal cannot take.
    pub(crate) async fn note_ends(&self, tx: &mut Tx) -> Result<Awaited, Error> {
        let Some(journal) = &self.journal else { return self.note_ends_beside(tx).await };
        if tx.narrows() {
            if let Some(error) = journal.failing() {
                return Err(unwritable(&error, REFUSED));
            }
            if !tx.is_noting() {
                return Err(unwritable("it is not in use after the release of a quarantine yet", REFUSED));
            }
        }
        let before = tx.last_end();
        let end = tx.note_ends().await?;
        journal.noted_up_to(end);
        Ok(match tx.narrows() || tx.confirms_ends() {
            true => Awaited::Synced(end),
            false if end > before => Awaited::Tried(end),
            false => Awaited::Nothing,
        })
    }

    async fn note_ends_beside(&self, tx: &mut Tx) -> Result<Awaited, Error> {
        let before = tx.last_end();
        let end = tx.note_ends().await?;
        if end == before {
            return Ok(Awaited::Nothing);
        }
        self.is_unnoted.store(self.beside.is_none(), Ordering::SeqCst);
        Ok(Awaited::Beside(end))
    }

    /// Waits until the journal contains what a change must have in it.
    pub(crate) async fn await_journal(&self, awaited: Awaited) -> Result<(), Error> {
        match (awaited, &self.journal) {
            (Awaited::Synced(end), _) => self.sync_journal(end).await,
            (Awaited::Beside(end), _) => self.await_server(end).await,
            (Awaited::Tried(end), Some(journal)) if journal.failing().is_none() => {
                if let Err(error) = self.sync_journal(end).await {
                    tracing::warn!(%error, "the journal gets a change that ended nothing later");
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Waits until a journal contains every end up to `end` of a command. If no server uses the journal, notes them.
    async fn await_server(&self, end: i64) -> Result<(), Error> {
        let Some(journal) = &self.beside else { return Ok(()) };
        let begun = Instant::now();
        loop {
            let looked = self.look_beside(journal, end).await;
            // Another command may note its own ends now, and a server must be able to start.
            journal.close().await;
            match looked {
                Ok(true) => return Ok(()),
                Ok(false) if begun.elapsed() < NOTED_BY_SERVER_WITHIN => sleep(LOOKED_EVERY).await,
                Ok(false) => return Err(not_noted("the server did not write it within 10 s")),
                Err(error) if error.problem.code == Code::OutcomeUnknown => return Err(error),
                // The change itself is stored, so the error of a read must not say that nothing was.
                Err(_) => return Err(not_noted("the database does not answer")),
            }
        }
    }

    /// Whether the journal contains every end up to `end`. Notes them if no server uses the journal.
    async fn look_beside(&self, journal: &Journal, end: i64) -> Result<bool, Error> {
        let (found, is_served) = match journal.read_beside().await {
            Ok(Beside::Locked(found)) => (found, false),
            Ok(Beside::Served(found)) => (found, true),
            Err(error) => return Err(not_noted(&error.problem.detail)),
        };
        let history = self.db.read_for::<_, Error>(Purpose::Feed, async |tx| Ok(tx.history().await?)).await?;
        let contents = match found {
            Found::Whole(contents) if history.journal_id() == Some(&contents.id) => contents,
            // A server that is writing, or is about to adopt the journal.
            _ if is_served => return Ok(false),
            _ => return Err(not_noted("the file is not the journal that this database was used with")),
        };
        let common = self.compare(&history, &contents).await?;
        if !matches!(common, Common::Same | Common::Numbered) {
            return Err(not_noted("the journal belongs to another copy of this database"));
        }
        if contents.last < end && !is_served {
            journal.go_on_after(contents.last);
            self.copy_ends(journal, end).await?;
            return Ok(true);
        }
        Ok(contents.last >= end)
    }

    /// Whether this command has ended something and knows no journal.
    pub(crate) fn is_unnoted(&self) -> bool {
        self.is_unnoted.load(Ordering::SeqCst)
    }

    /// Waits until every end that was stored is in the journal.
    pub(crate) async fn confirm_ends(&self) -> Result<(), Error> {
        match &self.journal {
            Some(journal) if journal.is_behind() => self.sync_journal(self.last_end().await?).await,
            _ => Ok(()),
        }
    }

    async fn last_end(&self) -> Result<i64, Error> {
        let read = async |tx: &mut Tx| Ok::<_, Error>(tx.history().await?.end_seq);
        self.db.read_for(Purpose::Feed, read).await
    }

    /// Waits until every end up to `end` is synced to the journal.
    async fn sync_journal(&self, end: i64) -> Result<(), Error> {
        let Some(journal) = &self.journal else { return Ok(()) };
        if !journal.rests() && journal.synced() >= end {
            return Ok(());
        }
        let _turn = journal.turn.lock().await;
        // Whoever had the turn may have begun to use it, or have stopped.
        match journal.rests() {
            true => Err(unwritable("it is not in use", STORED)),
            false => self.copy_ends(journal, end).await,
        }
    }

    pub(super) async fn copy_ends(&self, journal: &Journal, end: i64) -> Result<(), Error> {
        while journal.synced() < end {
            let synced = journal.synced();
            let read = self.db.read_for::<_, Error>(Purpose::Feed, async |tx| {
                Ok((tx.ends(synced, COPIED_AT_ONCE).await?, tx.history().await?))
            });
            let (rows, stored) = read.await.map_err(unread)?;
            let last = rows.last().map_or(end, |row| row.seq);
            let mut lines = Vec::with_capacity(rows.len() + 1);
            // Ends that the database has forgotten, or never had since its restore.
            match rows.first() {
                Some(first) if first.seq > synced + 1 => {
                    lines.push(Line::Gap { up_to: first.seq - 1, release: None, hash: None })
                }
                // A failover has lost it: a gap would say that it was noted.
                None if stored.end_seq < end => return Err(lost()),
                None => {
                    let hash = stored.end_hash.filter(|_| stored.end_seq == end);
                    lines.push(Line::Gap { up_to: end, release: None, hash })
                }
                Some(_) => {}
            }
            lines.extend(rows.into_iter().map(Line::from));
            let is_sealed_again = lines.iter().any(is_about_data_key);
            journal.append(lines, self.clock.now()).await.map_err(|error| unwritable(&error, STORED))?;
            journal.go_on_after(last);
            if is_sealed_again {
                journal.remove_old_seals(self.clock.now()).await;
            }
        }
        Ok(())
    }

    /// Writes that the journal is in use while that is not known to be in it. Ends that failed are written again, but
    /// nothing else would show that the journal can be written.
    async fn mark_journal(&self, journal: &Journal) -> Result<(), Error> {
        if journal.failing().is_none() {
            return Ok(());
        }
        let _turn = journal.turn.lock().await;
        let marked = journal.append(vec![Line::InUse], self.clock.now()).await;
        marked.map_err(|error| unwritable(&error, REFUSED))
    }

    /// Notes what other nodes have ended, before this one says that it has applied it. The journal of the node that ended it
    /// has it in any case.
    pub(crate) async fn note_ends_of_others(&self) {
        let Some(journal) = self.journal.as_ref().filter(|journal| !journal.rests()) else { return };
        let noted = async {
            let end = self.last_end().await?;
            if journal.synced() < end { self.sync_journal(end).await } else { Ok(()) }
        };
        if let Err(error) = noted.await {
            tracing::warn!(%error, "cannot note in the journal what another node has ended");
        }
    }

    /// Notes ends that are stored and not in the journal yet, and adopts the journal after a release.
    pub(crate) async fn tend_journal(&self) {
        let tended = async {
            let releases = self.releases.load(Ordering::SeqCst);
            if self.is_released() {
                let settled = self.settle_history().await;
                if let Some(journal) = &self.journal {
                    // Until then nothing can end.
                    journal.note(settled.as_ref().err().map(ToString::to_string));
                }
                settled?;
                self.settled.fetch_max(releases, Ordering::SeqCst);
            }
            match &self.journal {
                Some(journal) if !journal.rests() => {
                    self.sync_journal(self.last_end().await?).await?;
                    self.mark_journal(journal).await
                }
                _ => Ok(()),
            }
        };
        if let Err(error) = tended.await {
            tracing::warn!(%error, "cannot bring the journal up to date");
        }
    }
}

/// Returns the error of a command whose change is stored, and not in the journal.
fn not_noted(why: &str) -> Error {
    let text = format!(
        "The change was stored, but it is not in the journal yet: {}. Do not repeat the command. A server with this \
        journal writes it when it runs.",
        why.trim_end_matches('.')
    );
    Problem::new(Code::OutcomeUnknown, text).into()
}

/// Returns the error of a change that is stored, when its ends cannot be read for the journal.
fn unread(error: Error) -> Error {
    let text = format!("The database does not answer, so the journal may lack what ended. {STORED}");
    Error { source: Some(Box::new(error)), ..Problem::new(Code::OutcomeUnknown, text).into() }
}

/// Returns the error of a change whose end is not in the database any more.
fn lost() -> Error {
    let text = "The database was replaced before the end was noted in the journal, so the change may be lost. Read the \
        current state before you retry.";
    Problem::new(Code::OutcomeUnknown, text).into()
}

pub(super) fn unwritable(error: &str, what: &str) -> Error {
    let (code, advice) = match what.starts_with("Nothing") {
        true => (Code::Unavailable, " Correct the file or its disk, then try again."),
        false => (Code::OutcomeUnknown, ""),
    };
    let text = format!("The journal cannot be written. {what}{advice}");
    Error { source: Some(error.to_owned().into()), ..Problem::new(code, text).into() }
}
