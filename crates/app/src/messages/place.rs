//! Where messages are sent from. A copy of the database with the settings of the original would mail its owners a second
//! time. So sending is held when the database is in another place than before, until somebody releases it.

use crate::{
    app::App,
    error::Error,
    frame::{
        act::Act,
        entry::About,
        idempotency::Repeatable,
        principal::Principal,
        request::{Input, Request},
        targets::Platform,
    },
};
use crossfade_core::{
    Code, Operation, Problem,
    api::{Mail, MailReleased, ReleaseMail},
    audit::{Actor, Event},
    messages::{AbandonedAs, Channel},
    sending_place::SendingPlace,
    text::Reason,
};
use crossfade_outbound::Mailer;
use crossfade_store::{SendingPlaceRow, Tx};
use std::{convert::Infallible, sync::PoisonError, time::Duration};

impl Repeatable for MailReleased {}

/// Pause before the place is stored again, if it could not be.
const RETRIED_EVERY: Duration = Duration::from_secs(1);

/// Reason in the trail of a hold that ends without anybody.
const BACK: &str = "The database is where it was before.";

impl App {
    /// Returns the place that this process would send from.
    fn own_place(&self) -> Result<SendingPlace, Error> {
        let server = self.node.server.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(self.db.sending_place(&self.public_url, server.as_ref())?)
    }

    /// Whether messages may be sent from here. The first place is remembered, and another one is held.
    pub(crate) async fn may_send_from_here(&self, act: &mut Act<'_>) -> Result<bool, Error> {
        let own = self.own_place()?;
        let held = match act.tx.sending_place().await? {
            None => {
                // What waits was queued by a program that knew no places. This may be a copy, whose original sends it.
                let until = act.now;
                let abandoned = act.tx.abandon_deliveries_until(act.now, until, AbandonedAs::Moved).await?;
                if abandoned > 0 {
                    tracing::warn!(
                        abandoned,
                        "messages of an earlier version are not sent, because another copy may send them"
                    );
                }
                act.tx.set_sending_place(&own).await?;
                None
            }
            Some(SendingPlaceRow { place, held: None }) if place.is_same(&own) => {
                // The next address or start of the server is compared with this one.
                if place != own && own.number.is_some() {
                    act.tx.set_sending_place(&own).await?;
                }
                None
            }
            Some(SendingPlaceRow { place, held: Some((held, _)) }) if place.is_same(&own) => {
                act.tx.set_sending_place(&own).await?;
                let (place_before, place) = (held.to_string(), own.to_string());
                let event = Event::MailReleased { place_before, place, abandoned: 0 };
                act.audit(&event, About { reason: Some(BACK), ..About::default() }).await?;
                None
            }
            Some(SendingPlaceRow { held: Some((held, since)), .. }) if held.is_same(&own) => Some(since),
            Some(SendingPlaceRow { place, held }) => {
                // From a second copy as from the first: what was queued since then was sent nowhere.
                let since = held.map_or(act.now, |(_, since)| since);
                act.tx.hold_sending(&own, since).await?;
                let event = Event::MailHeld { place_before: place.to_string(), place: own.to_string() };
                act.audit(&event, About::default()).await?;
                Some(since)
            }
        };
        self.sending.note_held(held);
        Ok(held.is_none())
    }

    /// Looks at the start whether messages may be sent from here, so that it is known before one is due.
    pub(crate) async fn settle_sending_place(&self) -> Result<(), Error> {
        if self.node.quarantine().is_some() {
            return Ok(());
        }
        let may_send = self.sending.mailer.is_some() || self.sending.is_held();
        if !may_send && !self.read(async |tx| Ok(tx.has_webhooks().await?)).await? {
            return Ok(());
        }
        // A start waits for no other node: nothing ends by it.
        let settled =
            self.change_here(Actor::machine("serve"), async |act| self.may_send_from_here(act).await);
        settled.await.map(drop)
    }

    /// Stores the place whenever a lost lock was taken again: a server that was restarted or failed over while this process
    /// followed it is the same place, also if it then gets another address. Ends the leases of a server that served meanwhile.
    pub(crate) async fn follow_sending_place(&self) -> Infallible {
        loop {
            self.node.lock_taken_again().await;
            while let Err(error) = self.settle_after_lock().await {
                tracing::warn!(%error, "cannot save where messages are sent from");
                tokio::time::sleep(RETRIED_EVERY).await;
            }
        }
    }

    async fn settle_after_lock(&self) -> Result<(), Error> {
        self.settle_sending_place().await?;
        self.release_leases_of_others().await
    }

    /// Whether nothing is sent from here. Without a look at the database, unless this process knows of a hold, which a
    /// command may have released.
    pub(crate) async fn is_held_here(&self) -> Result<bool, Error> {
        if !self.sending.is_held() {
            return Ok(false);
        }
        let row = self.node.read(async |tx| Ok(tx.sending_place().await?)).await?;
        if row.is_some_and(|row| row.held.is_some()) {
            return Ok(true);
        }
        self.settle_sending_place().await?;
        Ok(false)
    }

    /// Returns where messages are sent from, and whether that is held.
    pub async fn read_mail(&self, principal: &Principal) -> Result<Mail, Error> {
        self.view(Operation::ReadMail, principal, Platform, async |tx, _, ()| {
            let (mailer, state) = (self.sending.mailer.as_deref(), self.sending.state());
            let found = shown(tx, mailer).await?;
            // The last attempt tells more of the mail server than the messages do.
            let last_error = state.failing.or(found.last_error);
            Ok(Mail { last_error, failing_since: state.failing_since, ..found })
        })
        .await
    }

    /// Returns where messages are sent from and by which mail server, for a local command with these settings.
    pub async fn read_mail_here(&self, mailer: Option<&Mailer>) -> Result<Mail, Error> {
        self.read(async |tx| shown(tx, mailer).await).await
    }

    /// Lets this database send messages from the place that is held.
    pub async fn release_mail(
        &self,
        request: &Request<'_>,
        input: Input<'_, ReleaseMail>,
    ) -> Result<MailReleased, Error> {
        self.change(Operation::ReleaseMail, request, Platform, async |act, _, ()| {
            act.matches_list()?;
            release(act, &input.read()?).await
        })
        .await
    }

    /// Lets this database send messages, for a local command.
    pub async fn release_mail_here(&self, body: &ReleaseMail) -> Result<MailReleased, Error> {
        self.change_as(Actor::machine("mail release"), async |act| release(act, body).await).await
    }
}

async fn shown(tx: &mut Tx, mailer: Option<&Mailer>) -> Result<Mail, Error> {
    let row = tx.sending_place().await?;
    // A release abandons both.
    let (mail, webhooks) =
        (tx.delivery_queue(Channel::Mail).await?, tx.delivery_queue(Channel::Webhook).await?);
    let (held_place, held_since) = row.as_ref().and_then(|row| row.held.clone()).unzip();
    Ok(Mail {
        sends_from: row.map(|row| row.place.to_string()),
        held_place: held_place.map(|place| place.to_string()),
        held_since,
        queued: mail.queued + webhooks.queued,
        oldest_queued_at: mail.oldest.into_iter().chain(webhooks.oldest).min(),
        server: mailer.map(|mailer| mailer.server().shown()),
        sender: mailer.map(Mailer::sender),
        last_error: mail.last_error,
        failing_since: tx.mail_failing_since().await?,
    })
}

async fn release(act: &mut Act<'_>, body: &ReleaseMail) -> Result<MailReleased, Error> {
    let reason = Reason::required(body.reason.as_deref())?;
    let Some(SendingPlaceRow { place: before, held: Some((place, since)) }) = act.tx.sending_place().await?
    else {
        let text =
            "Mail is not held. Nothing was changed. After a move, start the server in the new place first.";
        return Err(Problem::new(Code::MailNotHeld, text).into());
    };
    // The original sends its own messages, so that none goes out twice.
    let abandoned = act.tx.abandon_deliveries_until(act.now, since, AbandonedAs::Moved).await?;
    act.tx.set_sending_place(&place).await?;
    let (place_before, place) = (before.to_string(), place.to_string());
    let event = Event::MailReleased { place_before, place: place.clone(), abandoned };
    act.audit(&event, About { reason: Some(reason.as_str()), ..About::default() }).await?;
    Ok(MailReleased { released_at: act.now, sends_from: place, abandoned })
}
