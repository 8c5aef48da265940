//! The Environment tab of a client: **Configure your client** in one environment.

use super::{
    drills,
    history::HistoryPlace,
    place::{Place, Switch, Tabs},
    security::Secrets,
};
use crate::console::{
    environment::EnvironmentBadge,
    error::status,
    form::{Fields, Form},
    fragment,
    layout::Layout,
    message::{redirect_once_enforced, redirect_with},
    moment, page, page_with,
    session::{Fresh, SignedIn, Submitted},
};
use crate::reply::Reply;
use askama::Template;
use axum::{
    extract::{Path, RawQuery},
    http::HeaderMap,
    response::Redirect,
};
use crossfade_app::{Input, NO_INPUT, RegistrationPath, Request};
use crossfade_core::{
    Code, Problem, Timestamp,
    api::{LockedOut, UpdateRegistration, UpdateUpstreamCredential, UpstreamCredential, UpstreamRelease},
    registration::AuthMethod,
    upstream::{CredentialMethod, IssuerMode, TestOutcome},
};

/// A change of the configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Configure {
    Credentials,
    Security,
    Settings,
}

impl Configure {
    const ALL: [Self; 3] = [Self::Credentials, Self::Security, Self::Settings];

    fn word(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::Security => "security",
            Self::Settings => "settings",
        }
    }

    fn label(&self) -> &'static str {
        match self {
            Self::Credentials => "Credentials",
            Self::Security => "Security",
            Self::Settings => "OAuth settings",
        }
    }

    fn parse(word: &str) -> Result<Self, Problem> {
        Self::ALL.into_iter().find(|it| it.word() == word).ok_or_else(Problem::not_found)
    }
}

/// The forms of the page. One of them may be shown again after a refusal.
pub(super) struct Forms {
    pub(super) rotate: Form,
    pub(super) revoke: Form,
    pub(super) extend: Form,
    pub(super) rollback: Form,
    pub(super) drill: Form,
    pub(super) stop_drill: Form,
    pub(super) settings: Form,
    pub(super) disable: Form,
    pub(super) credential: Form,
    /// Callers that the refused networks would lock out.
    pub(super) locked_out: Vec<String>,
    /// Number of these callers. Not all of them are in the list.
    pub(super) locked_out_count: String,
}

impl Forms {
    /// Returns the initial forms.
    fn of(s: &Secrets) -> Self {
        let disable = Fields::default().with("confirm_client_name", "").with("reason", "");
        Self {
            rotate: s.rotate_form(),
            revoke: s.revoke_form(),
            extend: s.extend_form(),
            rollback: s.rollback_form(),
            drill: drills::schedule_form(),
            stop_drill: drills::stop_form(),
            settings: settings(s),
            disable: Form::new("disable", disable),
            credential: Form::default(),
            locked_out: Vec::new(),
            locked_out_count: String::new(),
        }
    }
}

impl Forms {
    /// Opens the dialog that ends a secret that was found outside, filled in for a leak. Does nothing if the secret has
    /// ended.
    fn open_for_leak(&mut self, s: &Secrets, leaked: &str) {
        let is_leaked = |secret: &crossfade_core::api::Secret| secret.id.as_str() == leaked;
        if s.current.as_ref().is_some_and(is_leaked) {
            let values = [("transition_hours", "0"), ("compromised", "true")];
            self.rotate = std::mem::take(&mut self.rotate).opened(&values);
        } else if s.old.as_ref().is_some_and(|old| is_leaked(&old.secret)) {
            self.revoke = std::mem::take(&mut self.revoke).opened(&[("compromised", "true")]);
        }
    }

    /// Returns the problem of a refused form whose dialog is no longer on the page.
    fn refused_without_a_dialog(&self, s: &Secrets) -> Option<String> {
        let open = s.old.as_ref().and_then(|old| old.drills.open());
        let gone = [
            (&self.rotate, s.current.is_none()),
            (&self.revoke, s.old.is_none()),
            (&self.extend, s.old.is_none()),
            (&self.rollback, s.old.is_none()),
            (&self.drill, s.old.is_none() || open.is_some()),
            (&self.stop_drill, open.is_none()),
        ];
        gone.into_iter().filter(|(_, gone)| *gone).find_map(|(form, _)| form.sentence()).map(str::to_owned)
    }
}

#[derive(Template)]
#[template(path = "console/clients/environment.html")]
struct EnvironmentPage {
    layout: Layout,
    tabs: Tabs,
    switch: Vec<Switch>,
    configure: Configure,
    s: Secrets,
    badge: EnvironmentBadge,
    forms: Forms,
    /// The upstream credential of a registration in front of another issuer.
    credential: Option<UpstreamCredential>,
    /// How callers go back to the issuer, if a person asked for it.
    release: Option<UpstreamRelease>,
    /// The refusal, if its dialog is no longer on the page.
    refused: Option<String>,
}

#[derive(Template)]
#[template(path = "console/clients/live.html")]
struct Live<'a> {
    s: &'a Secrets,
    badge: &'a EnvironmentBadge,
    forms: &'a Forms,
    configure: Configure,
}

impl EnvironmentPage {
    /// Returns the part of the page that is updated live.
    fn live(&self) -> Live<'_> {
        Live { s: &self.s, badge: &self.badge, forms: &self.forms, configure: self.configure }
    }

    async fn load(
        signed: &SignedIn,
        client: &str,
        slug: &str,
        configure: Configure,
        history: HistoryPlace,
    ) -> Result<Self, crate::reply::Refused> {
        let path = RegistrationPath { client, environment: slug };
        let (frame, read, may) = signed.app.read_security(signed.principal(), path, &history.asked()).await?;
        let place = Place::of(frame);
        let s = Secrets::of(&place, slug, (read, may), (signed.principal().user().clone(), history))?;
        let badge = place.badges.get(slug).map(|known| known.badge.clone());
        let badge = badge.ok_or_else(Problem::not_found)?;
        let mut forms = Forms::of(&s);
        let credential = match s.environment.upstream.is_some() {
            true => Some(signed.app.read_upstream_credential(signed.principal(), path).await?.object),
            false => None,
        };
        if let Some(credential) = &credential {
            let method = credential.method.unwrap_or(CredentialMethod::ClientSecretBasic);
            forms.credential = Form::new("credential", Fields::default().with("method", method.as_str()));
        }
        Ok(Self {
            credential,
            release: None,
            layout: place.layout(signed).in_environment(badge.clone()),
            tabs: place.tabs("Environment"),
            switch: place.switch(slug, configure.word()),
            configure,
            badge,
            forms,
            refused: None,
            s,
        })
    }

    /// Returns since when the issuer refuses the upstream credential; `None` if it does not.
    fn refused_since(&self) -> Option<Timestamp> {
        self.credential.as_ref().and_then(|credential| credential.refused_since)
    }

    fn done(mut self, word: &str, enforced: &str) -> Self {
        let sentence = done(word, &self.s).map(|done| format!("{done} {enforced}").trim_end().to_owned());
        self.layout = self.layout.done(sentence);
        self
    }
}

// So that a page can name it in place.
impl askama::filters::HtmlSafe for Live<'_> {}

/// Returns a sentence about where the first secret of a registration is, or who can reveal it.
fn first_secret(s: &Secrets) -> String {
    if s.registration.adoption.is_some() {
        return format!("Its secret in {}: {}", s.environment.name, s.no_secret());
    }
    match (s.may.reveal, s.environment.show_once) {
        (true, false) => format!("Its first secret in {} is under Credentials.", s.environment.name),
        (true, true) => {
            format!("Its first secret in {} was shown once and is not stored.", s.environment.name)
        }
        (false, false) => format!(
            "Its first secret in {} is hidden from your role. A Secret Viewer, Secret Rotator or Owner can show it.",
            s.environment.name
        ),
        (false, true) => format!(
            "{} shows each secret once and your role cannot see it, so nobody has the first secret. A Secret Rotator can rotate it to get a new secret.",
            s.environment.name
        ),
    }
}

/// Joins names: "Development, Staging and Production".
fn listed(names: &[String]) -> String {
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

/// Adds a sentence about the tokens if the ended secret has leaked or its tokens were ended.
fn with_tokens(sentence: String, s: &Secrets) -> String {
    match s.ended_tokens() {
        Some(tokens) => format!("{sentence} {tokens}"),
        None => sentence,
    }
}

fn done(word: &str, s: &Secrets) -> Option<String> {
    let at = crate::console::moment::utc;
    Some(match (word, &s.old) {
        ("rotated", Some(old)) => format!(
            "The secret of {} in {} was rotated. The new secret is under Credentials. The old secret expires {}.",
            s.client,
            s.environment.name,
            at(old.deadline)
        ),
        ("rotated", None) => {
            let sentence = format!(
                "The secret of {} in {} was rotated. The old secret expires immediately and is refused from now on.",
                s.client, s.environment.name
            );
            with_tokens(sentence, s)
        }
        ("seen", _) if !s.seen_by_owner => {
            "Recorded that you know of this transition. You are not an owner of the \
            client, so its managers are still warned at 4 h and 1 h before the deadline."
                .to_owned()
        }
        ("seen", _) => {
            "Recorded that you know of this transition. The client’s managers are not warned in addition."
                .to_owned()
        }
        ("revoked", _) => {
            with_tokens("The old secret was revoked. Only the current secret is valid.".to_owned(), s)
        }
        ("extended", Some(old)) => {
            format!("The deadline was extended. The old secret now expires {}.", at(old.deadline))
        }
        ("rolled-back", _) => {
            let sentence =
                "The rotation was rolled back. The old secret is current again. The new secret was revoked.";
            with_tokens(sentence.to_owned(), s)
        }
        ("drill-scheduled", Some(old)) => match old.drills.open() {
            Some(drill) => {
                let from = drill.windows.first().map_or(drill.ends_at, |window| window.from);
                format!(
                    "The drill was scheduled. First window: {}. End of the drill: {}.",
                    at(from),
                    at(drill.ends_at)
                )
            }
            None => "The drill has ended.".to_owned(),
        },
        ("drill-stopped", _) => "The drill was stopped. The old secret works again.".to_owned(),
        ("added", _) => {
            format!("{} was registered in {}. {}", s.client, s.environment.name, first_secret(s))
        }
        ("created", _) => {
            format!("{} was created in {}. {}", s.client, listed(&s.registered_in), first_secret(s))
        }
        ("saved", _) => "The settings were saved. They apply from the next request.".to_owned(),
        ("credential-accepted", _) => {
            "The upstream credential was tested. The issuer accepts it, as the table of its secrets shows."
                .to_owned()
        }
        ("credential-refused", _) => {
            "The upstream credential was tested. The issuer refuses it, as the table of its secrets shows."
                .to_owned()
        }
        ("credential-undecided", _) => {
            "The upstream credential was tested. There is no response of the issuer that tells whether it accepts the secret."
                .to_owned()
        }
        ("credential", _) => "The upstream credential was saved.".to_owned(),
        ("disabled", _) => "The registration was disabled. Every secret is refused.".to_owned(),
        ("enabled", _) => {
            "The registration was enabled. Secrets and access tokens that had ended stay ended.".to_owned()
        }
        _ => return None,
    })
}

/// Returns the settings form with the present values.
fn settings(s: &Secrets) -> Form {
    let it = &s.registration;
    let mut fields = Fields::default()
        .with("version", s.version.to_string())
        .with("issuer_mode", s.environment.issuer_mode.as_str());
    if let (Some(scopes), Some(audience), Some(ttl)) = (&it.scopes, &it.audience, it.access_token_ttl_seconds)
    {
        fields = fields
            .with("scopes", scopes.join(" "))
            .with("audience", if *audience == s.environment.issuer { "" } else { audience })
            .with("access_token_ttl_seconds", ttl.to_string());
    }
    for method in &it.token_endpoint_auth_methods {
        fields = fields.with("token_endpoint_auth_methods", method.as_str());
    }
    if it.may_introspect == Some(true) {
        fields = fields.with("may_introspect", "true");
    }
    if it.self_rotation {
        fields = fields.with("self_rotation", "true");
    }
    if let Some(networks) = &it.allowed_networks {
        fields = fields.with("allowed_networks", networks.join(" "));
    }
    Form::new("settings", fields)
}

const LABELS: [(&str, &str); 7] = [
    ("token_endpoint_auth_methods", "Authentication methods"),
    ("scopes", "Scopes"),
    ("audience", "Audience"),
    ("access_token_ttl_seconds", "Token lifetime (seconds)"),
    ("may_introspect", "Introspect all tokens"),
    ("allowed_networks", "Allowed networks"),
    ("self_rotation", "Rotate its own secret"),
];

/// Redirects to the first tab.
pub(super) async fn start(Path((client, environment)): Path<(String, String)>) -> Redirect {
    Redirect::to(&format!("/console/clients/{client}/environments/{environment}/credentials"))
}

/// Redirects a GET for the address of a form to the page of the form.
pub(super) async fn back(Path(parts): Path<Vec<(String, String)>>) -> Redirect {
    let part = |name: &str| parts.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value.as_str());
    Redirect::to(&format!(
        "/console/clients/{}/environments/{}/security",
        part("client"),
        part("environment")
    ))
}

pub(super) async fn show(
    Path((client, environment, tab)): Path<(String, String, String)>,
    RawQuery(raw): RawQuery,
    signed: SignedIn,
) -> Reply {
    let query = Fields::parse(raw.unwrap_or_default().as_bytes());
    let configure = Configure::parse(&tab)?;
    let history = HistoryPlace::of(&query);
    let mut shown = EnvironmentPage::load(&signed, &client, &environment, configure, history).await?;
    if configure == Configure::Security {
        shown.forms.open_for_leak(&shown.s, query.text("leaked"));
    }
    Ok(page(&shown.done(signed.said(), &signed.enforced())))
}

/// Renders the live part of the page.
pub(super) async fn live(
    Path((client, environment)): Path<(String, String)>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
    signed: SignedIn,
) -> Reply {
    let query = Fields::parse(raw.unwrap_or_default().as_bytes());
    let configure = Configure::parse(query.text("tab"))?;
    let history = HistoryPlace::of(&query);
    let shown = EnvironmentPage::load(&signed, &client, &environment, configure, history).await?;
    let html = shown.live().render().map_err(crossfade_app::Error::internal)?;
    Ok(fragment(&headers, html))
}

/// Renders the page again with the problem, beside its field, or above the form if the field is not visible.
pub(super) async fn again(
    signed: &SignedIn,
    (client, environment): (&str, &str),
    configure: Configure,
    mut problem: Problem,
    put: impl FnOnce(&mut Forms, Problem),
) -> Reply {
    let hidden = [
        "expected_current_secret_id",
        "secret_id",
        "idempotency_key",
        "Idempotency-Key",
        "compromised",
        "revoke_tokens",
    ];
    if problem.field.as_deref().is_some_and(|field| hidden.contains(&field)) {
        problem.field = None;
    }
    let answer = status(&problem);
    let mut shown =
        EnvironmentPage::load(signed, client, environment, configure, HistoryPlace::default()).await?;
    put(&mut shown.forms, problem);
    shown.refused = shown.forms.refused_without_a_dialog(&shown.s);
    Ok(page_with(answer, &shown))
}

/// Whether a refusal is shown on the form, because other input can help.
pub(in crate::console) fn belongs_to_form(problem: &Problem) -> bool {
    let status = problem.code.status();
    [400, 409, 412, 422].contains(&status) && problem.code != Code::InvalidJson
}

/// Saves the settings of a registration, or enables or disables it.
pub(super) async fn configure(
    Path((client, environment, tab)): Path<(String, String, String)>,
    Fresh { signed, fields }: Fresh,
) -> Reply {
    if tab != "settings" {
        return Err(Problem::not_found().into());
    }
    let path = RegistrationPath { client: &client, environment: &environment };
    let (done, body) = match fields.text("change") {
        "disable" => ("disabled", disabling(&fields)),
        "enable" => ("enabled", UpdateRegistration { enabled: Some(true), ..UpdateRegistration::default() }),
        _ => ("saved", changed(&fields)),
    };
    let request: Request<'_> = signed.request_for(&fields);
    match signed.app.update_registration(&request, path, Input::Value(body)).await {
        Ok(changed) => {
            let to = format!("/console/clients/{client}/environments/{environment}/settings");
            Ok(redirect_once_enforced(&to, done, changed.object.enforced.as_ref()))
        }
        Err(error) if belongs_to_form(&error.problem) => {
            let by = match error.problem.code {
                Code::PreconditionFailed => {
                    signed.app.last_change_of_registration(signed.principal(), path).await?
                }
                _ => None,
            };
            let names = (client.as_str(), environment.as_str());
            again(&signed, names, Configure::Settings, error.problem, |forms, problem| match done {
                "saved" if problem.code == Code::PreconditionFailed => {
                    forms.settings = std::mem::take(&mut forms.settings).overtaken(fields, by, &LABELS);
                }
                "disabled" => forms.disable = Form::new("disable", fields).refused(problem),
                _ => {
                    forms.locked_out = locked_out(&problem);
                    let count = problem.members.get("locked_out_count").and_then(|count| count.as_u64());
                    forms.locked_out_count = count.unwrap_or_default().to_string();
                    forms.settings = Form::new("settings", fields).refused(problem);
                }
            })
            .await
        }
        Err(error) => Err(error.into()),
    }
}

/// Shows how callers go back to the issuer.
pub(super) async fn release_upstream_credential(
    Path((client, environment)): Path<(String, String)>,
    Submitted { signed, .. }: Submitted,
) -> Reply {
    let path = RegistrationPath { client: &client, environment: &environment };
    let release = signed.app.release_upstream_credential(&signed.request(), path, NO_INPUT).await?;
    let place = HistoryPlace::default();
    let shown = EnvironmentPage::load(&signed, &client, &environment, Configure::Settings, place).await?;
    Ok(page(&EnvironmentPage { release: Some(release), ..shown }))
}

/// Tests the upstream credential of a registration.
pub(super) async fn test_upstream_credential(
    Path((client, environment)): Path<(String, String)>,
    Submitted { signed, .. }: Submitted,
) -> Reply {
    let path = RegistrationPath { client: &client, environment: &environment };
    match signed.app.test_upstream_credential(&signed.request(), path, NO_INPUT).await {
        Ok(tested) => {
            let is_accepted = tested.slots.iter().any(|slot| slot.outcome == TestOutcome::Accepted);
            let is_refused = tested.slots.iter().all(|slot| slot.outcome == TestOutcome::Refused);
            let word = match (is_accepted, is_refused) {
                (true, _) => "credential-accepted",
                (false, true) => "credential-refused",
                (false, false) => "credential-undecided",
            };
            let to = format!("/console/clients/{client}/environments/{environment}/settings");
            Ok(redirect_with(&to, word))
        }
        Err(error) if belongs_to_form(&error.problem) || error.problem.code == Code::TooManyRequests => {
            let names = (client.as_str(), environment.as_str());
            again(&signed, names, Configure::Settings, error.problem, |forms, problem| {
                forms.credential = std::mem::take(&mut forms.credential).refused(problem);
            })
            .await
        }
        Err(error) => Err(error.into()),
    }
}

/// Sets the upstream credential of a registration, or confirms it for the present servers.
pub(super) async fn set_upstream_credential(
    Path((client, environment)): Path<(String, String)>,
    Fresh { signed, fields }: Fresh,
) -> Reply {
    let path = RegistrationPath { client: &client, environment: &environment };
    let body = UpdateUpstreamCredential {
        method: CredentialMethod::parse(fields.text("method")),
        secret: fields.filled("secret").map(str::to_owned),
        next: match fields.ticked("remove_next") {
            true => Some(None),
            false => fields.filled("next").map(|text| Some(text.to_owned())),
        },
    };
    match signed.app.update_upstream_credential(&signed.request(), path, Input::Value(body)).await {
        Ok(_) => {
            let to = format!("/console/clients/{client}/environments/{environment}/settings");
            Ok(redirect_with(&to, "credential"))
        }
        Err(error) if belongs_to_form(&error.problem) => {
            let names = (client.as_str(), environment.as_str());
            // Never the secrets that were typed.
            let typed = Fields::default().with("method", fields.text("method"));
            again(&signed, names, Configure::Settings, error.problem, |forms, problem| {
                forms.credential = Form::new("credential", typed).refused(problem);
            })
            .await
        }
        Err(error) => Err(error.into()),
    }
}

fn disabling(fields: &Fields) -> UpdateRegistration {
    UpdateRegistration {
        enabled: Some(false),
        confirm_client_name: Some(fields.text("confirm_client_name").to_owned()),
        reason: fields.filled("reason").map(str::to_owned),
        ..UpdateRegistration::default()
    }
}

/// Returns the networks of the form; without any, every address is allowed.
fn networks(fields: &Fields) -> Option<Vec<String>> {
    let typed = fields.text("allowed_networks").split([' ', ',', '\n']).map(str::trim);
    let networks: Vec<String> = typed.filter(|text| !text.is_empty()).map(str::to_owned).collect();
    (!networks.is_empty()).then_some(networks)
}

/// Returns the callers that a refusal of networks names, a line each.
fn locked_out(problem: &Problem) -> Vec<String> {
    let named = problem.members.get("locked_out").cloned().unwrap_or_default();
    let callers: Vec<LockedOut> = serde_json::from_value(named).unwrap_or_default();
    let line = |caller: LockedOut| {
        let place = caller.source_ip.unwrap_or_else(|| "other addresses".to_owned());
        let parts = [Some(place), caller.user_agent, caller.instance].into_iter().flatten();
        let last = moment::utc(caller.last_used_at);
        parts.chain([format!("last use {last}")]).collect::<Vec<_>>().join(", ")
    };
    callers.into_iter().map(line).collect()
}

fn changed(fields: &Fields) -> UpdateRegistration {
    let methods = [AuthMethod::ClientSecretBasic, AuthMethod::ClientSecretPost];
    let chosen =
        |method: &AuthMethod| fields.all("token_endpoint_auth_methods").any(|own| own == method.as_str());
    // The upstream issuer decides about the others.
    let is_own = fields.text("issuer_mode") != IssuerMode::Upstream.as_str();
    UpdateRegistration {
        token_endpoint_auth_methods: Some(methods.into_iter().filter(chosen).collect()),
        scopes: is_own.then(|| fields.text("scopes").split_whitespace().map(str::to_owned).collect()),
        audience: is_own.then(|| fields.filled("audience").map(|text| text.trim().to_owned())),
        // Send 0 for text that is not a number, which the server refuses as out of range.
        access_token_ttl_seconds: is_own
            .then(|| fields.text("access_token_ttl_seconds").trim().parse().unwrap_or(0)),
        may_introspect: is_own.then(|| fields.ticked("may_introspect")),
        allowed_networks: Some(networks(fields)),
        self_rotation: Some(fields.ticked("self_rotation")),
        // The number that was shown, so that a caller found since then is shown first.
        acknowledge_locked_out: fields.filled("acknowledge_locked_out").and_then(|count| count.parse().ok()),
        ..UpdateRegistration::default()
    }
}

/// A page that shows secrets.
#[derive(Template)]
#[template(path = "console/clients/values.html")]
pub(super) struct ValuesPage {
    pub(super) layout: Layout,
    /// What was done, and when the old secret ends.
    pub(super) sentence: String,
    /// Whether the values are shown only this once, because they are not stored.
    pub(super) once: bool,
    pub(super) secrets: Vec<ShownValue>,
    /// Where to continue.
    pub(super) next: String,
}

pub(super) struct ShownValue {
    pub(super) badge: EnvironmentBadge,
    pub(super) client_id: String,
    pub(super) value: String,
}

#[cfg(test)]
mod tests {
    use super::{super::security::samples::secrets, *};
    use crate::console::layout::Section;
    use crossfade_app::Abilities;
    use crossfade_core::environment::EnvironmentKind;

    fn sample(s: Secrets, configure: Configure, put: impl FnOnce(&mut Forms)) -> String {
        let badge = EnvironmentBadge::new("Production", EnvironmentKind::Live, 2);
        let mut forms = Forms::of(&s);
        put(&mut forms);
        let layout = Layout::sample(Section::Clients, "Billing").in_environment(badge.clone());
        let tabs = Tabs::sample("Environment");
        let refused = forms.refused_without_a_dialog(&s);
        EnvironmentPage {
            release: None,
            layout,
            tabs,
            switch: Vec::new(),
            configure,
            s,
            badge,
            forms,
            credential: None,
            refused,
        }
        .render()
        .unwrap()
    }

    const BUTTONS: [&str; 4] = [
        "commandfor=\"rotate\"",
        "commandfor=\"revoke\"",
        "commandfor=\"extend\"",
        "commandfor=\"rollback\"",
    ];

    #[test]
    fn every_tab_is_rendered_and_escapes_what_others_wrote() {
        for configure in Configure::ALL {
            let html = sample(secrets(true, Abilities::ALL), configure, |_| ());
            assert!(html.contains("Configure your client") && !html.contains("<b>worker"), "{html}");
            assert!(!html.contains(" style=") && !html.contains(" onclick="), "nothing inline");
        }
    }

    #[test]
    fn what_applies_now_is_offered_to_whoever_may_and_to_nobody_else() {
        let offered = |running, may| {
            let html = sample(secrets(running, may), Configure::Security, |_| ());
            BUTTONS.map(|button| html.contains(&format!("show-modal\" {button}")))
        };
        assert_eq!(offered(true, Abilities::ALL), [true; 4]);
        assert_eq!(offered(false, Abilities::ALL), [true, false, false, false]);
        assert_eq!(offered(true, Abilities::default()), [false; 4]);
        let html = sample(secrets(true, Abilities::default()), Configure::Security, |_| ());
        assert!(!html.contains("/reveal") && html.contains("Hidden from your role."), "{html}");
    }

    #[test]
    fn a_refused_rotation_comes_back_open_with_its_problem_and_what_was_typed() {
        let typed = Fields::default().with("transition_hours", "169").with("reason", "quarterly");
        let problem = Problem::new(Code::TransitionOutOfRange, "transition_hours must be 0 to 168.");
        let html = sample(secrets(false, Abilities::ALL), Configure::Security, |forms| {
            forms.rotate = Form::new("rotate", typed).refused(problem.with_field("transition_hours"));
        });
        assert!(html.contains("aria-labelledby=\"rotate-title\" open"), "{html}");
        assert!(
            html.contains("Transition period must be 0 to 168.") && html.contains("value=\"quarterly\""),
            "{html}"
        );
    }

    #[test]
    fn what_is_refused_because_the_transition_has_ended_meanwhile_is_told_on_the_page() {
        let problem = Problem::new(Code::NotRetiring, "This secret is not retiring. Nothing was changed.");
        for running in [true, false] {
            let html = sample(secrets(running, Abilities::ALL), Configure::Security, |forms| {
                forms.extend = Form::new("extend", Fields::default()).refused(problem.clone());
            });
            assert_eq!(html.matches("This secret is not retiring.").count(), 1, "{html}");
        }
    }

    #[test]
    fn extending_proposes_one_more_day_within_the_latest_deadline() {
        let mut s = secrets(true, Abilities::ALL);
        let proposed = |s: &Secrets| s.extend_form().value("expires_at").to_owned();
        assert_eq!(proposed(&s), "2026-11-26T00:05");
        let old = s.old.as_mut().unwrap();
        old.latest = old.deadline.after(std::time::Duration::from_secs(600));
        assert_eq!(proposed(&s), "2026-11-25T00:15");
    }

    #[test]
    fn each_dialog_that_can_name_a_leak_has_a_box_about_its_tokens() {
        let html = sample(secrets(true, Abilities::ALL), Configure::Security, |_| ());
        for dialog in ["rotate", "revoke", "rollback"] {
            let (_, of_dialog) = html.split_once(&format!("id=\"{dialog}\"")).unwrap();
            let (of_dialog, _) = of_dialog.split_once("</dialog>").unwrap();
            let (_, hidden) = of_dialog.split_once("<div class=\"leak-effect\">").unwrap();
            assert!(hidden.contains("name=\"revoke_tokens\" value=\"true\" checked"), "{dialog}: {hidden}");
            assert!(hidden.contains("offline may accept one until"), "{dialog}: {hidden}");
        }
    }

    #[test]
    fn a_message_says_when_the_old_secret_expires() {
        let sentence = done("rotated", &secrets(true, Abilities::ALL)).unwrap();
        assert!(sentence.contains("The old secret expires 25 Nov 2026, 00:05 UTC"), "{sentence}");
        assert!(done("rotated", &secrets(false, Abilities::ALL)).unwrap().contains("expires immediately"));
        assert_eq!(done("something", &secrets(false, Abilities::ALL)), None);
    }
}
