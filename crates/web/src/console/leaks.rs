//! Leaks: a text to paste, the secrets in it, and the way to end them. The text is in no URL, and no page shows it again.

use super::{
    clients::{Badges, badges, belongs_to_form},
    error::status,
    form::{Fields, Form},
    layout::{Layout, Section},
    page, page_with,
    session::{SignedIn, Submitted},
};
use crate::reply::{Refused, Reply};
use askama::Template;
use crossfade_app::{Abilities, Input};
use crossfade_core::{
    Timestamp,
    api::{FoundSecret, IdentifiedSecret, IdentifySecrets},
    rotation::SecretState,
};

#[derive(Template)]
#[template(path = "console/leaks.html")]
struct LeaksPage {
    layout: Layout,
    now: Timestamp,
    form: Form,
    found: Option<Found>,
}

/// What a text contains.
struct Found {
    lines: Vec<Line>,
    older_secrets_not_searched: bool,
}

/// A secret in the text.
struct Line {
    found: FoundSecret,
    environment: Option<super::environment::EnvironmentBadge>,
    end: End,
}

/// How the reader can end a secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Rotate,
    Revoke,
    /// It has ended.
    Ended,
    /// The role of the reader does not permit it.
    Forbidden,
}

impl Line {
    fn new(found: FoundSecret, badges: &Badges, may: Abilities) -> Self {
        let badge = |it: &IdentifiedSecret| badges.get(&it.environment).map(|known| known.badge.clone());
        let environment = found.identified.as_ref().and_then(badge);
        let end = found.identified.as_ref().map_or(End::Ended, |it| end(it, may));
        Self { found, environment, end }
    }

    /// Returns the address at which the dialog that ends the secret is open.
    fn end_path(&self, it: &IdentifiedSecret) -> String {
        let (client, environment, secret) = (&it.client_id, &it.environment, &it.secret.id);
        format!("/console/clients/{client}/environments/{environment}/security?leaked={secret}")
    }

    /// Returns when the secret ended or will end.
    fn ends_at(&self, it: &IdentifiedSecret) -> Option<Timestamp> {
        it.secret.revoked_at.or(it.secret.expires_at)
    }
}

fn end(it: &IdentifiedSecret, may: Abilities) -> End {
    match it.secret.state {
        _ if it.client_deleted_at.is_some() => End::Ended,
        SecretState::Current if may.rotate => End::Rotate,
        SecretState::Retiring if may.revoke => End::Revoke,
        SecretState::Current | SecretState::Retiring => End::Forbidden,
        SecretState::Expired | SecretState::Revoked => End::Ended,
    }
}

impl Found {
    /// Returns the result in one sentence.
    fn summary(&self) -> String {
        let (found, known) = (self.lines.len(), self.identified());
        let secrets = if found == 1 { "1 client secret" } else { &format!("{found} client secrets") };
        match (found, known) {
            (0, _) => "The text contains no client secret.".to_owned(),
            (1, 0) => {
                format!("The text contains {secrets}. It belongs to no registration that you can read.")
            }
            (1, _) => format!("The text contains {secrets}. You can read its registration."),
            (_, 0) => {
                format!("The text contains {secrets}. None belongs to a registration that you can read.")
            }
            (_, 1) => format!("The text contains {secrets}. 1 belongs to a registration that you can read."),
            _ => format!("The text contains {secrets}. {known} belong to registrations that you can read."),
        }
    }

    fn identified(&self) -> usize {
        self.lines.iter().filter(|line| line.found.identified.is_some()).count()
    }

    /// Whether any of them is still valid.
    fn is_urgent(&self) -> bool {
        self.lines.iter().any(|line| line.end != End::Ended)
    }
}

fn shown(signed: &SignedIn, form: Form, found: Option<Found>) -> LeaksPage {
    let now = signed.app.authority().clock().now();
    LeaksPage { layout: signed.layout(Section::Leaks, "Leaks"), now, form, found }
}

fn empty() -> Form {
    Form::new("", Fields::default())
}

pub(super) async fn show(signed: SignedIn) -> Reply {
    Ok(page(&shown(&signed, empty(), None)))
}

pub(super) async fn identify(Submitted { signed, mut fields }: Submitted) -> Reply {
    let body = IdentifySecrets { text: fields.take("text") };
    match signed.app.identify_secrets(&signed.request(), Input::Value(body)).await {
        Ok(reply) => {
            let badges = badges(&signed.app.list_environments(signed.principal()).await?);
            let line = |found: FoundSecret| {
                let may = found.identified.as_ref().map(|it| signed.app.abilities_on(signed.principal(), it));
                Line::new(found, &badges, may.unwrap_or_default())
            };
            let lines = reply.found.into_iter().map(line).collect();
            let older_secrets_not_searched = reply.older_secrets_not_searched;
            Ok(page(&shown(&signed, empty(), Some(Found { lines, older_secrets_not_searched }))))
        }
        Err(error) if belongs_to_form(&error.problem) => {
            let answer = status(&error.problem);
            Ok(page_with(answer, &shown(&signed, empty().refused(error.problem), None)))
        }
        Err(error) => Err(Refused::from(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::crossfade::samples;
    use serde_json::json;

    fn found(state: &str, deleted: bool) -> FoundSecret {
        let ended = (state != "current").then(samples::now);
        serde_json::from_value(json!({
            "offset": 7, "line": 3, "prefix": "crossfade_live_", "encoded": false,
            "identified": {
                "secret": {
                    "id": format!("sec_{:022}", 1), "state": state, "created_at": samples::now(), "expires_at": ended,
                    "revoked_at": null, "first_used_at": null, "last_used_at": null, "use_count": 0, "stored": false,
                },
                "compromised_at": null, "property_id": format!("prop_{:022}", 1), "property": "Shop",
                "client_id": format!("cl_{:022}", 1), "client": "Billing <b>", "client_deleted_at": deleted.then(samples::now),
                "environment": "production", "registration_id": format!("reg_{:022}", 1),
                "oauth_client_id": format!("{:022}", 1), "disabled_at": null,
            },
        }))
        .unwrap()
    }

    fn page_of(lines: Vec<FoundSecret>, may: Abilities) -> String {
        let lines = lines.into_iter().map(|it| Line::new(it, &Badges::new(), may)).collect();
        let layout = Layout::sample(Section::Leaks, "Leaks");
        let found = Some(Found { lines, older_secrets_not_searched: true });
        LeaksPage { layout, now: samples::now(), form: empty(), found }.render().unwrap()
    }

    #[test]
    fn a_valid_secret_leads_to_its_end_and_an_ended_one_does_not() {
        let html = page_of(vec![found("current", false)], Abilities::ALL);
        assert!(html.contains("security?leaked=sec_0000000000000000000001\">Rotate</a>"), "{html}");
        assert!(html.contains("Billing &#60;b&#62;") && html.contains("cannot be recognised"), "{html}");
        let html = page_of(vec![found("retiring", false)], Abilities::ALL);
        assert!(html.contains(">Revoke</a>"), "{html}");
        for it in [found("expired", false), found("current", true)] {
            assert!(!page_of(vec![it], Abilities::ALL).contains("?leaked="));
        }
        let html = page_of(vec![found("current", false)], Abilities::default());
        assert!(!html.contains("?leaked=") && html.contains("Your role cannot end it"), "{html}");
    }

    #[test]
    fn an_unknown_secret_is_a_line_without_a_registration() {
        let unknown = FoundSecret { identified: None, ..found("current", false) };
        let html = page_of(vec![unknown], Abilities::ALL);
        assert!(html.contains("It belongs to no registration that you can read."), "{html}");
        assert!(!html.contains("Billing"));
    }
}
