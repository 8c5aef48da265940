//! Sends mail from its rows, at least once and under one Message-ID. A mail server that is slow or down holds up
//! nothing: its messages wait in the database.

use super::letter::letter;
use crate::{app::App, error::Error, frame::act::message_id};
use crossfade_core::{
    TimeZone, Timestamp,
    audit::Actor,
    messages::{AbandonedAs, is_in_time, retry_after},
};
use crossfade_outbound::{Failure, Mail, Mailer};
use crossfade_store::Delivery;
use futures_util::{StreamExt, stream};
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Pause between two looks for messages that are due.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Number of messages leased at a time.
const LEASED_AT_ONCE: i64 = 100;
/// Number of messages sent at the same time.
const SENT_AT_ONCE: usize = 8;
/// Number of results stored at a time.
const STORED_AT_ONCE: usize = 50;
/// How long a message is leased. Afterwards it is sent again if its result is not stored.
const LEASE: Duration = Duration::from_secs(1800);
/// How long before the end of the lease no attempt begins: longer than any attempt takes.
const MARGIN: Duration = Duration::from_secs(1500);
/// Maximum pause while the mail server cannot be used.
const MAX_PAUSE: Duration = Duration::from_secs(300);

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
    /// Since when nothing is sent, because the database is in another place than before; `None` if it is sent.
    pub held_since: Option<Timestamp>,
}

/// The mail of this process.
pub(crate) struct Sending {
    pub(crate) mailer: Option<Arc<Mailer>>,
    state: Mutex<MailState>,
    server: Mutex<Server>,
    /// Held while messages are sent, so that one batch follows the other.
    turn: tokio::sync::Mutex<()>,
}

/// What the last attempts said of the mail server.
#[derive(Default)]
struct Server {
    /// Whether the last attempt reached it and was admitted. Until then it is tried with one message at a time, because many
    /// refused passwords at once lock an account.
    works: bool,
    /// Number of times in a row that it could not be used.
    failures: i64,
    /// Time of the clock until which it is not tried.
    rests_until: Duration,
}

/// What became of an attempt.
enum Outcome {
    Sent,
    /// Tried again after this time.
    Again(Duration, String),
    Abandoned(AbandonedAs, Option<String>),
    /// The lease ends too soon for an attempt.
    Left,
}

impl Sending {
    pub(crate) fn new(mailer: Option<Arc<Mailer>>) -> Self {
        Self {
            mailer,
            state: Mutex::default(),
            server: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// Returns what is known; `None` if mail is not set up.
    pub(crate) fn state(&self) -> Option<MailState> {
        self.mailer.as_ref().map(|_| self.state.lock().unwrap_or_else(PoisonError::into_inner).clone())
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

    /// Returns how many messages may be leased now.
    fn limit(&self, now: Duration) -> i64 {
        let server = self.server();
        match server.works {
            true => LEASED_AT_ONCE,
            false if now < server.rests_until => 0,
            false => 1,
        }
    }

    /// Notes since when nothing is sent from here, and logs a change.
    pub(crate) fn note_held(&self, since: Option<Timestamp>) {
        self.note(|state| {
            match (state.held_since, since) {
                (None, Some(since)) => tracing::error!(
                    %since,
                    "no mail is sent, because the database is in another place than before; an Owner can release it"
                ),
                (Some(_), None) => tracing::info!("mail is sent from this place"),
                _ => {}
            }
            state.held_since = since;
        });
    }

    /// Whether this process knows that nothing is sent from here.
    pub(super) fn is_held(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).held_since.is_some()
    }

    /// Notes whether the mail server can be used, and logs a change.
    fn note_server(&self, failing: Option<&str>, now: Duration) {
        match (&mut *self.server(), failing) {
            (server, None) => *server = Server { works: true, ..Server::default() },
            (server, Some(_)) => {
                // What was begun at the same time has failed with it.
                if server.works || now >= server.rests_until {
                    server.failures += 1;
                }
                server.works = false;
                server.rests_until = now + retry_after(server.failures).min(MAX_PAUSE);
            }
        }
        self.note(|state| match (&state.failing, failing) {
            (None, Some(error)) => {
                tracing::error!(error, "cannot send mail; the messages wait in the database");
                state.failing = Some(error.to_owned());
            }
            (Some(_), None) => {
                tracing::info!("mail is sent again");
                state.failing = None;
            }
            (Some(_), Some(error)) => state.failing = Some(error.to_owned()),
            (None, None) => {}
        });
    }
}

impl App {
    /// Returns what this process knows of its mail; `None` if mail is not set up.
    pub fn mail(&self) -> Option<MailState> {
        self.sending.state()
    }

    /// Sends mail and webhooks until the process ends.
    pub(crate) async fn send_messages(&self) {
        while let Err(error) = self.release_leases().await {
            tracing::warn!(%error, "cannot take over the messages of the last process");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        tokio::join!(self.send_mail(), self.send_webhooks());
    }

    async fn send_mail(&self) {
        if self.sending.mailer.is_none() {
            return;
        }
        loop {
            match self.send_due_messages().await {
                Ok(true) => {}
                Ok(false) => tokio::time::sleep(LOOK_EVERY).await,
                Err(error) => {
                    tracing::warn!(%error, "cannot read or store which messages were sent");
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            }
        }
    }

    /// Ends the leases of the last process. There is none beside this one, because it holds the lock of the database.
    pub async fn release_leases(&self) -> Result<(), Error> {
        self.node.transact(async |tx, _| Ok(tx.release_leases().await?)).await
    }

    /// Sends messages that are due, at most as many as are leased at a time. Returns whether there may be more. A
    /// database in quarantine sends nothing.
    pub async fn send_due_messages(&self) -> Result<bool, Error> {
        let Some(mailer) = &self.sending.mailer else { return Ok(false) };
        let _turn = self.sending.turn.lock().await;
        if self.node.quarantine().is_some() {
            return Ok(false);
        }
        let limit = self.sending.limit(self.clock.elapsed());
        if limit == 0 {
            return Ok(false);
        }
        let now = self.clock.now();
        if self.is_held_here().await? {
            return Ok(false);
        }
        // Usually none is due, and then the lock is not needed.
        if !self.node.read(async |tx| Ok(tx.has_due_mail(now).await?)).await? {
            return Ok(false);
        }
        let lease = message_id(self.random.as_ref());
        let (until, leased, zones) = self.lease(&lease, limit).await?;
        let is_full = leased.len() as i64 == limit;
        // The first failure of the server ends the attempts of the others.
        let down = Mutex::new(None);
        let attempts = stream::iter(leased).map(|delivery| {
            let zone =
                zones.get(&delivery.recipient).map_or(TimeZone::UTC, |name| TimeZone::from_stored(name));
            self.attempt(mailer, (delivery, zone), until, &down)
        });
        let mut done = attempts.buffer_unordered(SENT_AT_ONCE).ready_chunks(STORED_AT_ONCE);
        while let Some(results) = done.next().await {
            self.store_results(&lease, &results).await?;
        }
        Ok(is_full)
    }

    /// Leases messages that are due. Returns until when, the messages, and the names of their recipients' time zones.
    async fn lease(
        &self,
        lease: &str,
        limit: i64,
    ) -> Result<(Timestamp, Vec<Delivery>, HashMap<String, String>), Error> {
        let _turn = self.node.background_turn().await;
        self.change_as(Actor::machine("serve"), async |act| {
            let until = act.now.after(LEASE);
            let may_send = act.tx.quarantine().await?.is_none() && self.may_send_from_here(act).await?;
            let leased = match may_send {
                true => act.tx.lease_mail(lease, (act.now, until), limit).await?,
                false => Vec::new(),
            };
            let recipients: BTreeSet<&str> = leased.iter().map(|it| it.recipient.as_str()).collect();
            let zones = act.tx.time_zones_at(&recipients.into_iter().collect::<Vec<_>>()).await?;
            Ok((until, leased, zones))
        })
        .await
    }

    async fn attempt(
        &self,
        mailer: &Mailer,
        (delivery, zone): (Delivery, TimeZone),
        until: Timestamp,
        down: &Mutex<Option<String>>,
    ) -> (String, Outcome) {
        let outcome = self.try_delivery(mailer, (&delivery, &zone), until, down).await;
        (delivery.id, outcome)
    }

    async fn try_delivery(
        &self,
        mailer: &Mailer,
        (delivery, zone): (&Delivery, &TimeZone),
        until: Timestamp,
        down: &Mutex<Option<String>>,
    ) -> Outcome {
        let now = self.clock.now();
        if !is_in_time(delivery.not_after, now) {
            return Outcome::Abandoned(AbandonedAs::Late, None);
        }
        if now >= until.before(MARGIN) {
            return Outcome::Left;
        }
        let pause = retry_after(delivery.attempts);
        if let Some(said) = &*down.lock().unwrap_or_else(PoisonError::into_inner) {
            return Outcome::Again(pause.min(MAX_PAUSE), said.clone());
        }
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
                Ok(None) => return Outcome::Abandoned(AbandonedAs::Late, None),
                Err(error) => return Outcome::Again(pause, error.to_string()),
            }
        }
        let mail =
            Mail { id: &delivery.id, to: &delivery.recipient, at: message.created_at, letter: &letter };
        match mailer.send(&mail).await {
            Ok(()) => {
                self.sending.note_server(None, self.clock.elapsed());
                Outcome::Sent
            }
            Err(Failure::Server(said)) => {
                self.sending.note_server(Some(&said), self.clock.elapsed());
                *down.lock().unwrap_or_else(PoisonError::into_inner) = Some(said.clone());
                Outcome::Again(pause.min(MAX_PAUSE), said)
            }
            Err(Failure::Deferred(said)) => Outcome::Again(pause, said),
            Err(Failure::Refused(said)) => {
                tracing::warn!(delivery = delivery.id, error = said, "a message was refused and is not sent");
                Outcome::Abandoned(AbandonedAs::Refused, Some(said))
            }
        }
    }

    /// Stores what became of attempts. What a newer lease or a quarantine has taken over stays as it is.
    async fn store_results(&self, lease: &str, results: &[(String, Outcome)]) -> Result<(), Error> {
        self.sending.note(|state| {
            for (_, outcome) in results {
                match outcome {
                    Outcome::Sent => state.sent += 1,
                    Outcome::Again(..) => state.failed += 1,
                    Outcome::Abandoned(AbandonedAs::Refused, _) => state.refused += 1,
                    Outcome::Abandoned(..) | Outcome::Left => {}
                }
            }
        });
        let _turn = self.node.background_turn().await;
        self.node
            .transact(async |tx, now| {
                for (id, outcome) in results {
                    match outcome {
                        Outcome::Sent => tx.delivery_sent(id, lease, now).await?,
                        Outcome::Again(pause, said) => {
                            tx.delivery_failed(id, lease, (now.after(*pause), said)).await?
                        }
                        Outcome::Abandoned(reason, said) => {
                            tx.abandon_delivery(id, lease, (now, *reason, said.as_deref())).await?
                        }
                        Outcome::Left => true,
                    };
                }
                Ok(())
            })
            .await
    }
}
