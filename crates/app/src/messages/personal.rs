//! Messages to a person about their own account. They tell of what someone else could have done with the account, so
//! nobody can switch them off.

use crate::{
    app::App,
    error::Error,
    frame::{
        act::{Act, message_id},
        principal::Principal,
    },
    keys::place::SealPlace,
    people::{owners::OneTimeLink, sessions::Visitor},
};
use crossfade_core::{
    Timestamp,
    address::wide_network,
    audit::{Event, GrantFacts},
    messages::{Channel, Class},
    roles::{Object, Permission},
    text,
};
use crossfade_store::{GrantRow, NewDelivery, Notification, User};
use serde_json::{Value, json};
use std::time::Duration;

/// Maximum number of messages about new sign-ins to an account in a day. Someone who has the password can sign in from
/// any number of addresses, and must not fill the mailbox.
const MAX_SIGN_INS: i64 = 5;
const DAY: Duration = Duration::from_secs(86_400);
/// Maximum length of a user agent in a message.
const MAX_AGENT: usize = 200;

/// Whether a message about a one-time link contains the link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum MailedLink {
    /// It does: the principal has just typed the address of the account.
    Invitation,
    /// It does: everyone who could have set the address of the account could create the link, too, and the account gains
    /// nothing by the link.
    Reset,
    /// It does not. Someone with fewer permissions than the account could have set its address.
    Withheld,
}

impl MailedLink {
    /// Returns what a message about a new link to an account with these roles contains. Managers of users can set the
    /// address of an account before it gets a role that only an Owner gives, and a link that is mailed there would give
    /// them that role. An account that is entered with an Owner's link keeps its password when it gets such a role later,
    /// so an Owner's link is not mailed either.
    pub(crate) fn to_account(grants: &[GrantRow], maker: &Principal) -> Self {
        let by_owner = maker.may(Permission::OwnerManage, Object::Platform);
        match by_owner || grants.iter().any(|row| row.grant.role.given_by() == Permission::OwnerManage) {
            true => Self::Withheld,
            false => Self::Reset,
        }
    }
}

impl Act<'_> {
    /// Queues a message to one person about an event at their account. Nothing without mail, or without an address. Returns
    /// the ID of the message.
    pub(crate) async fn tell_person(
        &mut self,
        random: &dyn crossfade_core::Random,
        event: &Event,
        email: Option<&str>,
        (facts, not_after): (Value, Option<Timestamp>),
    ) -> Result<Option<String>, Error> {
        let Some(email) = email.filter(|_| self.mails) else { return Ok(None) };
        let mut details = event.details();
        if let (Some(details), Value::Object(facts)) = (details.as_object_mut(), facts) {
            details.extend(facts);
        }
        let notification = Notification {
            id: message_id(random),
            created_at: self.now,
            number: None,
            event: event.action(),
            client_id: None,
            client_name: None,
            environment: None,
            recipients: vec![email.to_owned()],
            actor_name: Some(self.by.actor.name().to_owned()),
            actor_kind: Some(self.by.actor.kind().to_owned()),
            source: self.by.origin.stored.clone(),
            reason: None,
            details,
        };
        self.queue_mail(random, &notification, (Class::of(event), &notification.id, not_after)).await?;
        Ok(Some(notification.id))
    }

    /// Stores a message, and a delivery by mail to each of its recipients who has none with this cause.
    pub(crate) async fn queue_mail(
        &mut self,
        random: &dyn crossfade_core::Random,
        notification: &Notification,
        (class, cause, not_after): (Class, &str, Option<Timestamp>),
    ) -> Result<(), Error> {
        self.tx.insert_notification(notification).await?;
        for recipient in &notification.recipients {
            // A webhook is no address, and a mail to it would be refused and reported as a failure of the mail server.
            debug_assert!(recipient.contains('@'), "{recipient} is not an email address");
            let delivery = NewDelivery {
                id: message_id(random),
                notification: &notification.id,
                channel: Channel::Mail,
                recipient,
                cause,
                class,
                created_at: self.now,
                not_after,
            };
            self.tx.insert_delivery(&delivery).await?;
        }
        Ok(())
    }
}

impl App {
    /// Tells a person that a one-time link to their account was created. Returns whether the message contains the link.
    pub(crate) async fn tell_of_link(
        &self,
        act: &mut Act<'_>,
        user: &User,
        link: &OneTimeLink,
        how: MailedLink,
    ) -> Result<bool, Error> {
        let event = Event::LinkCreated { user_id: user.id.clone(), expires_at: link.expires_at };
        let with_link = how != MailedLink::Withheld;
        let facts = json!({
            "account": user.email,
            "invitation": how == MailedLink::Invitation,
            "with_link": with_link,
            "has_password": user.password_hash.is_some(),
        });
        let until = with_link.then_some(link.expires_at);
        let told =
            act.tell_person(self.random.as_ref(), &event, user.email.as_deref(), (facts, until)).await?;
        let (Some(id), true) = (told, with_link) else { return Ok(false) };
        let value = link.url.rsplit_once('#').map_or("", |(_, value)| value);
        let sealed = self.vault.seal(&SealPlace::MessageLink { message: &id }, link.url.as_bytes())?;
        act.tx.insert_message_link(&id, &self.digests.link(value), &sealed).await?;
        Ok(true)
    }

    /// Returns the one-time link in a message; `None` if it can no longer be used.
    pub(crate) async fn link_in(&self, message: &str) -> Result<Option<String>, Error> {
        let now = self.clock.now();
        let sealed = self.read(async |tx| Ok(tx.message_link(message, now).await?)).await?;
        let Some(sealed) = sealed else { return Ok(None) };
        let url = self.vault.open(&SealPlace::MessageLink { message }, &sealed)?;
        Ok(std::str::from_utf8(&url).ok().map(str::to_owned))
    }

    /// Notes from where a person signs in, and tells them of a sign-in in a new browser or from a new network. Only a
    /// sign-in with the right password gets here.
    pub(crate) async fn tell_of_sign_in(
        &self,
        act: &mut Act<'_>,
        user: &User,
        visitor: &Visitor,
        is_new_browser: bool,
    ) -> Result<(), Error> {
        let is_new_network = self.note_network(act, user, visitor).await?;
        if !act.mails || !(is_new_browser || is_new_network) {
            return Ok(());
        }
        let subject = format!("sign_in {}", user.id);
        if act.tx.told_since(&subject, act.now.before(DAY)).await? >= MAX_SIGN_INS {
            return Ok(());
        }
        let facts = json!({
            "account": user.email,
            "source_ip": visitor.origin.stored,
            "user_agent": text::shown(&visitor.user_agent).chars().take(MAX_AGENT).collect::<String>(),
            "new_browser": is_new_browser,
        });
        let random = self.random.as_ref();
        let event = Event::SessionCreated { provider_id: None, passkey_id: None };
        let told = act.tell_person(random, &event, user.email.as_deref(), (facts, None)).await?;
        if let Some(id) = told {
            act.tx.tell_once_about(&subject, &format!("{subject} {id}"), act.now).await?;
        }
        Ok(())
    }

    /// Notes the network that a person signs in from. Returns whether it is new, and another one was known.
    pub(crate) async fn note_network(
        &self,
        act: &mut Act<'_>,
        user: &User,
        visitor: &Visitor,
    ) -> Result<bool, Error> {
        let network = self.digests.network(&format!("{} {}", user.id, wide_network(visitor.address())));
        let subject = format!("network {}", user.id);
        // After an upgrade, and after a long time without a sign-in, no network is known.
        let knows_any = act.tx.told_since(&subject, Timestamp::from_micros(0)).await? > 0;
        let is_new = act.tx.tell_again_about(&subject, &format!("{subject} {network}"), act.now).await?;
        Ok(is_new && knows_any)
    }

    /// Tells a person that their role was granted or removed.
    pub(crate) async fn tell_of_grant(
        &self,
        act: &mut Act<'_>,
        event: &Event,
        user: &User,
        grant: &GrantFacts,
        closes: bool,
    ) -> Result<(), Error> {
        if !act.mails {
            return Ok(());
        }
        let property = match &grant.property_id {
            Some(id) => act.tx.property(id).await?.map(|property| property.name.to_string()),
            None => None,
        };
        let client = match &grant.client_id {
            Some(id) => act.tx.client(id).await?.map(|client| client.name.to_string()),
            None => None,
        };
        let facts =
            json!({"account": user.email, "property": property, "client": client, "closes_account": closes});
        act.tell_person(self.random.as_ref(), event, user.email.as_deref(), (facts, None)).await.map(drop)
    }
}
