//! Letters about the secrets of a client: rotated, extended, ended, presented after its end, leaked.

use super::{Facts, Said, count, described_caller};
use crossfade_core::{TimeZone, Timestamp};

/// Maximum number of callers of an ended secret that are named.
const MAX_PRESENTING: usize = 3;

/// Returns what is said of a secret, with its ID if it is known.
pub(super) fn with_id(said: String, facts: &Facts<'_>, id: &str) -> String {
    match facts.text(id) {
        Some(id) => format!("{said} ({id})"),
        None => said,
    }
}

fn valid_until(deadline: Timestamp, facts: &Facts<'_>, id: &str, zone: &TimeZone) -> String {
    with_id(format!("valid until {}", zone.at(deadline)), facts, id)
}

fn refused_since(time: Timestamp, facts: &Facts<'_>, id: &str, zone: &TimeZone) -> String {
    with_id(format!("refused since {}", zone.at(time)), facts, id)
}

pub(super) fn rotated(facts: &Facts<'_>, at: Timestamp, zone: &TimeZone) -> Option<Said> {
    let deadline = facts.time("outgoing_expires_at")?;
    let (outgoing, before) = ("outgoing_secret_id", "superseded_secret_id");
    let said = match (facts.number("transition_hours")?, facts.text(before).is_some()) {
        (0, has_two) => {
            let (refused, and_refused) = match has_two {
                false => ("the old one is refused", "the old secret is refused"),
                true => ("both earlier ones are refused", "both earlier secrets are refused"),
            };
            let (subject, heading) = match facts.flag("compromised") {
                false => ("Secret rotated", "The secret was rotated"),
                true => ("Leaked secret replaced", "The secret has leaked and was replaced"),
            };
            let next = "Change every caller to the new secret now.";
            Said::new(&format!("{subject}, {refused}"), &format!("{heading}, and {and_refused}"), next)
                .urgent(true)
                .fact("Old secret", refused_since(deadline, facts, outgoing, zone))
        }
        (_, true) => Said::new(
            "Secret rotated, which ends the one before it",
            "The secret was rotated during a transition, and the secret before it is refused",
            format!(
                "Change every caller that still presents the secret of two rotations ago now, and all others before {}.",
                zone.at(deadline)
            ),
        )
        .urgent(true)
        .fact("Old secret", valid_until(deadline, facts, outgoing, zone)),
        (hours, false) => Said::new(
            "Secret rotated",
            "The secret was rotated",
            format!(
                "Change every caller to the new secret before {}. The old secret is refused from then on.",
                zone.at(deadline)
            ),
        )
        .fact("Old secret", valid_until(deadline, facts, outgoing, zone))
        .fact("Transition", count(hours, "hour")),
    };
    Some(match facts.text(before) {
        Some(_) => said.fact("Secret before that", refused_since(at, facts, before, zone)),
        None => said,
    })
}

/// What is said when a client rotated its own secret, which anyone who has stolen the secret can do, too.
pub(super) fn rotated_itself(facts: &Facts<'_>, zone: &TimeZone) -> Option<Said> {
    let deadline = zone.at(facts.time("outgoing_expires_at")?);
    let next = format!(
        "If the client did not do this, roll the rotation back, and then rotate with the old secret marked as leaked. Otherwise \
         change its other instances to the new secret before {deadline}."
    );
    Some(
        Said::new("The client rotated its own secret", "The client rotated its own secret", next)
            .urgent(true)
            .fact("Old secret", with_id(format!("valid until {deadline}"), facts, "outgoing_secret_id")),
    )
}

pub(super) fn revoked(facts: &Facts<'_>, at: Timestamp, zone: &TimeZone) -> Said {
    let (subject, heading) = match facts.flag("compromised") {
        false => ("Old secret revoked", "The old secret was revoked"),
        true => ("Leaked old secret revoked", "The old secret has leaked and was revoked"),
    };
    let next = "Callers that still present the old secret are refused. Check that every caller uses the current secret.";
    Said::new(subject, heading, next).fact("Old secret", refused_since(at, facts, "secret_id", zone))
}

pub(super) fn extended(facts: &Facts<'_>, zone: &TimeZone) -> Option<Said> {
    let deadline = facts.time("expires_at")?;
    let next = format!("Change the remaining callers to the new secret before {}.", zone.at(deadline));
    let said = Said::new("Deadline extended", "The deadline of the old secret was extended", next)
        .fact("Old secret", valid_until(deadline, facts, "secret_id", zone));
    Some(match facts.time("expires_at_before") {
        Some(before) => said.fact("Earlier deadline", zone.at(before)),
        None => said,
    })
}

pub(super) fn rolled_back(facts: &Facts<'_>, at: Timestamp, zone: &TimeZone) -> Said {
    let next =
        "Use the earlier secret, which is current again. Callers that present the new secret are refused.";
    let (subject, heading) = match facts.flag("compromised") {
        false => ("Rotation rolled back", "The rotation was rolled back"),
        true => (
            "Rotation of a leaked secret rolled back",
            "The new secret has leaked, and the rotation was rolled back",
        ),
    };
    Said::new(subject, heading, next)
        .urgent(true)
        .fact("New secret", refused_since(at, facts, "revoked_secret_id", zone))
        .fact("Earlier secret", with_id("current again".to_owned(), facts, "current_secret_id"))
}

pub(super) fn expired(facts: &Facts<'_>, zone: &TimeZone) -> Option<Said> {
    let next = "Nothing needs to be done if every caller uses the new secret. Callers that still present the old secret are refused.";
    let ended = refused_since(facts.time("expires_at")?, facts, "secret_id", zone);
    Some(Said::new("Old secret expired", "The old secret has expired", next).fact("Old secret", ended))
}

pub(super) fn leak(facts: &Facts<'_>) -> Option<Said> {
    let (state, subject, heading, next) = match facts.0["state"].as_str()? {
        "retiring" => (
            "still valid, because the transition is running",
            "Leaked old secret reported",
            "The old secret was reported as leaked, and is still valid",
            "Revoke the old secret now, and state that it has leaked.",
        ),
        _ => (
            "valid",
            "Leaked current secret reported",
            "The current secret was reported as leaked",
            "Rotate the secret now with a transition period of 0, and state that it has leaked. The leaked secret is refused \
            from then on.",
        ),
    };
    let said = Said::new(subject, heading, next).urgent(true);
    let secret = with_id(state.to_owned(), facts, "secret_id");
    Some(said.fact("Leaked secret", secret).button("View the secret"))
}

pub(super) fn presented(facts: &Facts<'_>, zone: &TimeZone) -> Option<Said> {
    let callers: Vec<String> =
        facts.list("callers").iter().take(MAX_PRESENTING).map(described_caller).collect();
    let count_of_callers = facts.number("caller_count").unwrap_or(0);
    let more = count_of_callers.saturating_sub(i64::try_from(callers.len()).unwrap_or(i64::MAX));
    let next = match (facts.flag("compromised"), callers.is_empty(), more > 0) {
        (false, true, _) => {
            "Find the callers on the page of the secret, or with crossfade audit failures, and change them to the current \
            secret. They are refused now."
        }
        (false, false, false) => "Change these callers to the current secret. They are refused now.",
        (false, false, true) => {
            "Change these callers to the current secret, and find the others on the page of the secret, or with crossfade \
            audit failures. They are refused now."
        }
        (true, ..) => {
            "The secret had leaked, so these can be attempts to misuse it. If they are callers of yours, change them to the \
            current secret. This is reported once."
        }
    };
    let minutes = facts.number("within_seconds")? / 60;
    let said = Said::new("Ended secret still presented", "An ended secret is still presented", next)
        .urgent(true)
        .fact("Old secret", refused_since(facts.time("ended_at")?, facts, "secret_id", zone))
        .fact(
            "Refused",
            format!("{} in {}", count(facts.number("tries")?, "time"), count(minutes, "minute")),
        );
    if callers.is_empty() {
        return Some(said);
    }
    let more = (more > 0).then(|| format!("and {more} more"));
    Some(said.fact("Callers", callers.into_iter().chain(more).collect::<Vec<_>>().join(";\n")))
}

pub(super) fn near(facts: &Facts<'_>, zone: &TimeZone) -> Option<Said> {
    let deadline = zone.at(facts.time("expires_at")?);
    let or_never =
        |time: Option<Timestamp>| time.map_or_else(|| "none recorded".to_owned(), |time| zone.at(time));
    let next = match facts.number("callers_left")? {
        0 => format!(
            "The evidence does not show that the old secret can end. Check that every caller has the new secret before {deadline}, or \
             extend the deadline."
        ),
        _ => format!(
            "Change the remaining callers to the new secret before {deadline}, or extend the deadline."
        ),
    };
    let said = Said::new(
        &format!("old secret expires {deadline} and is still needed"),
        "The old secret expires soon and is still needed",
        next,
    )
    .client_first()
    .urgent(facts.number("hours_before")? <= 4)
    .fact("Old secret", with_id(format!("valid until {deadline}"), facts, "secret_id"))
    .fact("Callers left on the old secret", facts.number("callers_left")?.to_string())
    .fact("Last use of the old secret", or_never(facts.time("last_used_at")))
    .fact("First use of the new secret", or_never(facts.time("new_first_used_at")))
    .button("View and mark as seen");
    Some(said)
}
