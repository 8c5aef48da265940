//! Messages to a person about their own account. They tell of what someone else could have done with the account, so
//! nobody can switch them off.

use crate::{
    error::Error,
    frame::act::{Act, message_id},
};
use crossfade_core::{Random, Timestamp, audit::Event};
use crossfade_store::{NewDelivery, Notification};
use serde_json::Value;

impl Act<'_> {
    /// Queues a message to one person about an event at their account. Nothing without mail, or without an address.
    /// Returns the ID of the message.
    pub(crate) async fn tell_person(
        &mut self,
        random: &dyn Random,
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
            reason: None,
            details,
        };
        self.tx.insert_notification(&notification).await?;
        let delivery = NewDelivery {
            id: message_id(random),
            notification: &notification.id,
            recipient: email,
            cause: &notification.id,
            created_at: self.now,
            not_after,
        };
        self.tx.insert_delivery(&delivery).await?;
        Ok(Some(notification.id))
    }
}
