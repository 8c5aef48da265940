//! Settles the history of the database before anything is decided from it.

use crate::{
    environments::environment::add_signing_key,
    error::Error,
    frame::{act::Act, entry::About},
    history::{
        journal::Journal,
        judge::{Common, JournalState, Plan, judge},
        lines::{Contents, Found, Line},
        noting::unwritable,
    },
    node::state::Node,
    people::hand_over::hand_over_ended,
};
use crossfade_core::{
    Code, Problem, RegistrationId, SecretId, Timestamp,
    audit::{Actor, Event},
    base62,
    ended::{Cause, End, EndHash},
    environment::Slug,
    messages::AbandonedAs,
};
use crossfade_store::{Applied, ChangeKind, Client, History, Purpose, QuarantineRow, StoreError, Tx};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{PoisonError, atomic::Ordering},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// Number of attempts to settle a history that commands change meanwhile.
const ATTEMPTS: u32 = 5;

/// How long another node is looked for that lives, and how often: it asks for a longer lease meanwhile, whatever the length
/// of its leases is.
const LIVES_WITHIN: Duration = Duration::from_secs(35);
const LOOKED_EVERY: Duration = Duration::from_millis(200);

/// Whether the history was settled as it was judged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Settled {
    Done,
    /// A command has changed the history since it was judged, so nothing was stored.
    Changed,
}

impl Settled {
    fn of(is_stored: bool) -> Self {
        if is_stored { Self::Done } else { Self::Changed }
    }
}

impl Node {
    /// Compares the database with the journal and the server it was last used with. Applies ends that it lacks, or
    /// begins a quarantine.
    pub(crate) async fn settle_history(&self) -> Result<(), Error> {
        let _turn = match &self.journal {
            Some(journal) => Some(journal.turn.lock().await),
            None => None,
        };
        for _ in 0..ATTEMPTS {
            if self.judge_and_settle().await? == Settled::Done {
                return Ok(());
            }
        }
        let text = "Other commands change the database all the time, so its history cannot be compared with the journal. \
            Nothing was changed. Wait for these commands, then try again.";
        Err(Problem::new(Code::Unavailable, text).into())
    }

    async fn judge_and_settle(&self) -> Result<Settled, Error> {
        let history = self.db.read_for::<_, Error>(Purpose::Feed, async |tx| Ok(tx.history().await?)).await?;
        let found = match &self.journal {
            Some(journal) => Some(journal.read().await?),
            None => None,
        };
        let (state, contents) = match found {
            None => (JournalState::Off, None),
            Some(Found::Nothing | Found::Foreign) => (JournalState::Missing, None),
            Some(Found::Damaged { line }) => {
                tracing::error!(line, "a line of the journal was changed, or a line before it removed");
                (JournalState::Damaged, None)
            }
            Some(Found::Whole(contents)) => {
                let Contents { id, after, last, ends, is_in_use, releases, .. } = &*contents;
                let common = self.compare(&history, &contents).await?;
                let used = releases.iter().filter(|release| last > &release.up_to);
                let state = JournalState::Whole {
                    id: id.clone(),
                    after: *after,
                    last: *last,
                    is_bare: ends.is_empty() && after == last && !is_in_use,
                    used_after: used.map(|release| release.id.clone()).collect(),
                    common,
                };
                (state, Some(contents))
            }
        };
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let system_id = server.map(|server| server.id.system);
        let plan = judge(&history, &state, system_id);
        if !matches!(plan, Plan::Stay | Plan::Continue) {
            tracing::warn!(?plan, end_seq = history.end_seq, "the history of the database is settled");
        }
        if let Plan::Quarantine(cause) = plan
            && self.is_joining()
            && self.another_node_lives().await?
        {
            return self.join(&history, cause).await;
        }
        let is_damaged = state == JournalState::Damaged;
        match (plan, contents) {
            (Plan::Continue, Some(contents)) => self.go_on(&history, *contents, system_id).await,
            (Plan::Apply | Plan::ApplyAll | Plan::ApplySome, Some(contents)) => {
                self.apply_ends(&history, *contents, plan, system_id).await
            }
            (Plan::Adopt, contents) => self.adopt(&history, contents, is_damaged, system_id).await,
            (Plan::Quarantine(cause), _) => {
                self.rest_journal();
                let begun = self.settle(&history, async |tx, now| start_quarantine(tx, now, cause).await);
                Ok(Settled::of(begun.await?.is_some()))
            }
            _ => {
                self.rest_journal();
                self.stay(&history, system_id).await
            }
        }
    }

    /// Compares the ends of the database and of the journal at the last one that both should contain.
    pub(super) async fn compare(&self, history: &History, contents: &Contents) -> Result<Common, Error> {
        let at = history.end_seq.min(contents.last);
        let noted = contents.hashes.get(&at).copied();
        if at == history.end_seq {
            return Ok(Common::of(Some(history.end_hash), noted));
        }
        let compared = self.db.read_for::<_, Error>(Purpose::Feed, async |tx| {
            // A journal that was begun or adopted here has a hash of its own for the end before, and the next end
            // continues from that.
            if let Some(hash) = noted
                && tx.ends_continue(at, hash).await?
            {
                return Ok(Common::Same);
            }
            Ok(Common::of(tx.end_hash(at).await?, noted))
        });
        compared.await
    }

    fn rest_journal(&self) {
        if let Some(journal) = &self.journal {
            journal.rest();
        }
    }

    /// Remembers the server that the database is on. A release without a journal is over: a journal that is configured
    /// later and has ends cannot be compared with the database.
    async fn stay(&self, history: &History, system_id: Option<i64>) -> Result<Settled, Error> {
        let is_known = system_id.is_none() || system_id == history.system_id;
        let is_released = history.release().is_some();
        if history.quarantine.is_some() || (is_known && !is_released) {
            return Ok(Settled::Done);
        }
        let (journal, system_id) = (history.journal_id(), system_id.or(history.system_id));
        let stored = self.settle(history, async |tx, _| Ok(tx.set_history(journal, system_id).await?)).await;
        match stored {
            Ok(stored) => Ok(Settled::of(stored.is_some())),
            // A database that stores no changes is served all the same.
            Err(error) => {
                tracing::warn!(%error, "cannot remember the database server");
                Ok(Settled::Done)
            }
        }
    }

    /// Goes on with a database that lacks nothing.
    async fn go_on(
        &self,
        history: &History,
        contents: Contents,
        system_id: Option<i64>,
    ) -> Result<Settled, Error> {
        let journal = self.journal()?;
        let is_settled = history.quarantine.is_none() && history.is_noting && history.system_id == system_id;
        let mut end_seq = history.end_seq;
        // Earlier versions noted ends without a hash, and no data keys.
        if !is_settled || history.end_hash.is_none() {
            let stored = self.settle(history, async |tx, now| {
                if let Some(quarantine) = history.quarantine {
                    tx.end_quarantine().await?;
                    tx.append_change(&ChangeKind::Everything).await?;
                    audit(tx, now, &Event::QuarantineEnded { cause: quarantine.cause }).await?;
                }
                tx.set_noting(true).await?;
                tx.set_history(Some(&contents.id), system_id.or(history.system_id)).await?;
                // They may have been created or sealed again in a quarantine, in which nothing was noted.
                let lacking = contents.lacking_data_keys(&tx.data_keys().await?);
                tx.note_data_keys(lacking);
                Ok(tx.note_ends().await?)
            });
            match stored.await {
                Ok(Some(end)) => end_seq = end,
                Ok(None) => return Ok(Settled::Changed),
                Err(error) if history.quarantine.is_none() && error.fault.is_some() => {
                    tracing::warn!(%error, "cannot store that ends are noted in the journal");
                }
                Err(error) => return Err(error),
            }
        }
        // Ends that were stored, and not noted before the last server ended.
        self.continue_journal(journal, contents.last, end_seq).await;
        if !contents.is_in_use {
            mark(journal, self.clock.now()).await;
        }
        Ok(Settled::Done)
    }

    /// Uses the journal from now on, and brings it up to date.
    async fn continue_journal(&self, journal: &Journal, last: i64, end_seq: i64) {
        journal.go_on_after(last);
        if let Err(error) = self.copy_ends(journal, end_seq).await {
            tracing::warn!(%error, "cannot note ends in the journal");
        }
        journal.remove_old_seals(self.clock.now()).await;
    }

    /// Applies the ends that the database lacks.
    async fn apply_ends(
        &self,
        history: &History,
        contents: Contents,
        plan: Plan,
        system_id: Option<i64>,
    ) -> Result<Settled, Error> {
        let journal = self.journal()?;
        let after = if plan == Plan::ApplyAll { i64::MIN } else { history.end_seq };
        let lacking = || contents.ends.iter().filter(|(seq, _)| *seq > after).map(|(_, end)| end);
        // A clock that was put back must not make valid again what has ended by time.
        if let Some(at) = lacking().filter_map(End::at).max() {
            self.clock.raise(at);
        }
        let settled = self.settle(history, async |tx, now| {
            // What is applied is not noted again.
            tx.set_noting(false).await?;
            let (mut applied, mut missing, mut conflicting) = (0, 0, 0);
            let mut gone = Vec::new();
            let before = unended(tx, lacking()).await?;
            for end in lacking() {
                if let End::Account { id, .. } = end {
                    gone.extend(tx.user(id).await?);
                }
                match tx.apply_end(end).await? {
                    Applied::Subject => applied += 1,
                    Applied::Nothing => missing += 1,
                    Applied::Conflict => conflicting += 1,
                }
            }
            tx.end_entries().await?;
            let environments = lacking().filter_map(|end| match end {
                End::SigningKey { environment, .. } => Some(environment),
                _ => None,
            });
            for environment in environments.collect::<BTreeSet<_>>() {
                self.replace_lost_signing_key(tx, now, environment).await?;
            }
            // The journal went on after this copy, and so did the messages that wait in it.
            let abandoned = tx.abandon_deliveries(now, AbandonedAs::Restored).await?;
            let event = Event::JournalApplied {
                first_seq: history.end_seq + 1,
                last_seq: contents.last,
                applied,
                missing: missing + conflicting,
                abandoned,
            };
            audit(tx, now, &event).await?;
            let is_complete = plan != Plan::ApplySome && conflicting == 0;
            let cause = if conflicting > 0 { Cause::AnotherJournal } else { Cause::JournalIncomplete };
            match (is_complete, history.quarantine) {
                (true, Some(quarantine)) => {
                    tx.end_quarantine().await?;
                    audit(tx, now, &Event::QuarantineEnded { cause: quarantine.cause }).await?;
                }
                (false, None) => start_quarantine(tx, now, cause).await?,
                _ => {}
            }
            if is_complete {
                tx.set_noting(true).await?;
                tx.continue_ends_from(contents.last, contents.hashes.get(&contents.last).copied());
                tx.set_history(Some(&contents.id), system_id.or(history.system_id)).await?;
                let lacking = contents.lacking_data_keys(&tx.data_keys().await?);
                tx.note_data_keys(lacking);
            }
            // Queued last: a quarantine that begins here sends nothing of what was queued before.
            let mut act = Act { mails: self.mails, ..Act::new(tx, now, Actor::machine("serve")) };
            for account in &gone {
                hand_over_ended(&mut act, self.random.as_ref(), account).await?;
            }
            for (client, environment, secret) in ended_since(act.tx, before).await? {
                act.resolve_ended(self.random.as_ref(), &client, &environment, &secret).await?;
            }
            tx.append_change(&ChangeKind::Everything).await?;
            Ok(if is_complete { Some(tx.note_ends().await?) } else { None })
        });
        match settled.await? {
            Some(Some(end)) => self.continue_journal(journal, contents.last, end).await,
            Some(None) => journal.rest(),
            None => return Ok(Settled::Changed),
        }
        Ok(Settled::Done)
    }

    async fn replace_lost_signing_key(&self, tx: &mut Tx, now: Timestamp, slug: &Slug) -> Result<(), Error> {
        let keys = tx.read_signing_keys(slug).await?;
        if keys.iter().flatten().any(|key| key.times.removed_at.is_none()) {
            return Ok(());
        }
        let environment = match tx.environment(slug).await {
            Ok(Some(environment)) => environment,
            // Deleted, or reported when the tables are loaded.
            Ok(None) | Err(StoreError::Corrupt { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let mut act = Act::new(tx, now, Actor::machine("serve"));
        add_signing_key(&mut act, &self.vault, &environment, now).await?;
        let event =
            Event::SigningKeyRotated { alg: environment.signing_alg, immediate: true, compromised: false };
        act.audit(&event, About::environment(slug)).await
    }

    /// Uses the journal from now on. It may be new, or have been used before a release.
    async fn adopt(
        &self,
        history: &History,
        contents: Option<Box<Contents>>,
        is_damaged: bool,
        system_id: Option<i64>,
    ) -> Result<Settled, Error> {
        let (journal, now) = (self.journal()?, self.clock.now());
        // Copies that adopt a journal each go on by themselves, and are told apart by this.
        let hash = EndHash::after(history.end_hash, history.end_seq, &self.random_id());
        let (id, last) = match &contents {
            Some(contents) => {
                // One further, so that a copy from before the time without the journal is behind it.
                let up_to = contents.last.max(history.end_seq) + 1;
                let release = history.release().map(str::to_owned);
                let line = Line::Gap { up_to, release, hash: Some(hash) };
                let gap = journal.append(vec![line], now).await;
                gap.map_err(|error| unwritable(&error, "Nothing was changed."))?;
                (contents.id.clone(), up_to)
            }
            None => {
                let (id, after) = (self.random_id(), (history.end_seq, hash));
                journal.begin(&id, after, history.release(), now, is_damaged).await?;
                (id, history.end_seq)
            }
        };
        let stored = self.settle(history, async |tx, _| {
            tx.set_noting(true).await?;
            tx.continue_ends_from(last, Some(hash));
            tx.set_history(Some(&id), system_id.or(history.system_id)).await?;
            // Their former seals must not stay in the journal.
            if let Some(contents) = &contents {
                let resealed = contents.resealed_data_keys(&tx.data_keys().await?);
                tx.note_data_keys(resealed);
            }
            Ok(tx.note_ends().await?)
        });
        let Some(end) = stored.await? else { return Ok(Settled::Changed) };
        self.continue_journal(journal, last, end).await;
        mark(journal, now).await;
        Ok(Settled::Done)
    }

    /// Whether this node has still to begin to use its journal: at its start, and after the release of a quarantine.
    fn is_joining(&self) -> bool {
        !self.has_started.load(Ordering::SeqCst) || self.is_released()
    }

    /// Whether a quarantine was released since this node settled the history.
    pub(super) fn is_released(&self) -> bool {
        self.releases.load(Ordering::SeqCst) > self.settled.load(Ordering::SeqCst)
    }

    /// Whether another node serves this very database: its lease gets longer while this one looks. A copy of the database
    /// names nodes, too, and none of their leases does.
    async fn another_node_lives(&self) -> Result<bool, Error> {
        let leases = async || {
            let read = self.db.read_for::<_, Error>(Purpose::Feed, async |tx| {
                let at = tx.clock().await?.unwrap_or(self.clock.now());
                Ok((tx.nodes().await?, at))
            });
            let (rows, at) = read.await?;
            let others = rows.into_iter().filter(|row| row.id != self.own.id && row.may_decide(at));
            Ok::<BTreeMap<_, _>, Error>(others.map(|row| (row.id, row.lease_until)).collect())
        };
        let (first, begun) = (leases().await?, Instant::now());
        if first.is_empty() {
            return Ok(false);
        }
        while begun.elapsed() < LIVES_WITHIN {
            sleep(LOOKED_EVERY).await;
            let now = leases().await?;
            if now.iter().any(|(id, until)| first.get(id).is_none_or(|before| before < until)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Begins a journal beside those of the other nodes, which contain the same ends. Never puts what they serve in
    /// quarantine because of a journal of this one.
    async fn join(&self, history: &History, cause: Cause) -> Result<Settled, Error> {
        let refused = |text: &str| Err(Problem::new(Code::Unavailable, text).into());
        let is_new = cause == Cause::JournalMissing;
        let (Some(id), Some(hash)) = (history.journal_id(), history.end_hash) else {
            return refused(
                "Other servers use this database, and it is not the one that this server's journal is about. Nothing \
                was changed. Check the database and the journal of this server.",
            );
        };
        let Some(journal) = &self.journal else {
            return refused(
                "Other servers of this database note what ends in a journal. Nothing was changed. Set \
                CROSSFADE_JOURNAL_FILE for this server, too.",
            );
        };
        if !is_new && !self.is_released() {
            return refused(
                "The journal of this server is damaged, or about another history than the database that other servers \
                use. Nothing was changed. Move the file away: this server then begins a new one.",
            );
        }
        let now = self.clock.now();
        journal.begin(id, (history.end_seq, hash), history.release(), now, !is_new).await?;
        self.continue_journal(journal, history.end_seq, history.end_seq).await;
        mark(journal, now).await;
        Ok(Settled::Done)
    }

    fn random_id(&self) -> String {
        let mut id = [0; 16];
        self.random.fill(&mut id);
        base62::encode_fixed(&id, 22)
    }

    /// Runs `work` in a transaction of its own, before this server may make other changes. Returns `None` and changes
    /// nothing if the history is not the one that was judged.
    pub(super) async fn settle<T>(
        &self,
        judged: &History,
        work: impl AsyncFnOnce(&mut Tx, Timestamp) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let written = self.db.write::<Option<T>, Error>(async |tx| {
            if tx.history().await? != *judged {
                return Ok(None);
            }
            if let Some(told) = tx.told(|| self.clock.ask()).await? {
                self.clock.calibrate(told.at, told.asked);
            }
            self.clock.raise(tx.highest_time());
            let now = self.clock.now();
            let done = work(tx, now).await;
            tx.stamp(now);
            done.map(Some)
        });
        Ok(written.await?.0)
    }

    fn journal(&self) -> Result<&Journal, Error> {
        self.journal.as_ref().ok_or_else(|| Error::internal("there is no journal"))
    }
}

/// Secrets of a registration whose end is not recorded, with the client and the environment.
type Unended = (Client, Slug, Vec<SecretId>);

/// Returns the secrets that ends can end, by registration. Nothing if there is no webhook that would be told.
async fn unended<'a>(
    tx: &mut Tx,
    ends: impl Iterator<Item = &'a End>,
) -> Result<BTreeMap<RegistrationId, Unended>, Error> {
    let mut found = BTreeMap::new();
    if !tx.has_webhooks().await? {
        return Ok(found);
    }
    for end in ends {
        let End::Registration(state) = end else { continue };
        if found.contains_key(&state.id) {
            continue;
        }
        match unended_of(tx, &state.id).await {
            Ok(of_this) => found.extend(of_this.map(|it| (state.id.clone(), it))),
            // What cannot be read keeps no end from being applied.
            Err(StoreError::Corrupt { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}

async fn unended_of(tx: &mut Tx, registration: &RegistrationId) -> Result<Option<Unended>, StoreError> {
    let Some(place) = tx.place_of_registration(registration).await? else { return Ok(None) };
    let Some(client) = tx.client(&place.client_id).await? else { return Ok(None) };
    let secrets = tx.unended_secrets(registration).await?.into_iter().map(|secret| secret.id).collect();
    Ok(Some((client, place.environment, secrets)))
}

/// Returns those of these secrets that have ended since.
async fn ended_since(
    tx: &mut Tx,
    before: BTreeMap<RegistrationId, Unended>,
) -> Result<Vec<(Client, Slug, SecretId)>, Error> {
    let mut ended = Vec::new();
    for (registration, (client, environment, secrets)) in before {
        let now = tx.unended_secrets(&registration).await?;
        let is_ended = |secret: &SecretId| now.iter().all(|it| it.id != *secret);
        ended
            .extend(secrets.into_iter().filter(is_ended).map(|it| (client.clone(), environment.clone(), it)));
    }
    Ok(ended)
}

/// Writes that a database has stored that it is used with this journal. A copy from before it is told apart by that.
async fn mark(journal: &Journal, now: Timestamp) {
    if let Err(error) = journal.append(vec![Line::InUse], now).await {
        tracing::warn!(error, "cannot note that the journal is in use");
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
