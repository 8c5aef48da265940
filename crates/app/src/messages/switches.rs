//! Switching messages off, for a person or for a client, and the time zone of a person.

use crate::{
    app::App,
    clients::{client::version, owners::addresses},
    error::Error,
    frame::{
        act::Act,
        entry::About,
        idempotency::Repeatable,
        principal::Principal,
        request::{Input, Request},
        targets::{ClientPath, Names, Target, confirm},
        versioned::Versioned,
    },
    jobs::queue_digests::{DIGEST, DIGEST_MOVED, NO_ZONE, cause_in, moved_cause},
};
use crossfade_core::{
    Code, Operation, Problem, TimeZone,
    api::{ClientMessages, MessageKind, OwnMessages, UpdateClientMessages, UpdateOwnMessages, UserKind},
    audit::{Event, OwnMessagesFacts},
    messages::{Switch, due_by_move, due_digest, stops_more},
    operations::Access,
    text::Reason,
};
use crossfade_store::{Client, SwitchedFor, Tx, User};
use serde_json::json;

impl Repeatable for Versioned<OwnMessages> {}
impl Repeatable for Versioned<ClientMessages> {}

/// The principal's own account, of a person. A limited token is not that person: it must not hide from its owner what it
/// does.
#[derive(Clone, Copy)]
struct OwnAccount;

impl Target for OwnAccount {
    type Loaded = User;

    async fn load(&self, tx: &mut Tx, principal: &Principal, _: Access) -> Result<User, Error> {
        let refused = |text: &str| Err(Problem::new(Code::Forbidden, text).into());
        if principal.limit().is_some() || principal.only().is_some() {
            return refused(
                "A limited API token cannot read or change the messages to its owner. Nothing was changed.",
            );
        }
        let user = tx.user(&principal.user).await?.ok_or_else(Problem::not_found)?;
        if user.kind == UserKind::Program {
            return refused("A program gets no messages. Nothing was changed.");
        }
        Ok(user)
    }

    fn names(&self) -> Names {
        Names::default()
    }
}

fn words(off: &[Switch]) -> Vec<String> {
    off.iter().map(|switch| switch.as_str().to_owned()).collect()
}

/// Returns a stored time zone; UTC if none is set.
fn zone_of(stored: &Option<String>) -> TimeZone {
    stored.as_deref().map_or(TimeZone::UTC, TimeZone::from_stored)
}

/// Notes what a change of the time zone means for the weekly digest, so that none is skipped or written twice.
async fn move_digest(
    act: &mut Act<'_>,
    email: &str,
    before: &TimeZone,
    after: &TimeZone,
) -> Result<(), Error> {
    let (Some(was), Some(due)) = (due_digest(act.now, before), due_digest(act.now, after)) else {
        return Ok(());
    };
    let is_queued = act.tx.is_told(&cause_in(&was.week, before.name())).await?;
    if let Some(week) = due_by_move(act.now, (&was.week, is_queued), after) {
        act.tx.tell_again_about(DIGEST_MOVED, &moved_cause(&week, email), act.now).await?;
    }
    // Nobody was there on Monday, so there is no digest to catch up on.
    if after.name() != NO_ZONE && !act.tx.time_zones().await?.iter().any(|zone| zone == after.name()) {
        act.tx.tell_once_about(DIGEST, &cause_in(&due.week, after.name()), act.now).await?;
    }
    Ok(())
}

fn shown_own(time_zone: Option<String>, off: &[Switch]) -> OwnMessages {
    OwnMessages { time_zone, off: words(off), kinds: MessageKind::all(off) }
}

fn shown_of_client(off: &[Switch]) -> ClientMessages {
    ClientMessages { off: words(off), kinds: MessageKind::of_client(off) }
}

impl App {
    /// Returns the messages to the principal, and the version of its account.
    pub async fn read_own_messages(&self, principal: &Principal) -> Result<Versioned<OwnMessages>, Error> {
        self.view(Operation::ReadOwnMessages, principal, OwnAccount, async |tx, _, user: User| {
            let off = tx.switches(SwitchedFor::Person(&user.id)).await?;
            Ok(Versioned::new(shown_own(tx.time_zone(&user.id).await?, &off), user.version))
        })
        .await
    }

    /// Sets the messages to the principal, and its time zone. The principal is told.
    pub async fn update_own_messages(
        &self,
        request: &Request<'_>,
        input: Input<'_, UpdateOwnMessages>,
    ) -> Result<Versioned<OwnMessages>, Error> {
        let changed = self
            .change(Operation::UpdateOwnMessages, request, OwnAccount, async |act, principal, user: User| {
                act.matches(user.version)?;
                let body = input.read()?;
                let zone =
                    body.time_zone.as_deref().map(|name| TimeZone::parse("time_zone", name)).transpose()?;
                let zone = zone.map(|zone| zone.name().to_owned());
                let off = Switch::parse_all("off", &body.off)?;
                let of = SwitchedFor::Person(&user.id);
                let before = OwnMessagesFacts {
                    time_zone: act.tx.time_zone(&user.id).await?,
                    off: words(&act.tx.switches(of).await?),
                };
                let after = OwnMessagesFacts { time_zone: zone.clone(), off: words(&off) };
                if before == after {
                    return Ok(Versioned::new(shown_own(zone, &off), user.version));
                }
                self.unless_many_messages(principal, 1)?;
                let has_switched = before.off != after.off;
                act.tx.set_switches(of, &off, act.now).await?;
                // Without mail there is no digest to skip or to write twice.
                if let Some(email) = user.email.as_ref().filter(|_| self.sending.mailer.is_some()) {
                    let (before, after) = (zone_of(&before.time_zone), zone_of(&zone));
                    move_digest(act, email, &before, &after).await?;
                }
                act.tx.set_time_zone(&user.id, zone.as_deref()).await?;
                let event = Event::OwnMessagesUpdated { before, after };
                act.audit(&event, About::target(&user.id)).await?;
                if has_switched {
                    let facts = (json!({"account": user.email}), None);
                    act.tell_person(self.random.as_ref(), &event, user.email.as_deref(), facts).await?;
                }
                Ok(Versioned::new(shown_own(zone, &off), user.version + 1))
            })
            .await;
        // Also after an error, which may not know whether the change was stored.
        self.digest_queue.note_zone_change();
        changed
    }

    /// Returns the messages about a client, and its version.
    pub async fn read_client_messages(
        &self,
        principal: &Principal,
        path: ClientPath<'_>,
    ) -> Result<Versioned<ClientMessages>, Error> {
        self.view(Operation::ReadClientMessages, principal, path, async |tx, principal, client: Client| {
            let off = tx.switches(SwitchedFor::Client(&client.id)).await?;
            Ok(Versioned::new(shown_of_client(&off), version(tx, principal, &client).await?))
        })
        .await
    }

    /// Sets the messages about a client. Its owners are told.
    pub async fn update_client_messages(
        &self,
        request: &Request<'_>,
        path: ClientPath<'_>,
        input: Input<'_, UpdateClientMessages>,
    ) -> Result<Versioned<ClientMessages>, Error> {
        let operation = Operation::UpdateClientMessages;
        self.change(operation, request, path, async |act, principal, mut client: Client| {
            let read = version(act.tx, principal, &client).await?;
            act.matches(read)?;
            let body = input.read()?;
            let off = Switch::parse_all_of_client("off", &body.off)?;
            let reason = Reason::parse(body.reason.as_deref())?;
            let of = SwitchedFor::Client(&client.id);
            let before = act.tx.switches(of).await?;
            // The owners hear less then: the name must be typed (rule 24).
            if stops_more(&before, &off) || body.confirm_client_name.is_some() {
                confirm(&client, body.confirm_client_name.as_deref())?;
            }
            if before == off {
                return Ok(Versioned::new(shown_of_client(&off), read));
            }
            self.unless_many_messages(principal, addresses(&client.owners))?;
            act.tx.set_switches(of, &off, act.now).await?;
            let event = Event::ClientMessagesUpdated { off_before: words(&before), off: words(&off) };
            let about = About {
                client: Some(&client.id),
                target: Some(client.id.to_string()),
                reason: Some(reason.as_str()),
                ..About::default()
            };
            act.audit(&event, about).await?;
            act.notify(self.random.as_ref(), &event, &client, None, Some(reason.as_str())).await?;
            client.version += 1;
            Ok(Versioned::new(shown_of_client(&off), version(act.tx, principal, &client).await?))
        })
        .await
    }
}
