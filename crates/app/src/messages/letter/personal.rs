//! What a message to a person about their own account says: what happened, who did it, and what to do if that is not
//! right.

use super::{Facts, joined};
use crossfade_core::{TimeZone, audit::Action};
use crossfade_outbound::Letter;
use crossfade_store::Notification;

/// Returns the letter to a person about their account; `None` if it is about something else, or the stored facts cannot
/// be read.
pub(super) fn letter(message: &Notification, base: &str, zone: &TimeZone) -> Option<Letter> {
    if message.event != Action::OwnMessagesUpdated {
        return None;
    }
    let facts = Facts(&message.details);
    let host = base.split_once("://").map_or(base, |(_, host)| host);
    let heading = "Your messages were switched on or off";
    let mut list = Vec::new();
    list.extend(facts.text("account").map(|account| ("Account", account.to_owned())));
    list.push(("Switched off", joined(facts.part("after").list("off"))));
    list.push(("Switched off before", joined(facts.part("before").list("off"))));
    list.extend(message.actor_name.iter().map(|actor| ("Done by", actor.clone())));
    list.push(("Time", zone.at(message.created_at)));
    Some(Letter {
        subject: format!("{heading} ({host})"),
        heading: heading.to_owned(),
        is_urgent: false,
        facts: list,
        next: "If this was not you, change your password now, and end all sessions and API tokens on your account page."
            .to_owned(),
        button: "View your account",
        url: format!("{base}/console/account"),
        because: "You receive this message because it is about your account. It cannot be switched off.".to_owned(),
        times: zone.sentence(),
    })
}
