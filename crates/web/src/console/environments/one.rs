//! One environment: its settings and its signing keys.

use super::list::{algorithm, kind};
use crate::console::{
    clients::belongs_to_form,
    environment::EnvironmentBadge,
    error::status,
    form::{Fields, Form},
    layout::{Layout, Section},
    message::redirect_with,
    moment, page, page_with,
    session::{Fresh, SignedIn},
};
use crate::reply::{Refused, Reply};
use askama::Template;
use axum::extract::Path;
use crossfade_app::{Deletion, EnvironmentPath, Input};
use crossfade_core::{
    Code, Problem, Timestamp, api,
    api::{RotateSigningKey, UpdateEnvironment},
    environment::SigningAlg,
    roles::Permission,
    upstream::{IssuerMode, UnregisteredClients},
};

#[derive(Template)]
#[template(path = "console/environments/one.html")]
struct OnePage {
    layout: Layout,
    now: Timestamp,
    it: api::Environment,
    badge: EnvironmentBadge,
    keys: Vec<api::SigningKey>,
    positions: Vec<(String, String)>,
    may_manage: bool,
    may_manage_upstream: bool,
    /// Whether this reader can read which clients pass without being registered.
    may_list_unregistered: bool,
    /// Number of stored values.
    stored_values: u64,
    edit: Form,
    rotate: Form,
    delete: Form,
}

const LABELS: [(&str, &str); 10] = [
    ("name", "Name"),
    ("kind", "Kind"),
    ("signing_alg", "Signing algorithm"),
    ("max_age_days", "Maximum secret age (days)"),
    ("guard_extension_hours", "Automatic extension (hours)"),
    ("signing_key_rotation_days", "Rotate signing key (days)"),
    ("unregistered_clients", "Unregistered clients"),
    ("adopt_until", "Learn secrets until (UTC)"),
    ("wipe_after_days", "Wipe values after (days)"),
    ("show_once", "Show secrets once"),
];

/// Which of the forms is shown again.
enum Which {
    Edit,
    Rotate,
    Delete,
}

impl OnePage {
    /// Returns a sentence about the stored values that are lost if secrets are shown once.
    fn show_once_hint(&self) -> String {
        match self.stored_values {
            0 => "Each new value is shown once and never stored. No values are stored now.".to_owned(),
            1 => {
                "Each new value is shown once and never stored. Turning this on destroys the 1 stored value. This cannot be undone."
                    .to_owned()
            }
            n => format!(
                "Each new value is shown once and never stored. Turning this on destroys the {n} stored values. This cannot be undone."
            ),
        }
    }

    fn delete_hint(&self) -> String {
        format!("Type {} to confirm.", self.it.slug)
    }

    fn confirm_hint(&self) -> String {
        format!(
            "Needed only if the change destroys stored values: Show secrets once, or an earlier wipe. Type {} to confirm.",
            self.it.slug
        )
    }
}

async fn load(signed: &SignedIn, slug: &str) -> Result<OnePage, Refused> {
    let (app, principal) = (&signed.app, signed.principal());
    let all = app.list_environments(principal).await?;
    let at = all.iter().position(|it| it.slug == slug).ok_or_else(Problem::not_found)?;
    let it = all[at].clone();
    let version = app.read_environment(principal, EnvironmentPath(slug)).await?.version;
    let mut fields = Fields::default()
        .with("name", it.name.clone())
        .with("kind", it.kind.as_str())
        .with("signing_alg", it.signing_alg.map_or("", SigningAlg::as_str))
        .with("wipe_after_days", it.wipe_after_days.to_string())
        .with("max_age_days", it.max_age_days.map(|days| days.to_string()).unwrap_or_default())
        .with(
            "guard_extension_hours",
            it.guard_extension_hours.map(|hours| hours.to_string()).unwrap_or_default(),
        )
        .with(
            "signing_key_rotation_days",
            it.signing_key_rotation_days.map(|days| days.to_string()).unwrap_or_default(),
        )
        .with("position", at.to_string())
        .with("confirm_environment_slug", "")
        .with("version", version.to_string());
    if let Some(unregistered) = it.unregistered_clients {
        fields = fields.with("unregistered_clients", unregistered.as_str());
        // As a browser writes a time: without seconds and zone.
        let until = it.adopt_until.map(|until| until.to_string().chars().take(16).collect::<String>());
        let shown = it.adopt_until.map(|until| until.to_string()).unwrap_or_default();
        fields = fields.with("adopt_until", until.unwrap_or_default()).with("adopt_until_shown", shown);
    }
    if it.show_once {
        fields = fields.with("show_once", "true");
    }
    let badge = EnvironmentBadge::new(&it.name, it.kind, at);
    let layout =
        signed.layout(Section::Environments, &it.name).crumb("Environments", "/console/environments");
    Ok(OnePage {
        layout: layout.of_environment(badge.clone()),
        now: signed.session.now,
        keys: app.list_signing_keys(principal, EnvironmentPath(slug)).await?,
        positions: (0..all.len()).map(|place| (place.to_string(), (place + 1).to_string())).collect(),
        may_manage: principal.may_somewhere(Permission::EnvironmentManage),
        may_list_unregistered: principal.may_on_platform(Permission::ClientRead),
        may_manage_upstream: principal.may_somewhere(Permission::UpstreamManage),
        stored_values: app.stored_values(principal, EnvironmentPath(slug)).await?,
        edit: Form::new("edit", fields),
        rotate: Form::new("rotate", Fields::default().with("reason", "")),
        delete: Form::new("delete", Fields::default().with("confirm_environment", "")),
        badge,
        it,
    })
}

pub(in crate::console) async fn show(Path(slug): Path<String>, signed: SignedIn) -> Reply {
    let mut shown = load(&signed, &slug).await?;
    let done = match signed.said() {
        "saved" => Some(match shown.it.signing_alg_from {
            None => "The settings were saved.".to_owned(),
            Some(from) => format!(
                "The settings were saved. New tokens are signed with {} from {}. Until then, the previous algorithm is used.",
                shown.it.signing_alg.map_or("", SigningAlg::as_str),
                moment::utc(from)
            ),
        }),
        "key" => {
            Some(match shown.keys.iter().map(|key| key.active_from).max().filter(|from| *from > shown.now) {
                None => "The new signing key was created and signs now.".to_owned(),
                Some(from) => {
                    format!("The new signing key is published. It starts signing {}.", moment::utc(from))
                }
            })
        }
        _ => None,
    };
    shown.layout = shown.layout.done(done);
    Ok(page(&shown))
}

async fn again(
    signed: &SignedIn,
    slug: &str,
    fields: Fields,
    error: crossfade_app::Error,
    which: Which,
) -> Reply {
    if !belongs_to_form(&error.problem) {
        return Err(error.into());
    }
    let problem = error.problem;
    let answer = status(&problem);
    let mut shown = load(signed, slug).await?;
    match which {
        Which::Edit if problem.code == Code::PreconditionFailed => {
            let by = signed.app.last_change_of_environment(signed.principal(), EnvironmentPath(slug)).await?;
            shown.edit = shown.edit.overtaken(fields, by, &LABELS);
        }
        Which::Edit => shown.edit = Form::new("edit", fields).refused(problem),
        Which::Rotate => shown.rotate = Form::new("rotate", fields).refused(problem),
        Which::Delete => shown.delete = Form::new("delete", fields).refused(problem),
    }
    Ok(page_with(answer, &shown))
}

/// Returns until when secrets are learned; `None` if that stays, or was not in the form. A browser sends a time without seconds and
/// zone.
fn adopt_until(fields: &Fields) -> Option<Option<String>> {
    let typed = fields.text("adopt_until").trim();
    if !fields.ticked("adopt_until")
        || fields.text("adopt_until_shown").get(..16).unwrap_or_default() == typed
    {
        return None;
    }
    Some(match typed.len() {
        0 => None,
        16 => Some(format!("{typed}:00Z")),
        _ => Some(typed.to_owned()),
    })
}

/// Parses a typed number. Other text is refused like a number out of range.
fn number(text: &str) -> i64 {
    text.trim().parse().unwrap_or(-1)
}

pub(in crate::console) async fn update(Path(slug): Path<String>, Fresh { signed, fields }: Fresh) -> Reply {
    let is_own = fields.text("issuer_mode") != IssuerMode::Upstream.as_str();
    let body = UpdateEnvironment {
        name: Some(fields.text("name").to_owned()),
        kind: Some(kind(&fields)),
        signing_alg: algorithm(&fields).filter(|_| is_own),
        show_once: Some(fields.ticked("show_once")),
        wipe_after_days: Some(number(fields.text("wipe_after_days"))),
        max_age_days: Some(fields.filled("max_age_days").map(number)),
        guard_extension_hours: Some(fields.filled("guard_extension_hours").map(number)),
        signing_key_rotation_days: is_own.then(|| fields.filled("signing_key_rotation_days").map(number)),
        issuer_mode: None,
        upstream: None,
        unregistered_clients: fields.filled("unregistered_clients").and_then(UnregisteredClients::parse),
        adopt_until: adopt_until(&fields),
        position: Some(number(fields.text("position"))),
        confirm_environment_slug: fields
            .filled("confirm_environment_slug")
            .map(|text| text.trim().to_owned()),
    };
    match signed
        .app
        .update_environment(&signed.request_for(&fields), EnvironmentPath(&slug), Input::Value(body))
        .await
    {
        Ok(_) => Ok(redirect_with(&format!("/console/environments/{slug}"), "saved")),
        Err(error) => again(&signed, &slug, fields, error, Which::Edit).await,
    }
}

pub(in crate::console) async fn rotate_key(
    Path(slug): Path<String>,
    Fresh { signed, fields }: Fresh,
) -> Reply {
    let body = RotateSigningKey {
        reason: fields.filled("reason").map(str::to_owned),
        immediate: fields.ticked("immediate"),
        compromised: fields.ticked("compromised"),
    };
    match signed.app.rotate_signing_key(&signed.request(), EnvironmentPath(&slug), Input::Value(body)).await {
        Ok(_) => Ok(redirect_with(&format!("/console/environments/{slug}"), "key")),
        Err(error) => again(&signed, &slug, fields, error, Which::Rotate).await,
    }
}

pub(in crate::console) async fn delete(Path(slug): Path<String>, Fresh { signed, fields }: Fresh) -> Reply {
    let typed = Deletion::Typed(fields.text("confirm_environment"));
    match signed.app.delete_environment(&signed.request(), EnvironmentPath(&slug), typed).await {
        Ok(()) => Ok(redirect_with("/console/environments", "deleted")),
        Err(error) => again(&signed, &slug, fields, error, Which::Delete).await,
    }
}
