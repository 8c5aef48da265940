//! What a message says about many clients that have other owners.

use super::{Facts, count, isolated, short_name};
use crossfade_core::{TimeZone, audit::Action};
use crossfade_outbound::{Group, Letter, Line};
use crossfade_store::Notification;

/// Returns the letter about clients that were handed over together; `None` if it is about something else, or the stored facts
/// cannot be read.
pub(super) fn letter(message: &Notification, base: &str, zone: &TimeZone) -> Option<Letter> {
    if message.event != Action::ClientHandedOver {
        return None;
    }
    let facts = Facts(&message.details);
    let name = facts.text("user_name")?;
    let is_deleted = facts.text("cause")? == "account_deleted";
    let number = |part: &str| facts.part(part).number("count");
    let (left, taken, kept) = (number("left")?, number("taken")?, number("kept")?);
    // A single client is named.
    let clients = |part: &str, all: i64| match (all, facts.part(part).list("clients")) {
        (1, [client]) => Some(isolated(&short_name(client["name"].as_str()?))),
        _ => Some(count(all, "client")),
    };
    let (subject, next) = if left > 0 {
        let next = "You are not notified about these clients any more. If this is wrong, tell a person who manages accounts now.";
        (format!("You are no longer an owner: {}", clients("left", left)?), next)
    } else if !is_deleted && taken > 0 {
        let next = "You are notified of rotations, deadlines and drills at this address from now on.";
        (format!("Messages come to this address: {}", clients("taken", taken)?), next)
    } else if taken == 1 {
        let next = "You are notified of rotations, deadlines and drills of this client from now on.";
        (format!("You take over a client: {}", clients("taken", taken)?), next)
    } else if taken > 0 {
        let next = "You are notified of rotations, deadlines and drills of these clients from now on.";
        (format!("You take over {}", count(taken, "client")), next)
    } else {
        let next = "Check that the lists of owners are right. All owners are notified about their clients.";
        let what = if is_deleted { "An owner has gone" } else { "An owner has another address" };
        (format!("{what}: {}", clients("kept", kept)?), next)
    };
    let why = match is_deleted {
        true => format!("The account of {name} was deleted."),
        false => format!("The email address of {name} was changed."),
    };
    let parts = [
        ("left", "Clients that you do not own any more", left),
        ("taken", "Clients that you own now", taken),
        ("kept", "Clients that you still own", kept),
    ];
    let mut groups = Vec::new();
    for (part, title, all) in parts.into_iter().filter(|(_, _, all)| *all > 0) {
        let part = facts.part(part);
        let lines: Option<Vec<Line>> = part.list("clients").iter().map(|it| line(&Facts(it), base)).collect();
        let lines = lines?;
        let more = usize::try_from(all).ok()?.saturating_sub(lines.len());
        groups.push(Group { title: format!("{title} ({all})"), lines, more });
    }
    let mut shown = vec![("Why", why)];
    shown.extend(message.actor_name.iter().map(|actor| ("Done by", actor.clone())));
    shown.extend(message.source.iter().map(|source| ("IP address", source.clone())));
    shown.push(("Time", zone.at(message.created_at)));
    Some(Letter {
        heading: subject.clone(),
        subject,
        is_urgent: left > 0,
        facts: shown,
        groups,
        next: next.to_owned(),
        button: "View all clients",
        url: format!("{base}/console/clients"),
        times: zone.sentence(),
        because: match left {
            0 => "You receive this message because you are an owner of these clients.".to_owned(),
            _ => "You receive this message because you were an owner of these clients.".to_owned(),
        },
        has_link: false,
    })
}

fn line(client: &Facts<'_>, base: &str) -> Option<Line> {
    Some(Line {
        name: isolated(&short_name(client.text("name")?)),
        place: String::new(),
        said: String::new(),
        url: format!("{base}/console/clients/{}", client.text("id")?),
    })
}
