//! What letters say about the upstream credential of a registration.

use super::{Facts, Said};
use crossfade_core::time_zone::TimeZone;

pub(super) fn refused(facts: &Facts<'_>, zone: &TimeZone) -> Option<Said> {
    let said = Said::new(
        "Upstream credential refused",
        "The upstream issuer refuses the credential",
        "Set the secret that the issuer has now. Until then, callers of this client are answered with 503 and get no tokens, \
        whichever secret they present.",
    )
    .urgent(true)
    .button("Set the credential")
    .fact("Refused since", zone.at(facts.time("since")?));
    Some(match facts.text("last_error") {
        Some(error) => said.fact("Response of the issuer", error),
        None => said,
    })
}

pub(super) fn accepted(facts: &Facts<'_>, zone: &TimeZone) -> Option<Said> {
    let said = Said::new(
        "Upstream credential accepted again",
        "The upstream issuer accepts the credential again",
        "Callers of this client get tokens again. Nothing needs to be done.",
    )
    .button("View the credential")
    .fact("Refused from", zone.at(facts.time("refused_since")?));
    Some(match facts.text("slot") {
        Some("next") => said.fact("Accepted secret", "the next secret"),
        _ => said.fact("Accepted secret", "the current secret"),
    })
}
