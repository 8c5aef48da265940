//! Letters about the secrets of a client: rotated, extended, ended, presented after its end, leaked.

use super::{Facts, Said, count, described_caller};
use crossfade_core::{TimeZone, Timestamp};

/// Maximum number of callers of an ended secret that are named.
const MAX_PRESENTING: usize = 3;

pub(super) fn rotated(facts: &Facts<'_>, at: Timestamp, zone: &TimeZone) -> Option<Said> {
    let deadline = facts.time("outgoing_expires_at")?;
    let said = match (facts.number("transition_hours")?, facts.0["superseded_secret_id"].is_string()) {
        (0, _) => Said::new(
            "Secret rotated, the old one is refused",
            "The secret was rotated, and the old secret is refused",
            "Change every caller to the new secret now.",
        )
        .urgent(true)
        .fact("Old secret", format!("refused since {}", zone.at(deadline))),
        (_, true) => Said::new(
            "Secret rotated, which ends the one before it",
            "The secret was rotated during a transition, and the secret before it is refused",
            format!(
                "Change every caller that still presents the secret of two rotations ago now, and all others before {}.",
                zone.at(deadline)
            ),
        )
        .urgent(true)
        .fact("Old secret", format!("valid until {}", zone.at(deadline)))
        .fact("Secret before that", format!("refused since {}", zone.at(at))),
        (hours, false) => Said::new(
            "Secret rotated",
            "The secret was rotated",
            format!(
                "Change every caller to the new secret before {}. The old secret is refused from then on.",
                zone.at(deadline)
            ),
        )
        .fact("Old secret", format!("valid until {}", zone.at(deadline)))
        .fact("Transition", count(hours, "hour")),
    };
    Some(if facts.flag("compromised") { said.fact("Old secret leaked", "yes") } else { said })
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
            .fact("Old secret", format!("valid until {deadline}")),
    )
}

pub(super) fn revoked(facts: &Facts<'_>, at: Timestamp, zone: &TimeZone) -> Said {
    let next = "Callers that still present the old secret are refused. Check that every caller uses the current secret.";
    let said = Said::new("Old secret revoked", "The old secret was revoked", next)
        .fact("Old secret", format!("refused since {}", zone.at(at)));
    if facts.flag("compromised") { said.fact("Old secret leaked", "yes") } else { said }
}

pub(super) fn extended(facts: &Facts<'_>, zone: &TimeZone) -> Option<Said> {
    let deadline = facts.time("expires_at")?;
    let next = format!("Change the remaining callers to the new secret before {}.", zone.at(deadline));
    let said = Said::new("Deadline extended", "The deadline of the old secret was extended", next)
        .fact("Old secret", format!("valid until {}", zone.at(deadline)));
    Some(match facts.time("expires_at_before") {
        Some(before) => said.fact("Earlier deadline", zone.at(before)),
        None => said,
    })
}

pub(super) fn rolled_back(at: Timestamp, zone: &TimeZone) -> Said {
    let next =
        "Use the earlier secret, which is current again. Callers that present the new secret are refused.";
    Said::new("Rotation rolled back", "The rotation was rolled back", next)
        .urgent(true)
        .fact("New secret", format!("refused since {}", zone.at(at)))
}

pub(super) fn expired(facts: &Facts<'_>, zone: &TimeZone) -> Option<Said> {
    let next = "Nothing needs to be done if every caller uses the new secret. Callers that still present the old secret are refused.";
    Some(
        Said::new("Old secret expired", "The old secret has expired", next)
            .fact("Old secret", format!("refused since {}", zone.at(facts.time("expires_at")?))),
    )
}

pub(super) fn leak(facts: &Facts<'_>) -> Option<Said> {
    let (state, next) = match facts.0["state"].as_str()? {
        "retiring" => ("retiring", "Revoke the old secret now, and state that it has leaked."),
        _ => (
            "current",
            "Rotate the secret now with a transition period of 0, and state that it has leaked. The leaked secret is refused \
            from then on.",
        ),
    };
    let said = Said::new("Leaked secret reported", "A secret was reported as leaked", next).urgent(true);
    Some(
        said.fact("Leaked secret", state)
            .fact("Secret", facts.0["secret_id"].as_str()?)
            .button("View the secret"),
    )
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
        .fact("Old secret", format!("refused since {}", zone.at(facts.time("ended_at")?)))
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
    let next =
        format!("Change the remaining callers to the new secret before {deadline}, or extend the deadline.");
    let said = Said::new(
        &format!("old secret expires {deadline} and is still needed"),
        "The old secret expires soon and is still needed",
        next,
    )
    .client_first()
    .urgent(facts.number("hours_before")? <= 4)
    .fact("Old secret", format!("valid until {deadline}"))
    .fact("Callers left on the old secret", facts.number("callers_left")?.to_string())
    .fact("Last use of the old secret", or_never(facts.time("last_used_at")))
    .fact("First use of the new secret", or_never(facts.time("new_first_used_at")))
    .button("View and mark as seen");
    Some(said)
}
