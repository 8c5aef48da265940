//! Changes of the secrets of a registration: rotate, reveal, revoke, extend, roll back.

use super::environment::{Configure, Forms, ShownValue, ValuesPage, again, belongs_to_form};
use super::place::Place;
use crate::console::{
    error::is_script,
    form::{Fields, Form},
    message::{Everywhere, redirect_once_enforced, redirect_with},
    page, page_with,
    session::{Fresh, SignedIn},
};
use crate::reply::Reply;
use axum::{
    Json,
    extract::Path,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Redirect, Response},
};
use crossfade_app::{Error, IdempotencyKey, Input, NO_INPUT, RegistrationPath, Request};
use crossfade_core::{
    Code, Problem, SecretId,
    api::{
        Enforced, ExtendSecret, RevealSecret, RevokeSecret, RollBackRotation, RotateSecret,
        RotateSecretAnswer, RotateSecretReply,
    },
};
use serde_json::{Value, json};

pub(super) type Names = (String, String);

pub(super) fn of(names: &Names) -> RegistrationPath<'_> {
    RegistrationPath { client: &names.0, environment: &names.1 }
}

/// Returns the address of a tab.
fn tab_path(names: &Names, tab: &str) -> String {
    format!("/console/clients/{}/environments/{}/{tab}", names.0, names.1)
}

/// Redirects to a tab, which says what was done.
pub(super) fn to(names: &Names, tab: &str, done: &'static str) -> Response {
    redirect_with(&tab_path(names, tab), done)
}

/// Redirects to a tab, which says what was done and on which nodes it is in force.
fn to_once_enforced(names: &Names, tab: &str, done: &'static str, enforced: Option<&Enforced>) -> Response {
    redirect_once_enforced(&tab_path(names, tab), done, enforced)
}

pub(super) fn own(fields: &Fields, name: &str) -> Option<String> {
    fields.filled(name).map(str::to_owned)
}

/// Returns a field for hours in the form of the API: a whole number, or the typed text.
fn hours(text: &str) -> Value {
    let text = text.trim();
    text.parse::<u64>().map_or_else(|_| Value::from(text), Value::from)
}

/// Returns the time in a field without a zone. The label says that it is UTC.
pub(super) fn utc(text: &str) -> String {
    match text.trim() {
        text if text.len() == 16 => format!("{text}:00Z"),
        text => format!("{text}Z"),
    }
}

pub(super) async fn refused(
    signed: &SignedIn,
    names: &Names,
    error: Error,
    put: impl FnOnce(&mut Forms, Problem),
) -> Reply {
    if !belongs_to_form(&error.problem) {
        return Err(error.into());
    }
    again(signed, (&names.0, &names.1), Configure::Security, error.problem, put).await
}

pub(super) async fn rotate(Path(names): Path<Names>, Fresh { signed, fields }: Fresh) -> Reply {
    // Load the page data first: once the rotation is done, failing to load it must not look like a refusal.
    let place = Place::load(&signed, &names.0).await?;
    match rotated(&signed, &names, &fields).await {
        Ok(reply) => delivered(&signed, &names, &place, reply, fields.ticked("revoke_tokens")),
        // The same click twice: the first one is doing it, and the page shows it in a moment.
        Err(error) if error.problem.code == Code::IdempotencyInFlight => {
            Ok(Redirect::to(&tab_path(&names, "credentials")).into_response())
        }
        Err(error) => {
            refused(&signed, &names, error, |forms, problem| {
                // What is expected to be current, and the key of this attempt, are those of the page as it is now.
                let now = |name: &str| forms.rotate.value(name).to_owned();
                let (expected, key) = (now("expected_current_secret_id"), now("idempotency_key"));
                let typed = [
                    "transition_hours",
                    "confirm_client_name",
                    "reason",
                    "end_running_transition",
                    "compromised",
                    "revoke_tokens",
                ];
                let kept = fields.iter().filter(|(name, _)| typed.contains(name));
                let kept = kept.fold(Fields::default(), |kept, (name, value)| kept.with(name, value));
                let kept = kept.with("expected_current_secret_id", expected).with("idempotency_key", key);
                forms.rotate = Form::new("rotate", kept).refused(problem);
            })
            .await
        }
    }
}

async fn rotated(signed: &SignedIn, names: &Names, fields: &Fields) -> Result<RotateSecretReply, Error> {
    let expected = own(fields, "expected_current_secret_id").map(|id| SecretId::parse(&id)).transpose();
    let compromised = fields.ticked("compromised");
    let body = RotateSecret {
        transition_hours: Some(hours(fields.text("transition_hours"))),
        confirm_client_name: Some(fields.text("confirm_client_name").to_owned()),
        reason: own(fields, "reason"),
        expected_current_secret_id: expected.map_err(|_| {
            Problem::new(
                Code::InvalidBody,
                "The form is incomplete. Nothing was changed. Reload the page and try again.",
            )
        })?,
        end_running_transition: fields.ticked("end_running_transition"),
        compromised,
        // The choice belongs to a leak, and the page hides it otherwise.
        revoke_tokens: compromised && fields.ticked("revoke_tokens"),
        require_value: false,
        if_older_than_seconds: None,
    };
    let sent = serde_json::to_vec(&body).map_err(Error::internal)?;
    let path = format!("{}/{}", names.0, names.1);
    let key = own(fields, "idempotency_key")
        .map(|key| IdempotencyKey::new(&key, "CONSOLE", &path, &sent))
        .transpose()?;
    let request = Request { idempotency: key.as_ref(), ..signed.request() };
    let done = match signed.app.rotate_secret(&request, of(names), Input::Value(body.clone())).await {
        // Another form of the same page was sent with something else in it: what that one did decides.
        Err(error) if error.problem.code == Code::IdempotencyMismatch => {
            signed.app.rotate_secret(&signed.request(), of(names), Input::Value(body)).await
        }
        done => done,
    };
    match done? {
        RotateSecretAnswer::Rotated(reply) => Ok(*reply),
        RotateSecretAnswer::NotRotated(_) => Err(Error::internal("the form requires no age")),
    }
}

/// Redirects to the new secret. If it is not stored, the response itself contains it.
fn delivered(
    signed: &SignedIn,
    names: &Names,
    place: &Place,
    reply: RotateSecretReply,
    with_tokens: bool,
) -> Reply {
    let show_once = place.environments.iter().any(|it| it.slug == names.1 && it.show_once);
    let (true, Some(value)) = (show_once, reply.secret.value) else {
        return Ok(to_once_enforced(names, "credentials", "rotated", reply.enforced.as_ref()));
    };
    let at = crate::console::moment::utc;
    let mut sentence = match reply.previous_secret.state.is_valid() {
        true => {
            let end = at(reply.previous_secret.expires_at);
            format!("The secret of {} was rotated. The old secret expires {end}.", place.client.name)
        }
        false => {
            format!(
                "The secret of {} was rotated. The old secret expires immediately and is refused from now on.",
                place.client.name
            )
        }
    };
    if let Some(until) = reply.tokens_valid_offline_until {
        let what = if with_tokens { "were ended" } else { "were not ended" };
        sentence.push_str(&format!(
            " Access tokens issued under it {what}. A resource server that validates tokens offline may accept one until {}.",
            at(until)
        ));
    }
    if let Some(everywhere) = reply.enforced.as_ref().and_then(Everywhere::of) {
        sentence.push(' ');
        sentence.push_str(&everywhere.sentence());
    }
    let shown = values_page(signed, place, &names.1, sentence, value)?;
    Ok(page_with(StatusCode::CREATED, &ValuesPage { once: true, ..shown }))
}

/// Returns a page that shows one value.
fn values_page(
    signed: &SignedIn,
    place: &Place,
    slug: &str,
    sentence: String,
    value: String,
) -> Result<ValuesPage, Problem> {
    let registration = place.client.registrations.iter().find(|it| it.environment == slug);
    let (Some(known), Some(registration)) = (place.badges.get(slug), registration) else {
        return Err(Problem::not_found());
    };
    Ok(ValuesPage {
        layout: place.layout(signed).in_environment(known.badge.clone()),
        sentence,
        once: false,
        secrets: vec![ShownValue {
            badge: known.badge.clone(),
            client_id: registration.client_id.to_string(),
            value,
        }],
        next: format!("{}/security", place.environment_path(slug)),
    })
}

/// Returns the value for a script or, without JavaScript, a page that shows it.
pub(super) async fn reveal(
    Path((client, environment, secret)): Path<(String, String, String)>,
    headers: HeaderMap,
    Fresh { signed, .. }: Fresh,
) -> Reply {
    let names = (client, environment);
    let body = Input::Value(RevealSecret { reason: None });
    let reply = signed.app.reveal_secret(&signed.request(), of(&names), &secret, body).await?;
    if is_script(&headers) {
        return Ok(Json(json!({"value": reply.value})).into_response());
    }
    let place = Place::load(&signed, &names.0).await?;
    let sentence = "This reveal is recorded in the audit trail.".to_owned();
    let value = reply.value.ok_or_else(Problem::not_found)?;
    Ok(page(&values_page(&signed, &place, &names.1, sentence, value)?))
}

pub(super) async fn revoke(
    Path((client, environment, secret)): Path<(String, String, String)>,
    Fresh { signed, fields }: Fresh,
) -> Reply {
    let names = (client, environment);
    let body = RevokeSecret {
        reason: own(&fields, "reason"),
        compromised: fields.ticked("compromised"),
        revoke_tokens: fields.ticked("compromised") && fields.ticked("revoke_tokens"),
        // A dialog that was drawn while it was safe does not ask for the name. A leaked secret ends whoever uses it.
        only_if_safe: !fields.ticked("confirm_client_name") && !fields.ticked("compromised"),
        quiet_seconds: None,
    };
    let (request, path, body) = (signed.request(), of(&names), Input::Value(body));
    let done = match fields.ticked("confirm_client_name") {
        true => {
            let typed = fields.text("confirm_client_name");
            signed.app.revoke_secret_confirmed(&request, path, &secret, typed, body).await
        }
        false => signed.app.revoke_secret(&request, path, &secret, body).await,
    };
    match done {
        Ok(done) => Ok(to_once_enforced(&names, "security", "revoked", done.enforced.as_ref())),
        Err(error) => {
            refused(&signed, &names, error, |forms, mut problem| {
                if problem.code == Code::NotSafeToEnd {
                    let summary = problem.detail.split(" Nothing was changed.").next().unwrap_or_default();
                    problem.detail = format!(
                        "{summary} Nothing was changed. Wait until it is safe, or enter the client’s name to revoke the old secret anyway."
                    );
                }
                let fields = match fields.ticked("confirm_client_name") {
                    true => fields,
                    false => fields.with("confirm_client_name", ""),
                };
                forms.revoke = Form::new("revoke", fields).refused(problem);
            })
            .await
        }
    }
}

pub(super) async fn extend(
    Path((client, environment, secret)): Path<(String, String, String)>,
    Fresh { signed, fields }: Fresh,
) -> Reply {
    let names = (client, environment);
    let body = ExtendSecret { expires_at: utc(fields.text("expires_at")), reason: own(&fields, "reason") };
    match signed.app.extend_secret(&signed.request(), of(&names), &secret, Input::Value(body)).await {
        Ok(done) => Ok(to_once_enforced(&names, "security", "extended", done.enforced.as_ref())),
        Err(error) => {
            refused(&signed, &names, error, |forms, problem| {
                forms.extend = Form::new("extend", fields).refused(problem);
            })
            .await
        }
    }
}

/// Records that the person knows of the transition. A link in a mail leads to the page; only this form acts, because
/// scanners of mail follow links.
pub(super) async fn mark_seen(
    Path((client, environment, rotation)): Path<(String, String, String)>,
    signed: SignedIn,
) -> Reply {
    let names = (client, environment);
    match signed.app.mark_seen(&signed.request(), of(&names), &rotation, NO_INPUT).await {
        Ok(_) => Ok(to(&names, "security", "seen")),
        // It ended while the page was open, which the page now says.
        Err(error) if error.problem.code == Code::NotRetiring => Ok(to(&names, "security", "")),
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn rollback(
    Path((client, environment, rotation)): Path<(String, String, String)>,
    Fresh { signed, fields }: Fresh,
) -> Reply {
    let names = (client, environment);
    let body = RollBackRotation {
        reason: own(&fields, "reason"),
        acknowledge_in_use: fields.ticked("acknowledge_in_use"),
        compromised: fields.ticked("compromised"),
        revoke_tokens: fields.ticked("compromised") && fields.ticked("revoke_tokens"),
    };
    match signed.app.rollback_secret(&signed.request(), of(&names), &rotation, Input::Value(body)).await {
        Ok(done) => Ok(to_once_enforced(&names, "security", "rolled-back", done.enforced.as_ref())),
        Err(error) => {
            refused(&signed, &names, error, |forms, problem| {
                forms.rollback = Form::new("rollback", fields).refused(problem);
            })
            .await
        }
    }
}
