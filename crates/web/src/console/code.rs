//! The code of a second factor, or a passkey, which a sign-in asks for after the password.

use super::{
    cookies,
    error::retry_after,
    form::{Fields, Form},
    layout::Sheet,
    message::redirect_with,
    page, page_with,
    paths::own_page,
    session::{
        PASSKEY_FIELDS, Sent, SignedIn, WRONG_CODE, passkey_in, passkey_request, seconds_until, visitor, wait,
    },
    theme::Theme,
};
use crate::{
    Web,
    reply::{Refused, Reply},
};
use askama::Template;
use axum::{
    extract::{FromRequestParts, Query, State},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse, Redirect, Response},
};
use crossfade_app::{CodeEntered, Proof, Visitor, WaitsFor};
use crossfade_core::{Code, Problem, secret::SecretValue};
use serde::Deserialize;

/// What a wrong answer of a passkey is answered with here.
const WRONG_PASSKEY_HERE: &str =
    "The passkey was not accepted. Try again with a passkey of this account, or enter a code.";
/// What is said where no sign-in waits any more.
const OVER: &str = "The sign-in took too long, or was replaced. Nothing was changed. Sign in again.";
const PATH: &str = "/console/sign-in/code";

#[derive(Template)]
#[template(path = "console/code.html")]
struct CodePage {
    sheet: Sheet,
    form: Form,
    /// Where to go after the sign-in.
    to: String,
    /// Whether an authenticator app shows codes.
    has_app: bool,
    /// Whether a passkey of the account can be used here.
    takes_passkey: bool,
}

impl CodePage {
    fn new(web: &Web, theme: Theme, form: Form, to: String, waits: WaitsFor) -> Self {
        let takes_passkey = waits.passkey && web.app.offers_passkeys();
        Self { sheet: sheet(theme), form, to, has_app: waits.app, takes_passkey }
    }

    fn hint(&self) -> &'static str {
        if self.has_app { "6 digits, or a recovery code." } else { "A recovery code." }
    }
}

#[derive(Deserialize)]
pub(super) struct Asked {
    to: Option<String>,
}

/// The visitor of a page without a form.
pub(super) struct Visiting(Visitor);

impl FromRequestParts<Web> for Visiting {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Self::Rejection> {
        Ok(Self(visitor(parts, web)))
    }
}

/// Redirects to the page that asks for the code, with the cookie of the sign-in that waits for it.
pub(super) fn ask(web: &Web, value: &SecretValue, to: &str) -> Result<Response, Refused> {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("to", to).finish();
    let mut response = Redirect::to(&format!("{PATH}?{query}")).into_response();
    response.headers_mut().append(header::SET_COOKIE, cookies::of_sign_in(&web.app, value)?);
    Ok(response)
}

pub(super) async fn show(
    State(web): State<Web>,
    theme: Theme,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
    Visiting(visitor): Visiting,
    signed: Result<SignedIn, Response>,
) -> Reply {
    let to = asked.to.as_deref().and_then(own_page).unwrap_or("/console");
    if signed.is_ok() {
        return Ok(Redirect::to(to).into_response());
    }
    let value = cookies::sign_in(&web.app, &headers).unwrap_or_default();
    let Some(waits) = web.app.waits_for(&value, &visitor).await? else {
        return Ok(Redirect::to("/console/sign-in").into_response());
    };
    let form = Form::new("", Fields::default());
    Ok(page(&CodePage::new(&web, theme, form, to.to_owned(), waits)))
}

/// Asks for a passkey that finishes the sign-in.
pub(super) async fn begin_passkey(
    State(web): State<Web>,
    headers: HeaderMap,
    Sent { visitor, .. }: Sent,
) -> Reply {
    let value = cookies::sign_in(&web.app, &headers).unwrap_or_default();
    match web.app.begin_passkey_code(&value, &visitor).await? {
        Some(request) => Ok(passkey_request(&request)),
        None => Err(Problem::new(Code::InvalidBody, OVER).into()),
    }
}

pub(super) async fn submit(
    State(web): State<Web>,
    theme: Theme,
    replaced: Result<SignedIn, Response>,
    headers: HeaderMap,
    Sent { visitor, fields }: Sent,
) -> Reply {
    let to = own_page(fields.text("to")).unwrap_or("/console").to_owned();
    let value = cookies::sign_in(&web.app, &headers).unwrap_or_default();
    let passkey = passkey_in(&fields, PASSKEY_FIELDS);
    let proof = passkey.map_or(Proof::Code(fields.text("code")), Proof::Passkey);
    let (status, why, until) = match web.app.enter_code(&value, proof, &visitor).await? {
        CodeEntered::Done(new) => {
            // The cookie is about to be replaced, and its session must not continue unseen.
            if let Ok(replaced) = replaced {
                web.app.end_session(&replaced.session, replaced.session.id.as_str()).await?;
            }
            let mut response = cookies::signed_in(&web.app, &new, &to)?;
            response.headers_mut().append(header::SET_COOKIE, cookies::without_sign_in(&web.app)?);
            return Ok(response);
        }
        CodeEntered::Over => return over(&web, "code-over"),
        CodeEntered::Wrong(0) => return over(&web, "code-wrong"),
        CodeEntered::Wrong(_) if passkey.is_some() => {
            (StatusCode::UNPROCESSABLE_ENTITY, WRONG_PASSKEY_HERE.to_owned(), None)
        }
        CodeEntered::Wrong(_) => (StatusCode::UNPROCESSABLE_ENTITY, WRONG_CODE.to_owned(), None),
        CodeEntered::Wait(until) => (
            StatusCode::TOO_MANY_REQUESTS,
            format!("Too many wrong codes. {} A recovery code works now.", wait(&web.app, until)),
            Some(until),
        ),
    };
    let problem = Problem::new(Code::InvalidBody, why);
    let problem = if passkey.is_some() { problem } else { problem.with_field("code") };
    let form = Form::new("", Fields::default().with("code", "")).refused(problem);
    let Some(waits) = web.app.waits_for(&value, &visitor).await? else { return over(&web, "code-over") };
    let mut response = page_with(status, &CodePage::new(&web, theme, form, to, waits));
    retry_after(&mut response, until.map(|until| seconds_until(&web.app, until)));
    Ok(response)
}

/// Redirects to the sign-in page, which says why.
fn over(web: &Web, word: &'static str) -> Reply {
    let mut response = redirect_with("/console/sign-in", word);
    response.headers_mut().append(header::SET_COOKIE, cookies::without_sign_in(&web.app)?);
    Ok(response)
}

fn sheet(theme: Theme) -> Sheet {
    Sheet { title: "Enter a code", theme, wide: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_rendered() {
        let shown = CodePage {
            sheet: sheet(Theme::System),
            form: Form::new("", Fields::default()),
            to: "/console/clients?q=\"".into(),
            has_app: true,
            takes_passkey: true,
        };
        let html = shown.render().unwrap();
        assert!(html.contains("autocomplete=\"one-time-code\"") && html.contains("q=&#34;\""), "{html}");
        let problem = Problem::new(Code::InvalidBody, WRONG_CODE).with_field("code");
        let form = Form::new("", Fields::default().with("code", "")).refused(problem);
        let shown = CodePage { form, ..shown };
        let html = shown.render().unwrap();
        assert!(html.contains("id=\"code-error\" role=\"alert\""), "{html}");
        let shown = CodePage { has_app: false, ..shown };
        assert!(shown.render().unwrap().contains("Use your passkey, or enter a recovery code."));
        let html = CodePage { takes_passkey: false, ..shown }.render().unwrap();
        assert!(
            html.contains("Enter a recovery code: your passkeys") && !html.contains("<pass-key"),
            "{html}"
        );
    }
}
