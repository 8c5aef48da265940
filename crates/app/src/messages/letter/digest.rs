//! What a weekly digest says, and what the managers of the platform are told.

use super::{Facts, SWITCH_OFF, count, isolated, secrets::with_id, short_name};
use crossfade_core::{TimeZone, Timestamp, audit::Action};
use crossfade_outbound::{Group, Letter, Line};
use crossfade_store::Notification;
use serde_json::Value;

/// Returns the digest of one recipient, or a message to a manager of the platform; `None` if it is about something else, or
/// the stored facts cannot be read.
pub(super) fn letter(message: &Notification, base: &str, zone: &TimeZone) -> Option<Letter> {
    let facts = Facts(&message.details);
    match message.event {
        Action::DigestsQueued => digest(message, &facts, base, zone),
        Action::EvidenceUnwritten => evidence(message, &facts, base, zone),
        Action::NodeWithoutLease => node(message, &facts, base, zone),
        _ => None,
    }
}

fn digest(message: &Notification, facts: &Facts<'_>, base: &str, zone: &TimeZone) -> Option<Letter> {
    let list = |name: &str, title: &str, said: &dyn Fn(&Facts<'_>) -> Option<String>| -> Option<Group> {
        let part = facts.part(name);
        let lines: Option<Vec<Line>> = part.list("lines").iter().map(|it| line(it, base, said)).collect();
        // A digest of an earlier version lacks the newer lists.
        let (lines, more) = (lines?, usize::try_from(part.number("more").unwrap_or(0)).ok()?);
        let all = lines.len() + more;
        Some(Group { title: format!("{title} ({all})"), lines, more })
    };
    let times = |it: &Facts<'_>| Some(format!("revealed {}", count(it.number("times")?, "time")));
    let failing = |it: &Facts<'_>| {
        let since = zone.at(it.time("at")?);
        Some(match it.text("what")? {
            "disabled" => format!("disabled since {since}, because its receiver failed"),
            _ => format!("failing since {since}"),
        })
    };
    let groups = [
        list("overdue", "Overdue secrets", &at("due for rotation since", zone))?,
        list("due", "Due for rotation within 30 days", &at("due", zone))?,
        list("ownerless", "Clients without owners", &|_| {
            Some("nobody is notified about this client".into())
        })?,
        list("webhooks", "Failing webhooks", &failing)?,
        list("first_used", "New secrets first used this week", &at("first used", zone))?,
        list("revealed", "Secrets revealed this week", &times)?,
    ];
    let groups: Vec<Group> = groups.into_iter().filter(|group| !group.lines.is_empty()).collect();
    let number = |name: &str| facts.part(name).list("lines").len();
    let next = if number("overdue") > 0 {
        "Rotate the overdue secrets first."
    } else if number("due") > 0 {
        "Plan the rotations that are due."
    } else if number("ownerless") > 0 {
        "Add owners to the clients without owners."
    } else if number("webhooks") > 0 {
        "Correct the failing webhooks."
    } else {
        "Nothing needs to be done."
    };
    // The button leads to what a digest with a single kind of lines is about.
    let is_all = |name: &str| number(name) > 0 && groups.len() == 1;
    let (subject, heading, button, path) = if is_all("webhooks") {
        ("Webhooks this week", "Your webhooks this week", "View webhooks", "/console/webhooks")
    } else if is_all("ownerless") {
        (
            "Clients this week",
            "Clients without owners",
            "View these clients",
            "/console/clients?ownerless=true",
        )
    } else {
        ("Secrets this week", "Your secrets this week", "View all clients", "/console/clients")
    };
    let because = match (number("ownerless") > 0, number("webhooks") > 0) {
        (true, _) => "You receive this message because you own clients or manage this instance.",
        (false, true) => "You receive this message because you own clients or manage webhooks.",
        (false, false) => "You receive this message because you own these clients.",
    };
    Some(Letter {
        subject: format!("{subject}: {}", summary(&groups)),
        heading: heading.to_owned(),
        is_urgent: false,
        facts: vec![("Week", facts.0["week"].as_str()?.to_owned()), ("As of", zone.at(message.created_at))],
        groups,
        next: next.to_owned(),
        button,
        url: format!("{base}{path}"),
        because: format!("{because} {SWITCH_OFF}"),
        times: zone.sentence(),
        has_link: false,
    })
}

/// Returns a function that says what happened or happens at the time of a line, to which secret.
fn at(word: &str, zone: &TimeZone) -> impl Fn(&Facts<'_>) -> Option<String> {
    move |it| Some(with_id(format!("{word} {}", zone.at(it.time("at")?)), it, "secret_id"))
}

/// Returns a text such as `2 overdue, 1 due`.
fn summary(groups: &[Group]) -> String {
    let parts = groups.iter().map(|group| {
        let number = group.lines.len() + group.more;
        let total = i64::try_from(number).unwrap_or(i64::MAX);
        let word = match group.title.split(' ').next() {
            Some("Overdue") => "overdue",
            Some("Due") => "due",
            Some("Clients") => return format!("{} without owners", count(total, "client")),
            Some("Failing") => return count(total, "failing webhook"),
            Some("New") => "first used",
            _ => "revealed",
        };
        format!("{number} {word}")
    });
    parts.collect::<Vec<_>>().join(", ")
}

fn line(stored: &Value, base: &str, said: &dyn Fn(&Facts<'_>) -> Option<String>) -> Option<Line> {
    let facts = Facts(stored);
    if let Some(webhook) = facts.text("webhook_id") {
        return Some(Line {
            name: isolated(&short_name(facts.text("webhook")?)),
            place: String::new(),
            said: said(&facts)?,
            url: format!("{base}/console/webhooks/{webhook}"),
        });
    }
    let client = stored["client_id"].as_str()?;
    let environment = stored["environment"].as_str();
    let url = match environment {
        Some(environment) => format!("{base}/console/clients/{client}/environments/{environment}/security"),
        None => format!("{base}/console/clients/{client}"),
    };
    Some(Line {
        name: isolated(&short_name(stored["client"].as_str()?)),
        place: environment.unwrap_or_default().to_owned(),
        said: said(&facts)?,
        url,
    })
}

fn evidence(message: &Notification, facts: &Facts<'_>, base: &str, zone: &TimeZone) -> Option<Letter> {
    let since = facts.time("since")?;
    let until: Option<Timestamp> = facts.time("until");
    let (heading, next) = match until {
        None => (
            "Evidence of use cannot be written",
            "Run crossfade doctor on the server and read its log. Uses of secrets are kept in memory, and are lost if the \
            server stops. Do not end an old secret on the strength of missing uses.",
        ),
        Some(_) => (
            "Evidence of use could not be written",
            "Evidence is written again. Check the log for uses that were lost before you end an old secret.",
        ),
    };
    let mut list = vec![("Since", zone.at(since))];
    list.extend(until.map(|until| ("Until", zone.at(until))));
    list.push(("Time", zone.at(message.created_at)));
    Some(Letter {
        subject: heading.to_owned(),
        heading: heading.to_owned(),
        is_urgent: until.is_none(),
        facts: list,
        groups: Vec::new(),
        next: next.to_owned(),
        button: "Open the Console",
        url: format!("{base}/console"),
        because: format!("You receive this message because you manage this instance. {SWITCH_OFF}"),
        times: zone.sentence(),
        has_link: false,
    })
}

fn node(message: &Notification, facts: &Facts<'_>, base: &str, zone: &TimeZone) -> Option<Letter> {
    let name = facts.text("name")?;
    let heading = format!("A node has no lease: {}", isolated(&short_name(name)));
    Some(Letter {
        subject: heading.clone(),
        heading,
        is_urgent: true,
        facts: vec![
            ("Node", name.to_owned()),
            ("ID", facts.text("node_id")?.to_owned()),
            ("Lease ended", zone.at(facts.time("lease_ended_at")?)),
            ("Time", zone.at(message.created_at)),
        ],
        groups: Vec::new(),
        next: "It refuses all tokens, or has stopped. Find out why it does not reach the database, or start it again.".to_owned(),
        button: "View the nodes",
        url: format!("{base}/console/nodes"),
        because: format!("You receive this message because you manage this instance. {SWITCH_OFF}"),
        times: zone.sentence(),
        has_link: false,
    })
}
