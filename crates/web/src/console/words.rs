//! Events and refusals in the words of the page. Refusals are written for the API, whose members and times a reader of the Console does
//! not see.

use super::moment;
use crossfade_core::{Timestamp, TransitionHours};

/// The longest transition period in hours, for the pages.
pub(crate) const MAX_HOURS: u8 = TransitionHours::MAX.hours();
/// The periods that buttons offer.
pub(crate) const USUAL_HOURS: [u8; 5] = [0, 1, 24, 72, MAX_HOURS];

/// Events whose code does not read as words.
const EVENTS: &[(&str, &str)] = &[
    ("upstream_credential.release_read", "Way back to issuer shown"),
    ("registration.public_client_found", "Public client found"),
    ("upstream_credential.encoding_found", "Credential encoding found"),
    ("user.created", "Account created"),
    ("user.updated", "Account updated"),
    ("user.deleted", "Account deleted"),
    ("user.activated", "Account activated"),
    ("user.deactivated", "Account closed"),
    ("user.password_changed", "Password changed"),
    ("grant.created", "Role granted"),
    ("grant.deleted", "Role removed"),
    ("token.created", "API token created"),
    ("token.deleted", "API token ended"),
    ("session.created", "Signed in"),
    ("session.ended", "Sessions ended"),
    ("session.logged_out", "Signed out by provider"),
    ("grant.kept", "Role of last Owner kept"),
    ("provisioning_token.created", "Provisioning token created"),
    ("provisioning_token.deleted", "Provisioning token ended"),
    ("scim_user.created", "Person provisioned"),
    ("scim_user.updated", "Provisioned person changed"),
    ("scim_user.deleted", "Person no longer provisioned"),
    ("scim_group.created", "Group provisioned"),
    ("scim_group.updated", "Provisioned group changed"),
    ("scim_group.deleted", "Group no longer provisioned"),
    ("user.kept", "Account kept"),
    ("identity.linked", "Account linked"),
    ("identity.unlinked", "Account unlinked"),
    ("session.refused", "Sign-in refused"),
    ("device.ended", "Browser no longer known"),
    ("factor.added", "Second factor added"),
    ("factor.removed", "Second factor removed"),
    ("factor.suspected", "Copied passkey refused"),
    ("recovery_codes.created", "Recovery codes created"),
    ("sign_in_policy.updated", "Sign-in policy updated"),
    ("secret.revealed", "Secret shown"),
    ("secret.wiped", "Secret value wiped"),
    ("transition.deadline_near", "Deadline near"),
    ("access.exported", "Access review exported"),
    ("access_token.revocations", "Access tokens revoked"),
];

/// Returns the title of an event in a few words: "Secret rotated" for `secret.rotated`.
pub(super) fn event(code: &str) -> String {
    if let Some((_, title)) = EVENTS.iter().find(|(own, _)| *own == code) {
        return (*title).to_owned();
    }
    let words = code.replace(['.', '_'], " ");
    let mut letters = words.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}", letters.as_str())
}

/// What a refusal says to callers of the API, and what a page says.
const PHRASES: &[(&str, &str)] = &[
    (
        "To roll back and let its callers fail, set acknowledge_in_use.",
        "To roll back and let its callers fail, select “Revoke it anyway”.",
    ),
    (
        "or set end_running_transition to end it with this rotation",
        "or select “End the running transition now”",
    ),
    (
        "Set transition_hours to 0, or set end_running_transition.",
        "Set the transition period to 0, or select “End the running transition now”.",
    ),
    ("Set transition_hours to 0.", "Set the transition period to 0."),
    ("rotate it with transition_hours 0 and set compromised", "rotate it and select “The secret has leaked”"),
    ("set acknowledge_locked_out to the number of callers", "select “Lock these callers out”"),
    ("set confirm_environment_slug to", "enter this name to confirm:"),
    ("Omit starts_at", "Leave “First window” empty"),
    ("with this length_seconds", "with this window length"),
    ("at least length_seconds", "at least the window length"),
    ("length_seconds", "the window length"),
    ("every_seconds", "the interval"),
    ("starts_at", "the first window"),
    ("expires_at", "the new deadline"),
    ("transition_hours", "the transition period"),
    ("token_endpoint_auth_methods", "Authentication methods"),
    ("access_token_ttl_seconds", "the token lifetime"),
    ("so property_id or client_id is required", "so choose one under Scope"),
    ("confirm_client_name", "the client's name"),
    ("max_age_days", "the maximum secret age"),
    ("wipe_after_days", "the days until values are wiped"),
    ("guard_extension_hours", "the automatic extension"),
    ("signing_key_rotation_days", "the signing key schedule"),
    ("show_once", "“Show secrets once”"),
    ("signing_alg", "the signing algorithm"),
    ("may_introspect", "“Introspect all tokens”"),
    ("allowed_networks", "Allowed networks"),
    ("self_rotation", "“Rotate its own secret”"),
];

/// Returns a refusal in the words of the page.
pub(super) fn of_page(detail: &str) -> String {
    let mut text = detail.to_owned();
    for (said, shown) in PHRASES {
        text = text.replace(said, shown);
    }
    let words = text.split(' ').filter(|word| !is_secret_id(word)).map(in_page_time);
    words.collect::<Vec<_>>().join(" ")
}

/// Whether a word is the id of a secret, which a page names by its place.
fn is_secret_id(word: &str) -> bool {
    word.strip_prefix("sec_")
        .is_some_and(|rest| rest.len() > 8 && rest.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Returns a time of the API as the Console writes it, and any other word as it is.
fn in_page_time(word: &str) -> String {
    let time = word.trim_end_matches([',', '.']);
    match Timestamp::parse(time).ok().filter(|_| time.ends_with('Z')) {
        Some(at) => format!("{}{}", moment::utc(at), &word[time.len()..]),
        None => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossfade_core::{SecretId, rotation::Refusal};

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn a_refusal_names_what_the_page_has() {
        let id = SecretId::parse("sec_49c9AhufPEgYVUwNHIo3Il").unwrap();
        let used = at("2026-11-29T00:00:36.436580Z");
        let refusals = [
            Refusal::NewerSecretInUse { newer: id.clone(), last_used_at: used },
            Refusal::TransitionInProgress { retiring: id, expires_at: used },
            Refusal::ExtensionOutOfRange { later_than: used, at_most: used },
            Refusal::NotRetiring,
            Refusal::CompromisedNeedsZero,
        ];
        for refusal in refusals {
            let shown = of_page(&refusal.problem(None).detail);
            let is_word = |word: &str| !word.contains('_') && !word.contains("2026-11");
            assert!(shown.split(' ').all(is_word), "{shown}");
        }
        assert_eq!(
            of_page(
                "The newer secret sec_49c9AhufPEgYVUwNHIo3Il is in use: its last use was at 2026-11-29T00:00:36.436580Z. Nothing was changed."
            ),
            "The newer secret is in use: its last use was at 29 Nov 2026, 00:00 UTC. Nothing was changed."
        );
    }

    #[test]
    fn other_words_stay() {
        for text in ["Use client_id or redirect_uri.", "a sec_ of it", "at 2026-11-29."] {
            assert_eq!(of_page(text), text);
        }
    }

    #[test]
    fn every_event_has_a_title_of_its_own() {
        let mut titles = std::collections::BTreeSet::new();
        for action in crossfade_core::audit::Action::ALL {
            let title = event(action.as_str());
            assert!(title.len() <= 30 && !title.contains(['.', '_']), "{title}");
            assert!(titles.insert(title.clone()), "{title}");
        }
        assert_eq!(event("signing_key.rotated"), "Signing key rotated");
        for (code, _) in EVENTS {
            assert!(crossfade_core::audit::Action::parse(code).is_some(), "{code}");
        }
    }
}
