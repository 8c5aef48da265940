//! Signing in the command line: `crossfade login` leads here, the person approves, and a one-time code goes back to it.

use super::{
    error::{retry_after, status},
    form::{Fields, Form},
    layout::{Layout, Section},
    page, page_with,
    session::{Fresh, SignedIn, visitor},
};
use crate::{
    Web,
    body::{self, BodyError},
    reply::{Refused, Reply, json},
};
use askama::Template;
use axum::{
    extract::{Query, Request, State},
    http::{HeaderValue, StatusCode, header},
};
use crossfade_app::NewLogin;
use crossfade_core::{
    Code, Problem,
    login::{CodeChallenge, LoginCode, MAX_DAYS, RedeemLogin, USUAL_DAYS},
    roles::Permission,
};
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

/// Token lifetimes on offer, in days and in words.
const LIVES: [(&str, &str); 4] = [("1", "1 day"), ("7", "7 days"), ("30", "30 days"), ("90", "90 days")];
/// Lengths that the state of a request can have, in characters.
const STATE_LENGTHS: std::ops::RangeInclusive<usize> = 16..=128;

#[derive(Template)]
#[template(path = "console/command_line.html")]
struct CommandLinePage {
    layout: Layout,
    form: Form,
    /// Email address of the account that the command line gets a token of.
    account: String,
    /// Characters that the terminal shows, too.
    check_code: String,
    /// Whether the code goes back through the browser. Otherwise the person types it.
    by_browser: bool,
    /// Where a person goes who does not approve: to the command line, which then waits no longer.
    cancel: String,
    lives: Vec<(String, String)>,
    /// Permissions that the account has, or that the command line asks for.
    permissions: Vec<Permission>,
}

/// The answer to an approval.
#[derive(Template)]
#[template(path = "console/command_line_approved.html")]
struct ApprovedPage {
    layout: Layout,
    done: Approved,
}

/// How the code reaches the command line.
enum Approved {
    /// Through the browser, by this address.
    ByBrowser(String),
    /// The person types it.
    Typed(String),
}

/// Where the code goes: a port of the person's own machine, and the state by which the program there recognises it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Loopback {
    port: u16,
    state: String,
}

impl Loopback {
    /// Reads the place from a form; `None` without one.
    fn parse(fields: &Fields) -> Result<Option<Self>, Problem> {
        let (port, state) = (fields.filled("port"), fields.filled("state"));
        let (Some(port), Some(state)) = (port, state) else {
            return match port.or(state) {
                None => Ok(None),
                Some(_) => Err(unreadable()),
            };
        };
        let is_plain = |it: u8| it.is_ascii_alphanumeric() || it == b'-' || it == b'_';
        let port: u16 = port.parse().map_err(|_| unreadable())?;
        if port < 1024 || !STATE_LENGTHS.contains(&state.len()) || !state.bytes().all(is_plain) {
            return Err(unreadable());
        }
        Ok(Some(Self { port, state: state.to_owned() }))
    }

    /// Returns the address of the program that waits (RFC 8252 §7.3).
    fn address(&self, code: &LoginCode) -> String {
        format!("http://127.0.0.1:{}/?code={}&state={}", self.port, code.reveal(), self.state)
    }

    /// Returns the address that tells that program that it was not approved.
    fn refusal(&self) -> String {
        format!("http://127.0.0.1:{}/?error=access_denied&state={}", self.port, self.state)
    }
}

/// Returns the refusal of an address that `crossfade login` did not make.
fn unreadable() -> Problem {
    let text = "This address is not valid. Nothing was changed. Run crossfade login again.";
    Problem::new(Code::InvalidBody, text)
}

#[derive(Deserialize)]
pub(super) struct Asked {
    challenge: Option<String>,
    name: Option<String>,
    port: Option<String>,
    state: Option<String>,
    expires_days: Option<String>,
    scope: Option<String>,
}

impl Asked {
    /// Returns the form as the command line asks to fill it in.
    fn into_fields(self) -> Fields {
        let days = self.expires_days.filter(|it| !it.is_empty()).unwrap_or_else(|| USUAL_DAYS.to_string());
        let fields = Fields::default()
            .with("challenge", self.challenge.unwrap_or_default())
            .with("port", self.port.unwrap_or_default())
            .with("state", self.state.unwrap_or_default())
            .with("name", self.name.unwrap_or_default())
            .with("expires_days", days);
        let scope = self.scope.unwrap_or_default();
        scope.split_whitespace().fold(fields, |fields, word| fields.with("scope", word))
    }
}

impl CommandLinePage {
    fn new(signed: &SignedIn, form: Form, loopback: Option<&Loopback>) -> Self {
        let layout = signed.layout(Section::Account, "Approve command line");
        let lives = lives(form.value("expires_days"));
        let check_code = CodeChallenge::parse(form.value("challenge"));
        let check_code = check_code.map(|it| it.check_code()).unwrap_or_default();
        let is_offered =
            |it: &Permission| signed.principal().may_somewhere(*it) || form.has("scope", it.as_str());
        Self {
            layout,
            permissions: Permission::ALL.iter().copied().filter(is_offered).collect(),
            form,
            account: signed.session.email.clone(),
            check_code,
            by_browser: loopback.is_some(),
            cancel: loopback.map_or_else(|| "/console".to_owned(), Loopback::refusal),
            lives,
        }
    }
}

/// Returns the lifetimes on offer, with the one that was asked for.
fn lives(asked: &str) -> Vec<(String, String)> {
    let usual = LIVES.iter().map(|(days, text)| ((*days).to_owned(), (*text).to_owned()));
    let mut lives: Vec<_> = usual.collect();
    let is_other =
        |days: &u32| (1..=MAX_DAYS).contains(days) && !lives.iter().any(|(it, _)| *it == days.to_string());
    if let Some(days) = asked.parse().ok().filter(is_other) {
        lives.push((days.to_string(), format!("{days} days")));
        lives.sort_by_key(|(days, _)| days.parse::<u32>().unwrap_or_default());
    }
    lives
}

pub(super) async fn show(signed: SignedIn, Query(asked): Query<Asked>) -> Reply {
    let fields = asked.into_fields();
    challenge(&fields)?;
    let loopback = Loopback::parse(&fields)?;
    Ok(page(&CommandLinePage::new(&signed, Form::new("", fields), loopback.as_ref())))
}

fn challenge(fields: &Fields) -> Result<CodeChallenge, Problem> {
    CodeChallenge::parse(fields.text("challenge")).ok_or_else(unreadable)
}

pub(super) async fn approve(Fresh { signed, fields }: Fresh) -> Reply {
    let (challenge, loopback) = (challenge(&fields)?, Loopback::parse(&fields)?);
    let days = fields.text("expires_days").parse().map_err(|_| {
        Problem::invalid("expires_days", &format!("must be a whole number of days from 1 to {MAX_DAYS}"))
    });
    let approved = match days {
        Ok(expires_days) => {
            let name = fields.text("name").to_owned();
            let scope = fields.all("scope").map(str::to_owned).collect();
            signed.app.approve_login(&signed.session, NewLogin { challenge, name, expires_days, scope }).await
        }
        Err(problem) => Err(problem.into()),
    };
    let code = match approved {
        Ok(code) => code,
        Err(error) if error.is_about_input() || error.problem.code == Code::TooManyRequests => {
            let (answer, seconds) = (status(&error.problem), error.problem.retry_seconds());
            let form = Form::new("", fields).refused(error.problem);
            let mut response = page_with(answer, &CommandLinePage::new(&signed, form, loopback.as_ref()));
            retry_after(&mut response, seconds);
            return Ok(response);
        }
        Err(error) => return Err(error.into()),
    };
    let done = match &loopback {
        Some(loopback) => Approved::ByBrowser(loopback.address(&code)),
        None => Approved::Typed(code.reveal_grouped()),
    };
    let layout = signed.layout(Section::Account, "Command line approved");
    let shown = ApprovedPage { layout, done };
    let mut response = page(&shown);
    if let Approved::ByBrowser(address) = &shown.done {
        // No redirect: `form-action` of the page would stop a form that leads to another host.
        let refresh =
            HeaderValue::try_from(format!("0; url={address}")).map_err(crossfade_app::Error::internal)?;
        response.headers_mut().insert(header::REFRESH, refresh);
    }
    Ok(response)
}

/// Exchanges a code for an API token. The command line sends it, without a cookie.
pub(super) async fn redeem(State(web): State<Web>, request: Request) -> Reply {
    let (parts, body) = request.into_parts();
    let visitor = visitor(&parts, &web);
    let is_json = parts
        .headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
    if !is_json {
        let text = "Send JSON, as application/json. Nothing was changed.";
        return Err(Problem::new(Code::InvalidJson, text).into());
    }
    let bytes = body::read(Request::from_parts(parts, body), &web).await.map_err(unread)?;
    let sent: RedeemLogin = serde_json::from_slice(&bytes).map_err(|_| {
        let text = "The body must be JSON with code and verifier. Nothing was changed.";
        Refused::from(Problem::new(Code::InvalidJson, text))
    })?;
    let (code, verifier) = (Zeroizing::new(sent.code), Zeroizing::new(sent.verifier));
    let (logged_in, value) = web.app.redeem_login(&code, &verifier, &visitor).await?;
    Ok(json(StatusCode::OK, &json!({"value": value.reveal(), "token": logged_in})))
}

fn unread(error: BodyError) -> Refused {
    let problem = match error {
        BodyError::TooLarge => {
            Problem::new(Code::BodyTooLarge, "The body exceeds the size limit. Nothing was changed.")
        }
        BodyError::Late | BodyError::Broken => {
            Problem::new(Code::InvalidJson, "The body arrived incomplete. Nothing was changed. Try again.")
        }
    };
    problem.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    fn sample(fields: Fields, by_browser: bool) -> String {
        let form = Form::new("", fields.with("challenge", CHALLENGE).with("name", "<laptop>"));
        let layout = Layout::sample(Section::Account, "Approve command line");
        let lives = lives(form.value("expires_days"));
        let (account, check_code) = ("ada@example.com".to_owned(), "7K4Q-9XBM".to_owned());
        let (cancel, permissions) = ("/console".to_owned(), Permission::ALL.to_vec());
        CommandLinePage { layout, form, account, check_code, by_browser, cancel, lives, permissions }
            .render()
            .unwrap()
    }

    #[test]
    fn the_page_is_filled_in_as_the_command_line_asks() {
        let asked = Asked {
            challenge: Some(CHALLENGE.into()),
            name: Some("laptop".into()),
            port: None,
            state: None,
            expires_days: Some("14".into()),
            scope: Some("client:read audit:read".into()),
        };
        let html = sample(asked.into_fields(), false);
        assert!(html.contains("value=\"14\" selected") && html.contains("14 days"), "{html}");
        assert!(html.contains("value=\"audit:read\" checked") && html.contains("You get a code"), "{html}");
        let html = sample(Fields::default().with("expires_days", "30"), true);
        assert!(html.contains("value=\"30\" selected") && !html.contains("You get a code"), "{html}");
        assert!(html.contains("value=\"&#60;laptop&#62;\"") && html.contains(CHALLENGE), "{html}");
    }

    #[test]
    fn a_code_goes_to_an_unprivileged_port_of_the_own_machine_alone() {
        let place = |port: &str, state: &str| {
            Loopback::parse(&Fields::default().with("port", port).with("state", state))
        };
        let good = place("49152", "abcdefghijklmnop").unwrap().unwrap();
        let code = LoginCode::parse("23456789BCDF").unwrap();
        assert_eq!(good.address(&code), "http://127.0.0.1:49152/?code=23456789BCDF&state=abcdefghijklmnop");
        assert_eq!(place("", "").unwrap(), None);
        for (port, state) in [
            ("49152", ""),
            ("", "abcdefghijklmnop"),
            ("80", "abcdefghijklmnop"),
            ("65536", "abcdefghijklmnop"),
            ("49152@evil.example", "abcdefghijklmnop"),
            ("49152", "short"),
            ("49152", "abcdefghijklmnop&x=y"),
            ("49152", "abcdefghijklmnop\r\nx"),
        ] {
            assert!(place(port, state).is_err(), "{port} {state}");
        }
    }

    #[test]
    fn the_code_is_shown_once_or_goes_by_the_browser() {
        let layout = || Layout::sample(Section::Account, "Command line approved");
        let typed = Approved::Typed("2345-6789-BCDF".into());
        let html = ApprovedPage { layout: layout(), done: typed }.render().unwrap();
        assert!(html.contains("2345-6789-BCDF") && html.contains("data-shown-once"), "{html}");
        let address = Approved::ByBrowser("http://127.0.0.1:49152/?code=x&state=y".into());
        let html = ApprovedPage { layout: layout(), done: address }.render().unwrap();
        assert!(html.contains("href=\"http://127.0.0.1:49152/?code=x&#38;state=y\""), "{html}");
    }
}
