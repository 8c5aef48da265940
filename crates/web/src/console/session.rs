//! Extractors that give handlers the signed-in person and the submitted form.

use super::{
    confirm,
    cookies::{self, CookiesToSet},
    error::is_script,
    form::Fields,
    layout::{Layout, Person, Section},
    message::Said,
    paths::{own_page, page_of},
    provider_sign_in::confirm_path,
    theme::Theme,
};
use crate::{
    Web,
    body::{self, BodyError},
    observe,
    reply::Refused,
};
use axum::{
    Json,
    extract::{FromRequest, FromRequestParts, Request},
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse, Redirect, Response},
};
use crossfade_app::{
    App, Confirmed, IfMatch, NewSession, PasskeyAnswer, PasskeyRequest, Principal, Session, Visitor,
};
use crossfade_core::{Code, Problem, roles::Permission, secret::SecretValue};
use serde_json::json;
use std::{convert::Infallible, sync::Arc};

/// Name of the field for the password that confirms a form.
pub(super) const CONFIRM_FIELD: &str = "confirm_password";
/// Name of the field for the code that confirms a form.
pub(super) const CONFIRM_CODE_FIELD: &str = "confirm_code";
/// Names of the fields for the answer of a passkey that confirms a form, and for the state of its request.
pub(super) const CONFIRM_PASSKEY_FIELDS: (&str, &str) = ("confirm_passkey", "confirm_state");
/// Names of the fields for the answer of a passkey, and for the state of its request.
pub(super) const PASSKEY_FIELDS: (&str, &str) = ("passkey", "state");

/// The signed-in person.
#[derive(Clone)]
pub(crate) struct SignedIn {
    pub(crate) app: Arc<App>,
    pub(crate) session: Session,
    pub(crate) visitor: Visitor,
    theme: Theme,
    /// Path and query of this request.
    pub(super) path: String,
    /// Whether the path is a page that the person can return to.
    is_page: bool,
    cookies: CookiesToSet,
    said: Said,
}

/// A form submitted by a signed-in person.
pub(crate) struct Submitted {
    pub(crate) signed: SignedIn,
    pub(crate) fields: Fields,
}

/// A submitted form whose sender has recently entered the password. A handler that takes this argument requires it.
pub(crate) struct Fresh {
    pub(crate) signed: SignedIn,
    pub(crate) fields: Fields,
}

impl SignedIn {
    /// Returns the principal, for the use cases.
    pub(crate) fn principal(&self) -> &Principal {
        &self.session.principal
    }

    /// Returns the frame of a page.
    pub(crate) fn layout(&self, section: Section, title: &str) -> Layout {
        Layout {
            title: title.to_owned(),
            section,
            nav: Section::of(&self.session.principal),
            person: Person {
                name: self.session.name.clone(),
                email: self.session.email.clone(),
                has_factor: self.session.has_factor,
                uses_passkey: self.session.has_passkey && self.app.offers_passkeys(),
            },
            theme: self.theme,
            here: if self.is_page { self.path.clone() } else { section.path().to_owned() },
            crumbs: Vec::new(),
            environment: None,
            names_environment: false,
            done: self.said.done().map(str::to_owned),
            warning: self.said.warning(),
            quarantine: self.app.quarantine().map(|(cause, _)| cause.sentence()),
            may_release: self.session.principal.may_somewhere(Permission::QuarantineManage),
            confirms_with: self.session.provider.as_ref().map(|provider| {
                let here = if self.is_page { &self.path } else { page_of(&self.path).unwrap_or("/console") };
                let to = own_page(here).unwrap_or(section.path());
                (provider.name.clone(), confirm_path(provider, to))
            }),
        }
    }

    /// Returns the word of the message about the previous form; empty if there is none.
    pub(crate) fn said(&self) -> &str {
        self.said.word()
    }

    /// Returns a sentence about the nodes on which the previous form's change is in force; empty without other nodes.
    pub(crate) fn enforced(&self) -> String {
        self.said.enforced()
    }

    /// Returns the change request of a page.
    pub(crate) fn request(&self) -> crossfade_app::Request<'_> {
        crossfade_app::Request {
            principal: &self.session.principal,
            idempotency: None,
            if_match: IfMatch::Any,
            responds_async: false,
        }
    }

    /// Builds a change request with `If-Match`, which is refused if the object's version is not the one the page
    /// showed.
    pub(crate) fn request_for(&self, fields: &Fields) -> crossfade_app::Request<'_> {
        crossfade_app::Request { if_match: fields.if_match(), ..self.request() }
    }

    /// Sets a new value for the session cookie.
    pub(super) fn renew(&self, value: &SecretValue) -> Result<(), Refused> {
        self.cookies.set(cookies::of_session(&self.app, value)?);
        Ok(())
    }

    /// Sets new values for both cookies.
    pub(super) fn renew_both(&self, new: &NewSession) -> Result<(), Refused> {
        self.renew(&new.value)?;
        self.cookies.set(cookies::of_devices(&self.app, &new.devices)?);
        Ok(())
    }

    /// Sets a new value for the cookie of the known browser.
    pub(super) fn know_browser(&self, devices: &[SecretValue]) -> Result<(), Refused> {
        self.cookies.set(cookies::of_devices(&self.app, devices)?);
        Ok(())
    }

    /// Confirms the session with the password and the code of the second factor; `Err` says why that failed.
    pub(super) async fn confirm(
        &mut self,
        password: &str,
        code: &str,
    ) -> Result<Result<(), Unconfirmed>, Refused> {
        let confirmed = self.app.confirm_session(&self.session, password, code, &self.visitor).await?;
        self.is_confirmed(confirmed)
    }

    /// Confirms the session with a passkey; `Err` says why that failed.
    pub(super) async fn confirm_with_passkey(
        &mut self,
        answer: PasskeyAnswer<'_>,
    ) -> Result<Result<(), Unconfirmed>, Refused> {
        let confirmed = self.app.confirm_with_passkey(&self.session, answer, &self.visitor).await?;
        self.is_confirmed(confirmed)
    }

    fn is_confirmed(&mut self, confirmed: Confirmed) -> Result<Result<(), Unconfirmed>, Refused> {
        let wrong = |field, why: String| Ok(Err(Unconfirmed { field, why }));
        match confirmed {
            Confirmed::Yes { value, session } => {
                self.renew(&value)?;
                self.session = *session;
                Ok(Ok(()))
            }
            Confirmed::Wrong => wrong(Asked::Password, "Wrong password. Nothing was changed.".to_owned()),
            Confirmed::WrongCode => wrong(Asked::Code, format!("{WRONG_CODE} Nothing was changed.")),
            Confirmed::WrongPasskey => wrong(Asked::Password, WRONG_PASSKEY.to_owned()),
            Confirmed::Wait(until) => wrong(
                Asked::Password,
                format!(
                    "Too many wrong passwords{}. Nothing was changed. {}",
                    if self.session.has_factor { " or codes" } else { "" },
                    wait(&self.app, until)
                ),
            ),
        }
    }
}

/// What a wrong code is answered with.
pub(super) const WRONG_CODE: &str = "The code is wrong or was used before. Wait for the next one.";

/// What a wrong answer of a passkey is answered with.
pub(super) const WRONG_PASSKEY: &str =
    "The passkey was not accepted. Nothing was changed. Try again, or use your password.";

/// Returns the answer of a passkey in a form, if it has one.
pub(super) fn passkey_in<'a>(fields: &'a Fields, names: (&str, &str)) -> Option<PasskeyAnswer<'a>> {
    let credential = fields.filled(names.0)?;
    Some(PasskeyAnswer { credential, state: fields.text(names.1) })
}

/// Returns a request for a passkey, for the script. The state goes with the answer.
pub(super) fn passkey_request(request: &PasskeyRequest) -> Response {
    Json(json!({"options": request.options, "state": request.state})).into_response()
}

/// What is asked for before a dangerous action.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asked {
    Password,
    Code,
}

impl Asked {
    /// Returns the field in a form that is sent again.
    pub(super) fn confirm_field(self) -> &'static str {
        match self {
            Self::Password => CONFIRM_FIELD,
            Self::Code => CONFIRM_CODE_FIELD,
        }
    }

    /// Returns the field in the dialog.
    pub(super) fn field(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Code => "code",
        }
    }
}

/// Why a session was not confirmed.
pub(super) struct Unconfirmed {
    pub(super) field: Asked,
    /// In words.
    pub(super) why: String,
}

/// Returns when to try again, in words.
pub(super) fn wait(app: &App, until: crossfade_core::Timestamp) -> String {
    format!("Try again in {}.", super::moment::span(seconds_until(app, until)))
}

/// Returns the whole seconds until a time, at least one.
pub(super) fn seconds_until(app: &App, until: crossfade_core::Timestamp) -> u64 {
    let left = until.since(app.authority().clock().now());
    left.as_micros().div_ceil(1_000_000).max(1).try_into().unwrap_or(u64::MAX)
}

/// Result of the gate's look-up of the cookie, for the extractors.
#[derive(Clone)]
pub(super) enum Found {
    Session(Box<Session>),
    Nobody,
    /// The database did not answer.
    Unknown(Problem),
}

impl FromRequestParts<Web> for SignedIn {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Response> {
        let session = match parts.extensions.get::<Found>() {
            Some(Found::Session(session)) if is_barred(session, parts.uri.path()) => {
                return Err(to_add_factor(parts));
            }
            Some(Found::Session(session)) => (**session).clone(),
            Some(Found::Unknown(problem)) => return Err(Refused::from(problem.clone()).into_response()),
            Some(Found::Nobody) | None => return Err(to_sign_in(parts)),
        };
        let Ok(theme) = Theme::from_request_parts(parts, web).await;
        let path = parts.uri.path_and_query().map_or("/console", |path| path.as_str()).to_owned();
        let cookies = parts.extensions.get::<CookiesToSet>().cloned().unwrap_or_default();
        Ok(Self {
            app: web.app.clone(),
            session,
            visitor: visitor(parts, web),
            theme,
            path,
            is_page: parts.method.is_safe(),
            cookies,
            said: parts.extensions.get().cloned().unwrap_or_default(),
        })
    }
}

impl FromRequest<Web> for Submitted {
    type Rejection = Response;

    async fn from_request(request: Request, web: &Web) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let signed = SignedIn::from_request_parts(&mut parts, web).await?;
        let fields =
            fields(Request::from_parts(parts, body), web).await.map_err(IntoResponse::into_response)?;
        Ok(Self { signed, fields })
    }
}

impl FromRequest<Web> for Fresh {
    type Rejection = Response;

    async fn from_request(request: Request, web: &Web) -> Result<Self, Response> {
        let script = is_script(request.headers());
        let Submitted { mut signed, mut fields } = Submitted::from_request(request, web).await?;
        let password = fields.take(CONFIRM_FIELD);
        let code = fields.take(CONFIRM_CODE_FIELD).unwrap_or_default();
        let (credential, state) = CONFIRM_PASSKEY_FIELDS;
        let passkey = fields.take(credential).filter(|text| !text.is_empty());
        let state = fields.take(state).unwrap_or_default();
        if signed.session.is_fresh {
            return Ok(Self { signed, fields });
        }
        if let Some(credential) = passkey {
            let answer = PasskeyAnswer { credential: &credential, state: &state };
            return match signed.confirm_with_passkey(answer).await.map_err(IntoResponse::into_response)? {
                Ok(()) => Ok(Self { signed, fields }),
                Err(why) => Err(confirm::ask(&signed, &fields, Some(why))),
            };
        }
        match password {
            Some(password) => {
                match signed.confirm(&password, &code).await.map_err(IntoResponse::into_response)? {
                    Ok(()) => Ok(Self { signed, fields }),
                    Err(why) => Err(confirm::ask(&signed, &fields, Some(why))),
                }
            }
            None if script => Err(needs_fresh(&signed.session)),
            None => Err(confirm::ask(&signed, &fields, None)),
        }
    }
}

/// Returns the response that makes the script ask who it is and send the form again.
fn needs_fresh(session: &Session) -> Response {
    let detail = match &session.provider {
        Some(provider) => {
            format!("This action requires a fresh sign-in with {}. Nothing was changed.", provider.name)
        }
        None => "This action requires your password. Nothing was changed.".to_owned(),
    };
    (StatusCode::FORBIDDEN, Json(json!({"code": "fresh_sign_in_required", "detail": detail}))).into_response()
}

/// Returns the fields of a form body.
async fn fields(request: Request, web: &Web) -> Result<Fields, Refused> {
    let form = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
    let body = body::read(request, web).await.map_err(|error| match error {
        BodyError::TooLarge => Problem::new(
            Code::BodyTooLarge,
            "The form exceeds the size limit. Nothing was changed. Shorten it and try again.",
        ),
        BodyError::Late | BodyError::Broken => {
            Problem::new(Code::InvalidJson, "The form arrived incomplete. Nothing was changed. Try again.")
        }
    })?;
    if !form && !body.is_empty() {
        return Err(Problem::new(
            Code::InvalidBody,
            "This address accepts only form data. Nothing was changed.",
        )
        .into());
    }
    Ok(Fields::parse(&body))
}

/// Paths that a person can use who must add a second factor first: the own account, and the way out and in.
const OPEN_WITHOUT_FACTOR: &[&str] = &[
    "/console/account",
    "/console/confirm",
    "/console/link",
    "/console/session",
    "/console/sign-in",
    "/console/sign-out",
    "/console/theme",
];

/// Whether a person must add a second factor before this path.
fn is_barred(session: &Session, path: &str) -> bool {
    let is_open =
        |open: &&str| path.strip_prefix(*open).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    session.must_add_factor && !OPEN_WITHOUT_FACTOR.iter().any(is_open)
}

fn to_add_factor(parts: &Parts) -> Response {
    if is_script(&parts.headers) {
        let text =
            "Your account must have a second factor. Nothing was changed. Add one on your account page.";
        return Refused::from(Problem::new(Code::SecondFactorRequired, text)).into_response();
    }
    Redirect::to("/console/account#factors-title").into_response()
}

fn to_sign_in(parts: &Parts) -> Response {
    if is_script(&parts.headers) {
        let detail = "You are not signed in, or your session has ended. Sign in and try again.";
        return (StatusCode::UNAUTHORIZED, Json(json!({"code": "unauthenticated", "detail": detail})))
            .into_response();
    }
    // Back to a page; what a form would have done is not done unseen after a sign-in.
    let to = match parts.method.is_safe() {
        true => parts.uri.path_and_query().map_or("/console", |path| path.as_str()),
        false => "/console",
    };
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("to", to).finish();
    Redirect::to(&format!("/console/sign-in?{query}")).into_response()
}

/// Returns the visitor who sent a request.
pub(super) fn visitor(parts: &Parts, web: &Web) -> Visitor {
    let agent = parts.headers.get(header::USER_AGENT);
    Visitor {
        origin: observe::origin(web, &parts.extensions, &parts.headers),
        user_agent: agent
            .map_or_else(String::new, |agent| String::from_utf8_lossy(agent.as_bytes()).into_owned()),
        devices: cookies::devices(&web.app, &parts.headers),
    }
}

/// The visitor of a page, signed in or not.
pub(super) struct Visiting(pub(super) Visitor);

impl FromRequestParts<Web> for Visiting {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Infallible> {
        Ok(Self(visitor(parts, web)))
    }
}

/// A form, signed in or not.
pub(super) struct Sent {
    pub(super) visitor: Visitor,
    pub(super) fields: Fields,
}

impl FromRequest<Web> for Sent {
    type Rejection = Refused;

    async fn from_request(request: Request, web: &Web) -> Result<Self, Refused> {
        let (parts, body) = request.into_parts();
        let visitor = visitor(&parts, web);
        Ok(Self { visitor, fields: fields(Request::from_parts(parts, body), web).await? })
    }
}
