//! Signing in and out.

use super::{
    code,
    cookies::{signed_in, without_session},
    error::{is_script, retry_after},
    form::{Fields, Form},
    layout::Sheet,
    message::{Said, redirect_with},
    page, page_with,
    paths::own_page,
    session::{Sent, SignedIn, WRONG_CODE, seconds_until, wait},
    theme::Theme,
};
use crate::{
    Web,
    reply::{Refused, Reply},
};
use askama::Template;
use axum::{
    extract::{Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use crossfade_app::{CodeEntered, OfferedProvider, Proof, SignIn};
use crossfade_core::{Code, Problem};
use serde::Deserialize;

#[derive(Template)]
#[template(path = "console/sign_in.html")]
struct SignInPage {
    sheet: Sheet,
    form: Form,
    /// Where to go after the sign-in.
    to: String,
    /// What has just happened, as a sentence.
    done: Option<&'static str>,
    /// Whether there is an Owner. Without one, nobody can sign in.
    has_owner: bool,
    /// Providers to sign in with: name and address.
    providers: Vec<(String, String)>,
    /// Whether browsers offer passkeys here.
    offers_passkeys: bool,
    /// Whether only Owners who keep a password for emergencies can sign in with one.
    passwords_off: bool,
    /// The provider that the person is still signed in at: name and address to sign out there.
    elsewhere: Option<(String, String)>,
}

impl SignInPage {
    /// Whether the email address is typed next. After a wrong password, it is filled in.
    fn begins_with_email(&self) -> bool {
        self.form.value("email").is_empty()
    }
}

#[derive(Deserialize)]
pub(super) struct Asked {
    to: Option<String>,
    /// The provider that the person was signed in with.
    from: Option<String>,
}

/// Returns the names of the providers and the addresses that lead there. The page opens without them, too.
async fn offered(web: &Web, to: &str) -> Vec<OfferedAt> {
    let all = web.app.offered_providers().await.unwrap_or_default();
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("to", to).finish();
    let at = |it: OfferedProvider| {
        let address = format!("/console/sign-in/{}?{query}", it.id);
        OfferedAt { id: it.id.to_string(), name: it.name, address }
    };
    all.into_iter().map(at).collect()
}

/// A provider on the page.
struct OfferedAt {
    id: String,
    name: String,
    address: String,
}

/// Returns the page with a form that was refused.
pub(super) async fn page_of(web: &Web, theme: Theme, (status, form): (StatusCode, Form), to: &str) -> Reply {
    let providers = offered(web, to).await.into_iter().map(|it| (it.name, it.address)).collect();
    let has_owner = web.app.has_owner().await?;
    let to = to.to_owned();
    let passwords_off = web.app.are_passwords_off().await.unwrap_or(false);
    let shown = SignInPage {
        sheet: sheet(theme),
        form,
        to,
        done: None,
        has_owner,
        providers,
        offers_passkeys: web.app.offers_passkeys(),
        passwords_off,
        elsewhere: None,
    };
    Ok(page_with(status, &shown))
}

pub(super) async fn show(
    State(web): State<Web>,
    theme: Theme,
    Query(asked): Query<Asked>,
    said: Said,
    signed: Result<SignedIn, Response>,
) -> Reply {
    let to = asked.to.as_deref().and_then(own_page).unwrap_or("/console");
    if signed.is_ok() {
        return Ok(Redirect::to(to).into_response());
    }
    let done = match said.word() {
        "out" => Some("You are signed out."),
        "code-over" => Some("The sign-in took too long, or was replaced. Sign in again."),
        "code-wrong" => Some("Too many wrong codes. Sign in again."),
        "everywhere" => Some("You are signed out everywhere. Your API tokens still work."),
        "everywhere-tokens" => Some("You are signed out everywhere, and your API tokens have ended."),
        _ => said.warning(),
    };
    let has_owner = web.app.has_owner().await?;
    let offered = offered(&web, to).await;
    let elsewhere = asked.from.as_deref().and_then(|from| offered.iter().find(|it| it.id == from));
    let elsewhere = elsewhere.map(|it| (it.name.clone(), format!("/console/sign-in/out/{}", it.id)));
    Ok(page(&SignInPage {
        sheet: sheet(theme),
        form: Form::default(),
        to: to.to_owned(),
        done,
        has_owner,
        offers_passkeys: web.app.offers_passkeys(),
        passwords_off: web.app.are_passwords_off().await.unwrap_or(false),
        providers: offered.into_iter().map(|it| (it.name, it.address)).collect(),
        elsewhere,
    }))
}

pub(super) async fn submit(
    State(web): State<Web>,
    theme: Theme,
    replaced: Result<SignedIn, Response>,
    headers: HeaderMap,
    Sent { visitor, fields }: Sent,
) -> Reply {
    let to = own_page(fields.text("to")).unwrap_or("/console").to_owned();
    let answer = web.app.sign_in(fields.text("email"), fields.text("password"), &visitor).await;
    let is_about_code = matches!(answer, Ok(SignIn::NeedsCode(_)));
    let (status, why, seconds) = match answer {
        Err(error)
            if error.problem.code == Code::Unavailable && error.source.is_none() && !is_script(&headers) =>
        {
            (StatusCode::SERVICE_UNAVAILABLE, error.problem.detail, Some(1))
        }
        Err(error) => return Err(error.into()),
        Ok(SignIn::Done(new)) => {
            // The cookie is about to be replaced, and its session must not continue unseen.
            if let Ok(replaced) = replaced {
                web.app.end_session(&replaced.session, replaced.session.id.as_str()).await?;
            }
            return signed_in(&web.app, &new, &to);
        }
        Ok(SignIn::Off) => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "Passwords are switched off here. Sign in with a provider.".to_owned(),
            None,
        ),
        Ok(SignIn::NeedsCode(value)) if !is_script(&headers) => return code::ask(&web, &value, &to),
        // From the dialog over a page, which asks for both together.
        Ok(SignIn::NeedsCode(value)) => {
            match web.app.enter_code(value.reveal(), Proof::Code(fields.text("code")), &visitor).await? {
                CodeEntered::Done(new) => return signed_in(&web.app, &new, &to),
                CodeEntered::Wait(until) => (
                    StatusCode::TOO_MANY_REQUESTS,
                    format!("Too many wrong codes. {} A recovery code works now.", wait(&web.app, until)),
                    Some(seconds_until(&web.app, until)),
                ),
                CodeEntered::Wrong(_) | CodeEntered::Over => {
                    (StatusCode::UNPROCESSABLE_ENTITY, WRONG_CODE.to_owned(), None)
                }
            }
        }
        Ok(SignIn::Wrong) => {
            (StatusCode::UNPROCESSABLE_ENTITY, "Wrong email address or password.".to_owned(), None)
        }
        Ok(SignIn::Wait(until)) => (
            StatusCode::TOO_MANY_REQUESTS,
            format!("Too many failed sign-ins from your network. {}", wait(&web.app, until)),
            Some(seconds_until(&web.app, until)),
        ),
    };
    // From the dialog over a page whose session has ended since it was loaded.
    if is_script(&headers) {
        let field = if is_about_code { "code" } else { "password" };
        let mut response =
            Refused::from(Problem::new(Code::InvalidBody, why).with_field(field)).into_response();
        retry_after(&mut response, seconds);
        return Ok(response);
    }
    let form = Form::new("", Fields::default().with("email", fields.text("email")))
        .refused(Problem::new(Code::InvalidBody, why));
    let mut response = page_of(&web, theme, (status, form), &to).await?;
    retry_after(&mut response, seconds);
    Ok(response)
}

/// Signs out. Also works if the session has already ended, so that the button always does what it says.
pub(super) async fn sign_out(State(web): State<Web>, signed: Result<SignedIn, Response>) -> Reply {
    let Ok(signed) = signed else { return Ok(out(&web, "out")) };
    web.app.end_session(&signed.session, signed.session.id.as_str()).await?;
    Ok(out_of(&web, &signed, "out"))
}

/// Redirects to the sign-in page, which offers to sign out at the provider of the session, too.
pub(super) fn out_of(web: &Web, signed: &SignedIn, how: &'static str) -> Response {
    let mut response = out(web, how);
    if let Some(provider) = &signed.session.provider
        && let Ok(to) = HeaderValue::try_from(format!("/console/sign-in?from={}", provider.id))
    {
        response.headers_mut().insert(header::LOCATION, to);
    }
    response
}

/// Redirects to the sign-in page and clears everything stored in the browser.
pub(super) fn out(web: &Web, how: &'static str) -> Response {
    let mut response = without_session(&web.app, redirect_with("/console/sign-in", how));
    // Not "cookies": that would take those of every other host of the domain too. Ours is taken back above.
    let clear = HeaderValue::from_static("\"cache\", \"storage\"");
    response.headers_mut().insert("clear-site-data", clear);
    response
}

fn sheet(theme: Theme) -> Sheet {
    Sheet { title: "Sign in", theme, wide: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> SignInPage {
        let form = Form::new("", Fields::default().with("email", "ada@example.com"));
        SignInPage {
            sheet: sheet(Theme::System),
            form,
            to: "/console".into(),
            done: None,
            has_owner: true,
            providers: vec![("<Example>".into(), "/console/sign-in/idp_1?to=%2Fconsole".into())],
            offers_passkeys: true,
            passwords_off: false,
            elsewhere: None,
        }
    }

    #[test]
    fn the_page_is_rendered() {
        let html = sample().render().unwrap();
        assert!(html.contains("value=\"ada@example.com\"") && html.contains(">Sign in</button>"));
        assert!(html.contains("Sign in with &#60;Example&#62;</a>"), "{html}");
        let off = SignInPage { passwords_off: true, ..sample() }.render().unwrap();
        assert!(off.contains("<summary>Sign in with a password in an emergency</summary>"), "{off}");
        let elsewhere = Some(("Example".into(), "/console/sign-in/out/idp_1".into()));
        let out = SignInPage { elsewhere, ..sample() }.render().unwrap();
        assert!(out.contains("Sign out of Example") && out.contains("/console/sign-in/out/idp_1"), "{out}");
        let refused = Form::default().refused(Problem::new(Code::InvalidBody, "There is no account."));
        assert!(SignInPage { form: refused, ..sample() }.render().unwrap().contains("role=\"alert\""));
        assert!(
            SignInPage { done: Some("You are signed out."), ..sample() }
                .render()
                .unwrap()
                .contains("signed out")
        );
        assert!(SignInPage { has_owner: false, ..sample() }.render().unwrap().contains("no Owner yet"));
    }
}
