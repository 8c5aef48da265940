//! Sends mail from its rows, at least once and under one Message-ID. A mail server that is slow or down holds up
//! nothing: its messages wait in the database.

use super::letter::letter;
use crate::{app::App, error::Error, frame::act::message_id};
use crossfade_core::{
    TimeZone, Timestamp,
    audit::Actor,
    messages::{AbandonedAs, Channel, Class, is_in_time, retry_after},
};
use crossfade_outbound::{Failure, LONGEST_ATTEMPT, Mail, Mailer};
use crossfade_store::{Delivery, Tx};
use futures_util::{TryStreamExt, stream};
use std::{
    collections::{BTreeSet, VecDeque},
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::mpsc;

/// Pause between two looks for messages that are due.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Number of messages leased at a time. Few, because whatever is queued meanwhile in the same lane waits for them.
const LEASED_AT_ONCE: i64 = 32;
/// Maximum number of results stored at a time.
const STORED_AT_ONCE: usize = 50;
/// How long a message is leased. Afterwards it is sent again if its result is not stored.
const LEASE: Duration = Duration::from_secs(MARGIN.as_secs() + 600);
/// How long before the end of the lease no attempt begins: longer than any attempt takes, with the storing of its result.
const MARGIN: Duration = Duration::from_secs(LONGEST_ATTEMPT.as_secs() + 60);
/// How long a message may wait before people are told that mail is late.
pub(crate) const SENT_WITHIN: Duration = Duration::from_secs(15 * 60);
/// How long a delivery to a webhook may wait before people are told that webhooks are late.
pub(crate) const DELIVERED_WITHIN: Duration = Duration::from_secs(3600);
/// Maximum pause while the mail server cannot be used.
const MAX_PAUSE: Duration = Duration::from_secs(300);
/// How long the end of a process waits for messages that are under way, while it still serves.
const ENDS_WITHIN: Duration = Duration::from_secs(8);

/// What this process knows of its mail.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MailState {
    /// Messages sent since the start.
    pub sent: u64,
    /// Attempts since the start that failed.
    pub failed: u64,
    /// Messages since the start that the mail server refused for good.
    pub refused: u64,
    /// Why the mail server could not be used at the last attempt; `None` if it could.
    pub failing: Option<String>,
    /// Since when it could not be used; `None` if it could.
    pub failing_since: Option<Timestamp>,
    /// Since when nothing is sent, because the database is in another place than before; `None` if it is sent.
    pub held_since: Option<Timestamp>,
}

/// Messages with places of their own, so that no digest and no slow recipient of other mail delays a wake.
#[derive(Clone, Copy)]
enum Lane {
    Wakes,
    Others,
}

impl Lane {
    fn classes(self) -> RangeInclusive<Class> {
        match self {
            Self::Wakes => Class::Wake..=Class::Wake,
            Self::Others => Class::Today..=Class::Digest,
        }
    }

    /// Returns the number of messages sent at the same time: each has a place, however long its recipient takes.
    fn places(self) -> usize {
        match self {
            Self::Wakes => 3,
            Self::Others => 5,
        }
    }
}

/// The mail of this process.
pub(crate) struct Sending {
    pub(crate) mailer: Option<Arc<Mailer>>,
    state: Mutex<MailState>,
    server: Mutex<Server>,
    /// Held while a test or the worker sends what is due: one for each lane.
    turns: [tokio::sync::Mutex<()>; 2],
    /// Held by the one message that finds out whether the server works.
    trial: tokio::sync::Mutex<()>,
    /// Beginning of the leases of this process, also of those to webhooks.
    process: String,
    /// Since when the mail server fails, as it is stored; `None` if that is not known.
    stored_failing: Mutex<Option<Option<Timestamp>>>,
    /// Leases whose commit is unconfirmed, so that messages may wait under them although nobody sends them.
    doubtful: Mutex<Vec<Arc<str>>>,
}

/// What the last attempts said of the mail server.
#[derive(Default)]
struct Server {
    /// Whether it admitted the last attempt. Until then it is tried with one message at a time, because many refused
    /// passwords at once lock an account.
    works: bool,
    /// Number of times in a row that it could not be used.
    failures: i64,
    /// Time of the clock until which it is not tried.
    rests_until: Duration,
    /// Number of failures since the start. What was begun before the last one says nothing of the server since then.
    generation: u64,
}

/// A leased message.
struct Leased {
    delivery: Delivery,
    /// Time zone of its recipient.
    zone: TimeZone,
    lease: Arc<str>,
    until: Timestamp,
}

/// What became of a leased message.
enum Outcome {
    Sent,
    /// Tried again after this time.
    Again(Duration, String),
    Abandoned(AbandonedAs, Option<String>),
    /// There was no attempt.
    Left,
}

/// A message, its lease, and what became of it.
struct Done {
    id: String,
    lease: Arc<str>,
    outcome: Outcome,
}

/// Whether a lease lasts longer than an attempt that begins now, so that nobody else sends the message meanwhile.
fn outlasts_attempt(until: Timestamp, now: Timestamp) -> bool {
    now < until.before(MARGIN)
}

impl Sending {
    /// `process` tells this process from others.
    pub(crate) fn new(mailer: Option<Arc<Mailer>>, process: String) -> Self {
        let (state, server, turns, trial, stored_failing, doubtful) = Default::default();
        Self { mailer, state, server, turns, trial, process, stored_failing, doubtful }
    }

    fn doubtful(&self) -> MutexGuard<'_, Vec<Arc<str>>> {
        self.doubtful.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what is known, also if mail is not set up.
    pub(crate) fn state(&self) -> MailState {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn stored_failing(&self) -> MutexGuard<'_, Option<Option<Timestamp>>> {
        self.stored_failing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns since when the mail server fails, if that is to be stored.
    fn unstored_failing(&self) -> Option<Option<Timestamp>> {
        let failing = Some(self.state().failing_since);
        failing.filter(|_| *self.stored_failing() != failing)
    }

    /// Closes the connections.
    pub(crate) async fn close(&self) {
        if let Some(mailer) = &self.mailer {
            mailer.close().await;
        }
    }

    fn note(&self, work: impl FnOnce(&mut MailState)) {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the server is not tried at `now`, because it could not be used.
    fn rests(&self, now: Duration) -> bool {
        let server = self.server();
        !server.works && now < server.rests_until
    }

    /// Notes since when nothing is sent from here, and logs a change.
    pub(crate) fn note_held(&self, since: Option<Timestamp>) {
        self.note(|state| {
            match (state.held_since, since) {
                (None, Some(since)) => tracing::error!(
                    %since,
                    "no mail is sent and nothing to webhooks, because the database is in another place than before; an Owner can release it"
                ),
                (Some(_), None) => tracing::info!("messages are sent from this place"),
                _ => {}
            }
            state.held_since = since;
        });
    }

    /// Whether this process knows that nothing is sent from here.
    pub(super) fn is_held(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).held_since.is_some()
    }

    /// Returns the generation in which an attempt begins now.
    pub(super) fn generation(&self) -> u64 {
        self.server().generation
    }

    /// Notes that an attempt of this generation was taken, so the others need not wait.
    pub(super) fn note_works(&self, now: Duration, generation: u64) {
        self.note_server(None, now, generation);
    }

    /// Notes whether the mail server could be used by an attempt that was begun in this generation, and logs a change.
    fn note_server(&self, failing: Option<(&str, Timestamp)>, now: Duration, generation: u64) {
        let mut server = self.server();
        if server.generation != generation {
            return;
        }
        match failing {
            None => *server = Server { works: true, generation, ..Server::default() },
            Some(_) => {
                let failures = server.failures + 1;
                let rests_until = now + retry_after(failures).min(MAX_PAUSE);
                *server = Server { works: false, failures, rests_until, generation: generation + 1 };
            }
        }
        drop(server);
        self.note(|state| match (&state.failing, failing) {
            (None, Some((error, at))) => {
                tracing::error!(error, "cannot send mail; the messages wait in the database");
                (state.failing, state.failing_since) = (Some(error.to_owned()), Some(at));
            }
            (Some(_), None) => {
                tracing::info!("mail is sent again");
                (state.failing, state.failing_since) = (None, None);
            }
            (Some(_), Some((error, _))) => state.failing = Some(error.to_owned()),
            (None, None) => {}
        });
    }
}

impl App {
    /// Returns what this process knows of its mail; `None` if mail is not set up.
    pub fn mail(&self) -> Option<MailState> {
        self.sending.mailer.as_ref().map(|_| self.sending.state())
    }

    /// Returns how many messages wait to be mailed and since when the oldest of them does, if that is too long.
    pub async fn late_mail(&self) -> Result<Option<(u64, Timestamp)>, Error> {
        self.late(Channel::Mail, SENT_WITHIN).await
    }

    /// Returns how many deliveries to webhooks wait and since when the oldest of them does, if that is too long.
    pub async fn late_webhooks(&self) -> Result<Option<(u64, Timestamp)>, Error> {
        self.late(Channel::Webhook, DELIVERED_WITHIN).await
    }

    async fn late(&self, channel: Channel, within: Duration) -> Result<Option<(u64, Timestamp)>, Error> {
        let queue = self.read(async |tx| Ok(tx.delivery_queue(channel).await?)).await?;
        let oldest = queue.oldest.filter(|oldest| *oldest < self.clock.now().before(within));
        Ok(oldest.map(|oldest| (queue.queued.unsigned_abs(), oldest)))
    }

    /// Returns since when nothing is sent by mail or to webhooks, because the database is in another place than before;
    /// `None` if it is sent.
    pub fn sending_held_since(&self) -> Option<Timestamp> {
        self.sending.state().held_since
    }

    /// Sends mail and webhooks until the process ends. What is under way then gets a while to end. What takes longer is
    /// sent again after the next start, which takes over its lease.
    pub(crate) async fn send_messages(&self) {
        let sent = async {
            while let Err(error) = self.release_leases_of_others().await {
                tracing::warn!(%error, "cannot take over the messages of the last process");
                if !self.pause_sending(LOOK_EVERY).await {
                    return;
                }
            }
            tokio::join!(self.send_mail(), self.send_webhooks());
        };
        let cut = async {
            while self.pause_sending(Duration::MAX).await {}
            tokio::time::sleep(ENDS_WITHIN).await;
        };
        tokio::select! {
            () = sent => {}
            () = cut => tracing::warn!("messages that take too long are cut off, and are sent again after the next start"),
        }
    }

    /// Lets no further message be sent, because the process ends.
    pub(crate) fn end_sending(&self) {
        self.ends_sending.send_replace(true);
    }

    /// Whether the process ends, so that no further message is sent.
    pub(super) fn sending_ends(&self) -> bool {
        *self.ends_sending.borrow()
    }

    /// Whether a leased message may begin: not at the end of the process, in a quarantine, while the lock is lost, or if
    /// another node leads, because that one sends it.
    pub(super) fn may_begin(&self) -> bool {
        !self.sending_ends()
            && self.node.quarantine().is_none()
            && self.node.holds_lock()
            && self.node.leads()
    }

    /// Waits, at most until the process ends. Returns whether it goes on.
    pub(super) async fn pause_sending(&self, pause: Duration) -> bool {
        let mut ends = self.ends_sending.subscribe();
        tokio::time::timeout(pause, ends.wait_for(|ends| *ends)).await.is_err()
    }

    /// Waits until the process ends.
    pub(super) async fn end_of_sending(&self) {
        let mut ends = self.ends_sending.subscribe();
        // An error: the process has ended.
        let _ = ends.wait_for(|ends| *ends).await;
    }

    async fn send_mail(&self) {
        // It waits for more, so it has no error.
        let _ = self.send_leased(true).await;
    }

    /// Ends the leases of processes that have ended, so that their messages are not waited for.
    pub async fn release_leases_of_others(&self) -> Result<(), Error> {
        let process = &self.sending.process;
        let released = self.node.transact(async |tx, now| {
            let at = tx.clock().await?.unwrap_or(now);
            Ok(tx.release_leases_of_others(process, at).await?)
        });
        released.await
    }

    /// Returns the name of a new lease.
    pub(super) fn new_lease(&self) -> Arc<str> {
        format!("{}-{}", self.sending.process, message_id(self.random.as_ref())).into()
    }

    /// Remembers a lease whose transaction failed, because its commit may have been stored all the same.
    pub(super) fn note_doubtful<T>(&self, lease: &Arc<str>, leased: Result<T, Error>) -> Result<T, Error> {
        leased.inspect_err(|_| self.sending.doubtful().push(lease.clone()))
    }

    /// Releases leases whose commit is unconfirmed, before the next ones.
    pub(super) async fn release_doubtful_leases(&self) -> Result<(), Error> {
        let doubtful = self.sending.doubtful().clone();
        if doubtful.is_empty() {
            return Ok(());
        }
        self.node
            .transact(async |tx, _| {
                for lease in &doubtful {
                    tx.release_lease(lease).await?;
                }
                Ok(())
            })
            .await?;
        self.sending.doubtful().retain(|lease| !doubtful.contains(lease));
        Ok(())
    }

    /// Sends every message that is due. Returns whether there were any. A database in quarantine sends nothing.
    pub async fn send_due_messages(&self) -> Result<bool, Error> {
        self.send_leased(false).await
    }

    /// Sends what is due in both lanes. Returns whether there was anything.
    async fn send_leased(&self, waits: bool) -> Result<bool, Error> {
        let Some(mailer) = &self.sending.mailer else { return Ok(false) };
        let (wakes, others) = tokio::join!(
            self.send_mail_lane(mailer, Lane::Wakes, waits),
            self.send_mail_lane(mailer, Lane::Others, waits)
        );
        Ok(wakes? | others?)
    }

    /// Sends what is due, each message in a place of its own, and stores what becomes of it. `waits` for more until the
    /// process ends, also after errors.
    async fn send_mail_lane(&self, mailer: &Mailer, lane: Lane, waits: bool) -> Result<bool, Error> {
        let _turn = self.sending.turns[lane as usize].lock().await;
        let (done, mut results) = mpsc::unbounded_channel();
        let attempts = async move {
            let due = stream::try_unfold(VecDeque::new(), |leased| self.next_due(leased, lane, waits));
            due.try_for_each_concurrent(lane.places(), async |leased| {
                let outcome = self.attempt(mailer, &leased).await;
                let _ = done.send(Done { id: leased.delivery.id, lease: leased.lease, outcome });
                Ok(())
            })
            .await
        };
        // Beside the attempts, so that no dialog waits for the database.
        let stores = async {
            let (mut group, mut any) = (Vec::new(), false);
            while results.recv_many(&mut group, STORED_AT_ONCE).await > 0 {
                any = true;
                while let Err(error) = self.store_results(&group).await {
                    self.log_or_fail(error, waits)?;
                    // At the end nothing waits for the database: the next process sends these messages again.
                    if self.sending_ends() {
                        break;
                    }
                    self.pause_sending(LOOK_EVERY).await;
                }
                group.clear();
            }
            Ok(any)
        };
        let (attempted, stored) = tokio::join!(attempts, stores);
        attempted.and(stored)
    }

    /// Returns the next message that is due, and the others that are leased. Without any, it `waits`, or returns `None`.
    async fn next_due(
        &self,
        mut leased: VecDeque<Leased>,
        lane: Lane,
        waits: bool,
    ) -> Result<Option<(Leased, VecDeque<Leased>)>, Error> {
        loop {
            if let Some(next) = leased.pop_front() {
                return Ok(Some((next, leased)));
            }
            if self.sending_ends() {
                return Ok(None);
            }
            leased = match self.lease_due(lane).await {
                Err(error) => self.log_or_fail(error, waits).map(|()| VecDeque::new())?,
                Ok(due) if due.is_empty() && !waits => return Ok(None),
                Ok(due) => due,
            };
            if leased.is_empty() {
                self.pause_sending(LOOK_EVERY).await;
            }
        }
    }

    fn log_or_fail(&self, error: Error, logs: bool) -> Result<(), Error> {
        if !logs {
            return Err(error);
        }
        tracing::warn!(%error, "cannot read or store which messages were sent");
        Ok(())
    }

    /// Leases messages that are due: one, if the server is not known to work.
    async fn lease_due(&self, lane: Lane) -> Result<VecDeque<Leased>, Error> {
        let none = VecDeque::new();
        if !self.node.leads() || self.node.quarantine().is_some() {
            return Ok(none);
        }
        if self.sending.rests(self.clock.elapsed()) && !self.is_said_to_work().await? {
            return Ok(none);
        }
        self.release_doubtful_leases().await?;
        // Usually none is due, and then the lock is not needed.
        let now = self.clock.now();
        let has_due = async |tx: &mut Tx| Ok(tx.has_due_mail(now, lane.classes()).await?);
        if self.is_held_here().await? || !self.node.read(has_due).await? {
            return Ok(none);
        }
        let limit = if self.sending.server().works { LEASED_AT_ONCE } else { 1 };
        let lease = self.new_lease();
        let _turn = self.node.background_turn().await;
        let leased = self.change_as(Actor::machine("serve"), async |act| {
            if act.tx.quarantine().await?.is_some() || !self.may_send_from_here(act).await? {
                return Ok(none);
            }
            let until = act.now.after(LEASE);
            let leased = act.tx.lease_mail(&lease, (act.now, until), lane.classes(), limit).await?;
            let recipients: BTreeSet<&str> = leased.iter().map(|it| it.recipient.as_str()).collect();
            let zones = act.tx.time_zones_at(&recipients.into_iter().collect::<Vec<_>>()).await?;
            let with_zone = leased.into_iter().map(|delivery| {
                let zone = zones.get(&delivery.recipient);
                let zone = zone.map_or(TimeZone::UTC, |name| TimeZone::from_stored(name));
                Leased { delivery, zone, lease: lease.clone(), until }
            });
            Ok(with_zone.collect())
        });
        let leased = leased.await;
        self.note_doubtful(&lease, leased)
    }

    /// Whether a local command had a message accepted by the mail server that fails here: it deletes what is stored about the
    /// failure. The next message finds out whether it works here, too.
    async fn is_said_to_work(&self) -> Result<bool, Error> {
        let generation = self.sending.generation();
        let is_stored = matches!(*self.sending.stored_failing(), Some(Some(_)));
        if !is_stored || self.node.read(async |tx| Ok(tx.mail_failing_since().await?)).await?.is_some() {
            return Ok(false);
        }
        *self.sending.stored_failing() = Some(None);
        self.sending.note_works(self.clock.elapsed(), generation);
        Ok(true)
    }

    /// Stores that the mail server works, and lets each message that waits for its next attempt be tried now.
    pub(super) async fn retry_mail(&self) -> Result<(), Error> {
        self.node
            .transact(async |tx, now| {
                tx.set_mail_failing(None).await?;
                tx.retry_mail(now).await?;
                Ok(())
            })
            .await
    }

    /// Sends a message, and counts what becomes of it.
    async fn attempt(&self, mailer: &Mailer, leased: &Leased) -> Outcome {
        let outcome = self.try_delivery(mailer, leased).await;
        self.sending.note(|state| match &outcome {
            Outcome::Sent => state.sent += 1,
            Outcome::Again(..) => state.failed += 1,
            Outcome::Abandoned(AbandonedAs::Refused, _) => state.refused += 1,
            Outcome::Abandoned(..) | Outcome::Left => {}
        });
        outcome
    }

    async fn try_delivery(&self, mailer: &Mailer, leased: &Leased) -> Outcome {
        let Leased { delivery, zone, until, .. } = leased;
        let mut trial = Some(self.sending.trial.lock().await);
        let (works, generation) = {
            let server = self.sending.server();
            (server.works, server.generation)
        };
        if works {
            trial = None;
        } else {
            // A kept connection would not find out whether the password is still accepted.
            mailer.close().await;
        }
        let now = self.clock.now();
        if !is_in_time(delivery.not_after, now) {
            return Outcome::Abandoned(AbandonedAs::Late, None);
        }
        let rests = self.sending.rests(self.clock.elapsed());
        if !outlasts_attempt(*until, now) || rests || !self.may_begin() {
            return Outcome::Left;
        }
        let pause = retry_after(delivery.attempts);
        let message = match &delivery.message {
            Ok(message) => message,
            Err(error) => return Outcome::Abandoned(AbandonedAs::Unreadable, Some(error.to_string())),
        };
        let Some(mut letter) = letter(message, &delivery.recipient, &self.admin_url, zone) else {
            let said = format!("the facts of {} cannot be read", message.event.as_str());
            return Outcome::Abandoned(AbandonedAs::Unreadable, Some(said));
        };
        if letter.has_link {
            match self.link_in(&message.id).await {
                Ok(Some(url)) => letter.url = url,
                // It was used, replaced or ended since.
                Ok(None) => return Outcome::Abandoned(AbandonedAs::Over, None),
                Err(error) => return Outcome::Again(pause, error.to_string()),
            }
        }
        let mail =
            Mail { id: &delivery.id, to: &delivery.recipient, at: message.created_at, letter: &letter };
        // From then on only the recipient is slow, and the others begin.
        let admitted = || {
            if trial.take().is_some() {
                self.sending.server().works = true;
            }
        };
        match mailer.send(&mail, admitted).await {
            Ok(()) => {
                self.sending.note_works(self.clock.elapsed(), generation);
                Outcome::Sent
            }
            Err(Failure::Server(said)) => {
                let failing = Some((said.as_str(), self.clock.now()));
                self.sending.note_server(failing, self.clock.elapsed(), generation);
                Outcome::Again(pause.min(MAX_PAUSE), said)
            }
            Err(Failure::Deferred(said)) => Outcome::Again(pause, said),
            Err(Failure::Refused(said)) => {
                let (event, client) =
                    (message.event.as_str(), message.client_id.as_ref().map(ToString::to_string));
                tracing::warn!(
                    delivery = delivery.id,
                    event,
                    client,
                    account = message.details["user_id"].as_str(),
                    error = said,
                    "a message was refused and is not sent"
                );
                Outcome::Abandoned(AbandonedAs::Refused, Some(said))
            }
        }
    }

    /// Stores what became of messages. What a newer lease or a quarantine has taken over stays as it is.
    async fn store_results(&self, results: &[Done]) -> Result<(), Error> {
        let _turn = self.node.background_turn().await;
        let failing = self.sending.unstored_failing();
        let stored = self
            .node
            .transact(async |tx, now| {
                if let Some(since) = failing {
                    tx.set_mail_failing(since).await?;
                }
                for Done { id, lease, outcome } in results {
                    match outcome {
                        Outcome::Sent => tx.delivery_sent(id, lease, now).await?,
                        Outcome::Again(pause, said) => {
                            tx.delivery_failed(id, lease, (now.after(*pause), said)).await?
                        }
                        Outcome::Abandoned(reason, said) => {
                            tx.abandon_delivery(id, lease, (now, *reason, said.as_deref())).await?
                        }
                        Outcome::Left => tx.release_delivery(id, lease).await?,
                    };
                }
                Ok(())
            })
            .await;
        if let (Ok(()), Some(_)) = (&stored, failing) {
            *self.sending.stored_failing() = failing;
        }
        stored
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::earlier::Place;
    use crossfade_core::ended::Cause;
    use crossfade_store::QuarantineRow;

    #[tokio::test]
    async fn no_message_begins_without_the_lock_in_a_quarantine_or_at_the_end() {
        let place = Place::new("sending");
        let app = place.open().await;
        assert!(app.may_begin());
        app.node.hold.set_lost(true);
        assert!(!app.may_begin(), "another server may send it");
        app.node.hold.set_lost(false);
        assert!(app.may_begin());
        let since = Timestamp::from_seconds(1_795_525_500);
        app.node.set_quarantine(Some(QuarantineRow { cause: Cause::Restored, since, data_until: since }));
        assert!(!app.may_begin(), "the database was restored");
        app.node.set_quarantine(None);
        assert!(app.may_begin());
        app.end_sending();
        assert!(!app.may_begin() && !app.pause_sending(Duration::MAX).await, "the process ends");
    }

    #[test]
    fn no_attempt_begins_that_the_lease_may_not_outlast() {
        let (until, micro) = (Timestamp::from_seconds(1_795_525_500), Duration::from_micros(1));
        let latest = until.before(MARGIN);
        assert!(outlasts_attempt(until, latest.before(micro)));
        assert!(!outlasts_attempt(until, latest));
        assert!(!outlasts_attempt(until, latest.after(micro)) && !outlasts_attempt(until, until));
        assert!(MARGIN > LONGEST_ATTEMPT && LEASE > MARGIN);
    }

    #[test]
    fn an_attempt_from_before_a_failure_ends_no_rest() {
        let sending = Sending::new(None, String::new());
        let at = Duration::from_secs;
        sending.note_server(None, at(0), 0);
        // Three were begun at the same time: one fails, one fails with it, and one is taken.
        let refused = |seconds| Some(("refused", Timestamp::from_seconds(seconds)));
        sending.note_server(refused(1), at(1), 0);
        sending.note_server(refused(2), at(2), 0);
        sending.note_server(None, at(3), 0);
        assert!(sending.rests(at(60)) && !sending.rests(at(61)));
        assert_eq!(sending.state().failing.as_deref(), Some("refused"));
        // The next trial fails, too, and the rest after it is longer.
        sending.note_server(refused(61), at(61), 1);
        assert_eq!(sending.state().failing_since, Some(Timestamp::from_seconds(1)));
        assert!(sending.rests(at(180)) && !sending.rests(at(181)));
        sending.note_server(None, at(181), 2);
        assert!(sending.server().works && sending.state() == MailState::default());
    }
}
