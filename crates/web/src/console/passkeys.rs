//! Passkeys: adding one on the account page, and signing in with one. A script asks the browser: see `assets/passkeys.js`.

use super::{
    account::AccountPage,
    agent,
    cookies::{self, signed_in},
    error::{is_script, retry_after, status},
    factors,
    form::{Fields, Form},
    page_with,
    paths::own_page,
    session::{Fresh, PASSKEY_FIELDS, Sent, SignedIn, passkey_in, passkey_request, seconds_until, wait},
    sign_in::page_of,
    theme::Theme,
};
use crate::{
    Web,
    reply::{Refused, Reply},
};
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use crossfade_app::{PasskeyAnswer, PasskeySignIn};
use crossfade_core::{Code, Problem};
use serde_json::json;

/// Maximum length of a name that nobody typed.
const NAME_CHARACTERS: usize = 40;

/// Asks for a new passkey.
pub(super) async fn begin(Fresh { signed, .. }: Fresh) -> Reply {
    Ok(passkey_request(&signed.app.begin_passkey(&signed.session).await?))
}

/// Adds a passkey with the answer of the browser.
pub(super) async fn add(Fresh { signed, fields }: Fresh) -> Reply {
    let answer = passkey_in(&fields, PASSKEY_FIELDS);
    let name = match fields.filled("name") {
        Some(name) => name.to_owned(),
        None => free_name(&signed).await?,
    };
    let added = match answer {
        Some(answer) => signed.app.add_passkey(&signed.session, &name, answer, &signed.visitor).await,
        None => Err(without_script().into()),
    };
    match added {
        Ok(added) => factors::added(signed, added),
        Err(error) if error.is_about_input() => {
            let mut shown = AccountPage::load(&signed, None).await?;
            let answer = status(&error.problem);
            let typed = Fields::default().with("name", fields.text("name"));
            shown.passkey = Form::new("passkey", typed).refused(error.problem);
            Ok(page_with(answer, &shown))
        }
        Err(error) => Err(error.into()),
    }
}

/// Returns the name of the browser, with a number if another factor has it.
async fn free_name(signed: &SignedIn) -> Result<String, Refused> {
    let taken = signed.app.own_factors(&signed.session).await?;
    let browser: String = agent::browser(&signed.visitor.user_agent).chars().take(NAME_CHARACTERS).collect();
    let mut name = browser.clone();
    let mut number = 1;
    while taken.factors.iter().any(|factor| factor.name == name) {
        number += 1;
        name = format!("{browser} {number}");
    }
    Ok(name)
}

fn without_script() -> Problem {
    let text = "A script of this page asks the browser for a passkey, and did not run. Nothing was changed. Switch on \
        JavaScript, or add an authenticator app.";
    Problem::new(Code::InvalidBody, text)
}

/// Asks for a passkey of whoever signs in. The browser keeps what the answer is checked against.
pub(super) async fn begin_sign_in(State(web): State<Web>, _: Sent) -> Reply {
    let request = web.app.begin_passkey_sign_in()?;
    let mut response = Json(json!({"options": request.options})).into_response();
    response.headers_mut().append(header::SET_COOKIE, cookies::of_passkey(&web.app, &request.state)?);
    Ok(response)
}

/// Signs in with a passkey.
pub(super) async fn sign_in(
    State(web): State<Web>,
    theme: Theme,
    replaced: Result<SignedIn, Response>,
    headers: HeaderMap,
    Sent { visitor, fields }: Sent,
) -> Reply {
    let to = own_page(fields.text("to")).unwrap_or("/console").to_owned();
    let state = cookies::passkey(&web.app, &headers).unwrap_or_default();
    let answer = PasskeyAnswer { credential: fields.text(PASSKEY_FIELDS.0), state: &state };
    let (code, why, until) = match web.app.sign_in_with_passkey(answer, &visitor).await? {
        PasskeySignIn::Done(new) => {
            // The cookie is about to be replaced, and its session must not continue unseen.
            if let Ok(replaced) = replaced {
                web.app.end_session(&replaced.session, replaced.session.id.as_str()).await?;
            }
            return without_state(&web, signed_in(&web.app, &new, &to)?);
        }
        PasskeySignIn::Wrong => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "The passkey was not accepted. Try again, or sign in with your password.".to_owned(),
            None,
        ),
        PasskeySignIn::Off => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "A passkey signs in only where a password could, and your account cannot use one. Sign in with a provider, or ask \
             someone who manages people for a link."
                .to_owned(),
            None,
        ),
        PasskeySignIn::NeedsPassword => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "The password of your account was changed. Sign in with the new password, and with this passkey after it, once. Then \
             the passkey signs in alone again."
                .to_owned(),
            None,
        ),
        PasskeySignIn::Wait(until) => (
            StatusCode::TOO_MANY_REQUESTS,
            format!("Too many failed sign-ins from your network. {}", wait(&web.app, until)),
            Some(seconds_until(&web.app, until)),
        ),
    };
    let problem = Problem::new(Code::InvalidBody, why);
    let mut response = match is_script(&headers) {
        // From the dialog over a page whose session has ended since it was loaded.
        true => Refused::from(problem).into_response(),
        false => {
            let form = Form::new("", Fields::default()).refused(problem);
            page_of(&web, theme, (code, form), &to).await?
        }
    };
    retry_after(&mut response, until);
    without_state(&web, response)
}

/// Removes the cookie: each request is answered once.
fn without_state(web: &Web, mut response: Response) -> Reply {
    response.headers_mut().append(header::SET_COOKIE, cookies::without_passkey(&web.app)?);
    Ok(response)
}
