//! Signing in with an OpenID Connect provider: the way there, the way back, and the way out.

use super::{
    account,
    cookies::{self, signed_in},
    form::{Fields, Form},
    layout::{Layout, Section},
    message::{self, redirect_with},
    page_with,
    paths::own_page,
    session::{Fresh, Sent, SignedIn, Visiting},
    sign_in,
    theme::Theme,
};
use crate::{Web, reply::Reply};
use askama::Template;
use axum::{
    Json,
    extract::{Path, Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use crossfade_app::{
    Arrival, Departure, OfferedProvider, ProviderPurpose, RefusedSignIn, Return, cookie_of_state,
};
use crossfade_core::{Code, Problem};
use serde::Deserialize;
use serde_json::json;

/// Why a person who is signed in came back without what they wanted.
#[derive(Template)]
#[template(path = "console/provider_refused.html")]
struct RefusedPage {
    layout: Layout,
    sentence: String,
    to: String,
}

/// The last step before a person goes to a provider to link their account: no form can lead to another site.
#[derive(Template)]
#[template(path = "console/provider_link.html")]
struct LinkPage {
    layout: Layout,
    name: String,
    url: String,
}

#[derive(Deserialize)]
pub(super) struct Asked {
    to: Option<String>,
    confirm: Option<String>,
}

/// What a provider sends people back with. Its description of an error can say anything, so it is not read.
#[derive(Deserialize)]
pub(super) struct Answered {
    #[serde(default)]
    state: String,
    code: Option<String>,
    error: Option<String>,
    iss: Option<String>,
}

/// Returns the address at which a session that was begun with a provider is confirmed.
pub(super) fn confirm_path(provider: &OfferedProvider, to: &str) -> String {
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("confirm", "1")
        .append_pair("to", to)
        .finish();
    format!("/console/sign-in/{}?{query}", provider.id)
}

/// Sends a person to a provider.
pub(super) async fn begin(
    Path(id): Path<String>,
    State(web): State<Web>,
    theme: Theme,
    signed: Result<SignedIn, Response>,
    Visiting(visitor): Visiting,
    Query(asked): Query<Asked>,
) -> Reply {
    let to = asked.to.as_deref().and_then(own_page).unwrap_or("/console");
    let signed = signed.ok();
    let purpose = match signed.as_ref().map(|signed| &signed.session) {
        // A session of another provider, or of a password, is confirmed there and not here.
        Some(session) if asked.confirm.is_some() => {
            if session.provider.as_ref().is_none_or(|own| own.id.as_str() != id) {
                let text = "Your session was not begun with this provider. Nothing was changed. Confirm it with your password.";
                return Err(Problem::new(Code::Forbidden, text).into());
            }
            ProviderPurpose::Confirm(session.id.clone())
        }
        Some(_) => {
            let offered = web.app.offered_providers().await?;
            let is_offered = offered.iter().any(|it| it.id.as_str() == id);
            return match is_offered {
                true => Ok(Redirect::to(to).into_response()),
                false => Err(Problem::not_found().into()),
            };
        }
        None => ProviderPurpose::SignIn,
    };
    match web.app.begin_provider_sign_in(&id, purpose, to, &visitor).await? {
        Ok(departure) => leave(&web, Redirect::to(&departure.url).into_response(), &departure),
        Err(refused) => refused_page(&web, theme, signed, refused).await,
    }
}

/// Asks a person who links their account to go to a provider.
pub(super) async fn link(
    Path(id): Path<String>,
    State(web): State<Web>,
    Fresh { signed, .. }: Fresh,
) -> Reply {
    let offered = web.app.offered_providers().await?;
    let offered = offered.into_iter().find(|it| it.id.as_str() == id).ok_or_else(Problem::not_found)?;
    let purpose = ProviderPurpose::Link(signed.session.id.clone());
    let begun = web.app.begin_provider_sign_in(&id, purpose, "/console/account", &signed.visitor).await?;
    match begun {
        Ok(departure) => {
            let layout = signed.layout(Section::Account, &format!("Link {}", offered.name));
            let layout = layout.crumb("Your account", "/console/account");
            let page = LinkPage { layout, name: offered.name, url: departure.url.clone() };
            leave(&web, page_with(StatusCode::OK, &page), &departure)
        }
        Err(refused) => refused_page(&web, Theme::System, Some(signed), refused).await,
    }
}

/// Takes a person back.
pub(super) async fn back(
    Path(id): Path<String>,
    State(web): State<Web>,
    theme: Theme,
    signed: Result<SignedIn, Response>,
    Visiting(visitor): Visiting,
    headers: HeaderMap,
    Query(answered): Query<Answered>,
) -> Reply {
    let signed = signed.ok();
    let name = cookie_of_state(&answered.state).map(str::to_owned);
    let cookie = name
        .as_deref()
        .and_then(|name| cookies::provider_sign_in(&web.app, &headers, name))
        .unwrap_or_default();
    let arrival = web
        .app
        .end_provider_sign_in(Return {
            provider: &id,
            state: &answered.state,
            code: answered.code.as_deref(),
            error: answered.error.as_deref(),
            issuer: answered.iss.as_deref(),
            cookie: &cookie,
            session: signed.as_ref().map(|signed| &signed.session),
            visitor: &visitor,
        })
        .await?;
    let mut response = match arrival {
        Arrival::SignedIn { session, to } => {
            // The cookie is about to be replaced, and its session must not continue unseen.
            if let Some(replaced) = signed {
                web.app.end_session(&replaced.session, replaced.session.id.as_str()).await?;
            }
            signed_in(&web.app, &session, &to)?
        }
        Arrival::Confirmed { value, to } => {
            let mut response = redirect_with(&to, message::CONFIRMED);
            response.headers_mut().append(header::SET_COOKIE, cookies::of_session(&web.app, &value)?);
            response
        }
        Arrival::Linked => account::to("linked"),
        Arrival::Refused(refused) => refused_page(&web, theme, signed, refused).await?,
    };
    // Each state is used once.
    if let Some(name) = name.filter(|_| !cookie.is_empty()) {
        response
            .headers_mut()
            .append(header::SET_COOKIE, cookies::without_provider_sign_in(&web.app, &name)?);
    }
    Ok(response)
}

/// Sends a person who has signed out here to sign out at the provider, too.
pub(super) async fn sign_out(
    Path(id): Path<String>,
    State(web): State<Web>,
    Visiting(visitor): Visiting,
) -> Reply {
    let url = web.app.provider_sign_out_url(&id, &visitor).await?;
    Ok(Redirect::to(url.as_deref().unwrap_or("/console/sign-in")).into_response())
}

/// Ends the sessions that a logout token of a provider names (OpenID Connect Back-Channel Logout §2.5).
pub(super) async fn back_channel(
    Path(id): Path<String>,
    State(web): State<Web>,
    Sent { visitor, fields }: Sent,
) -> Response {
    let token = fields.text("logout_token");
    let answer = match web.app.log_out_by_provider(&id, token, &visitor).await {
        Ok(Ok(())) => StatusCode::OK.into_response(),
        Ok(Err(what)) => refused_logout(StatusCode::BAD_REQUEST, what),
        Err(error) => {
            if error.source.is_some() {
                tracing::error!(%error, "cannot end sessions by back-channel logout");
            }
            let status = StatusCode::from_u16(error.problem.code.status());
            let status = match error.problem.code {
                Code::NotFound => StatusCode::BAD_REQUEST,
                _ => status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            };
            refused_logout(status, error.problem.code.as_str())
        }
    };
    without_store(answer)
}

fn refused_logout(status: StatusCode, what: &str) -> Response {
    (status, Json(json!({"error": "invalid_request", "error_description": what}))).into_response()
}

fn without_store(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Adds the cookie of a person who goes to a provider.
fn leave(web: &Web, mut response: Response, departure: &Departure) -> Reply {
    let name = cookie_of_state(&departure.state).unwrap_or_default();
    let cookie = cookies::of_provider_sign_in(&web.app, name, &departure.cookie)?;
    response.headers_mut().append(header::SET_COOKIE, cookie);
    Ok(without_store(response))
}

/// Returns the page that says why a sign-in with a provider failed.
async fn refused_page(web: &Web, theme: Theme, signed: Option<SignedIn>, refused: RefusedSignIn) -> Reply {
    let status = StatusCode::from_u16(refused.status).unwrap_or(StatusCode::FORBIDDEN);
    if let Some(signed) = signed {
        let layout = signed.layout(Section::Account, "Sign-in refused");
        let page = RefusedPage { layout, sentence: refused.sentence, to: refused.to };
        return Ok(page_with(status, &page));
    }
    let form = Form::new("", Fields::default()).refused(Problem::new(Code::InvalidBody, refused.sentence));
    sign_in::page_of(web, theme, (status, form), &refused.to).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossfade_core::ProviderId;

    #[test]
    fn the_pages_are_rendered() {
        let layout = || Layout::sample(Section::Account, "Link Example");
        let url = "https://id.example/auth?a=\"><script>".to_owned();
        let html = LinkPage { layout: layout(), name: "<Example>".into(), url }.render().unwrap();
        assert!(html.contains("Continue to &#60;Example&#62;") && !html.contains("<script>\""), "{html}");
        let page =
            RefusedPage { layout: layout(), sentence: "It failed.".into(), to: "/console/audit".into() };
        let html = page.render().unwrap();
        assert!(html.contains("It failed.") && html.contains("href=\"/console/audit\""), "{html}");
        let provider = OfferedProvider {
            id: ProviderId::parse(&format!("idp_{:022}", 1)).unwrap(),
            name: "Example".into(),
        };
        assert_eq!(
            confirm_path(&provider, "/console/account?a=b"),
            "/console/sign-in/idp_0000000000000000000001?confirm=1&to=%2Fconsole%2Faccount%3Fa%3Db"
        );
    }
}
