//! Letters about drills.

use super::{Facts, Said, count, described_caller};
use crossfade_core::TimeZone;

/// Maximum number of callers that are named.
const MAX_CALLERS: usize = 5;

pub(super) fn scheduled(facts: &Facts<'_>, zone: &TimeZone) -> Option<Said> {
    let (starts, ends) = (facts.time("starts_at")?, facts.time("ends_at")?);
    let length = match facts.number("length_seconds")? {
        seconds if seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    };
    let next = "The old secret is refused in each window. Stop the drill if that causes an outage.";
    Some(
        of_secret(Said::new("Drill scheduled", "A drill was scheduled for the old secret", next), facts)
            .fact("First window begins", zone.at(starts))
            .fact("Last window ends", zone.at(ends))
            .fact("Windows", format!("{}, each of {length}", facts.number("repeat")?))
            .button("View the drill"),
    )
}

pub(super) fn stopped(facts: &Facts<'_>) -> Said {
    let next = match facts.text("stopped_as") {
        None | Some("stopped") => {
            "The old secret is accepted again until its deadline. Nothing needs to be done."
        }
        Some(_) => "Another change of the secret or of its client ended the drill. Nothing needs to be done.",
    };
    of_secret(Said::new("Drill stopped", "The drill was stopped", next), facts).button("View the drill")
}

/// Adds the ID of the secret that a drill refuses.
fn of_secret(said: Said, facts: &Facts<'_>) -> Said {
    match facts.text("secret_id") {
        Some(id) => said.fact("Old secret", id),
        None => said,
    }
}

pub(super) fn finished(facts: &Facts<'_>) -> Option<Said> {
    let callers = facts.number("caller_count")?;
    let next = match callers {
        0 => "No caller was refused. Check the change-over before you end the old secret.".to_owned(),
        _ => "Change these callers to the new secret before the deadline.".to_owned(),
    };
    let found = match callers {
        0 => "The drill has ended and refused no caller".to_owned(),
        _ => format!("The drill has ended and refused {}", count(callers, "caller")),
    };
    let said = Said::new(&format!("Drill ended, {} refused", count(callers, "caller")), &found, next);
    let mut said = of_secret(said, facts)
        .urgent(callers > 0)
        .fact("Refusals", facts.number("refusal_count")?.to_string())
        .button("View the drill");
    for caller in facts.list("callers").iter().take(MAX_CALLERS) {
        said = said.fact("Refused caller", described_caller(caller));
    }
    let unrecorded = facts.number("unrecorded_seconds").unwrap_or(0);
    Some(match unrecorded {
        0 => said,
        seconds => said.fact("Without evidence", format!("{seconds} s of the windows")),
    })
}
