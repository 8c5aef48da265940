//! The account page of the signed-in person: sessions, password, API tokens.

use super::{
    error::{retry_after, status},
    form::{Fields, Form},
    layout::{Layout, Section},
    message::redirect_with,
    offers::Offers,
    page, page_with,
    session::{Fresh, PASSKEY_FIELDS, SignedIn, Submitted, passkey_in},
    sign_in,
};
use crate::{
    Web,
    reply::{Refused, Reply},
};
use askama::Template;
use axum::{
    extract::{Path, Query, State},
    response::Response,
};
use crossfade_app::{
    AccountTokens, Error, Input, ListQuery, NO_INPUT, NamedRegistration, OwnFactors, OwnIdentities, Proof,
    SessionSummary,
};
use crossfade_core::{
    Code, Problem, Timestamp, UserId,
    api::{Token, UpdateOwnMessages},
    roles::Permission,
    second_factor::FactorKind,
};
use serde::Deserialize;

#[derive(Template)]
#[template(path = "console/account.html")]
pub(super) struct AccountPage {
    layout: Layout,
    now: Timestamp,
    /// The account. Its name and email address are free text and therefore appear in no command.
    user: UserId,
    /// Whether the person can read the audit trail.
    audits: bool,
    /// Why a change was refused that is about no field.
    refusal: Option<String>,
    /// Whether the person has no permissions yet.
    without_role: bool,
    sessions: Vec<SessionSummary>,
    tokens: Vec<Token>,
    /// Who the person is at providers, and with which ones they can link the account.
    ways: OwnIdentities,
    /// Tokens that a new password or signing out everywhere can end: the first [`OFFERED`].
    live: Vec<Token>,
    /// Whether there are more of these.
    has_more: bool,
    /// Where the next page of tokens starts.
    next: String,
    is_first: bool,
    /// Second factors of the person.
    own: OwnFactors,
    /// Whether the person must add a second factor before anything else.
    must_add_factor: bool,
    profile: Form,
    /// The form for a new second factor.
    pub(super) factor: Form,
    /// The form for a new passkey.
    pub(super) passkey: Form,
    /// Whether browsers offer passkeys here.
    offers_passkeys: bool,
    messages: Form,
    password: Form,
    /// The initial form for signing out everywhere.
    ending: Form,
    token: Form,
    /// Registrations that a token can be limited to.
    offers: Offers,
    /// A token that was just created, with its value, shown only this once.
    created: Option<(String, String)>,
}

#[derive(Deserialize)]
pub(super) struct Asked {
    cursor: Option<String>,
}

/// Token lifetimes on offer, in days and in words.
const LIVES: [(&str, &str); 4] = [("30", "30 days"), ("90", "90 days"), ("365", "1 year"), ("", "Never")];

/// Maximum number of tokens listed where they can be ended together.
const OFFERED: &str = "50";
/// Name of the check box that ends them.
const END_TOKENS: &str = "end_tokens";

/// Reads whether a form asks to end the person's API tokens.
fn account_tokens(fields: &Fields) -> AccountTokens {
    if fields.ticked(END_TOKENS) { AccountTokens::End } else { AccountTokens::Keep }
}

impl AccountPage {
    pub(super) async fn load(signed: &SignedIn, cursor: Option<String>) -> Result<Self, Refused> {
        let is_first = cursor.is_none();
        let query = ListQuery { limit: None, cursor };
        let tokens = signed.app.list_own_tokens(&signed.session, &query).await?;
        let offered = ListQuery { limit: Some(OFFERED.to_owned()), cursor: None };
        let mut live = signed.app.list_own_tokens(&signed.session, &offered).await?;
        let own = signed.app.read_own_messages(signed.principal()).await?;
        let messages = Fields::default()
            .with("version", own.version.to_string())
            .with("time_zone", own.object.time_zone.unwrap_or_default());
        let messages = own.object.off.into_iter().fold(messages, |fields, word| fields.with("off", word));
        let now = signed.session.now;
        live.items.retain(|token| token.expires_at.is_none_or(|expires_at| now < expires_at));
        Ok(Self {
            layout: signed.layout(Section::Account, "Your account"),
            now: signed.session.now,
            user: signed.principal().user().clone(),
            audits: signed.principal().may_somewhere(Permission::AuditRead),
            refusal: None,
            without_role: !Permission::ALL.iter().any(|it| signed.principal().may_somewhere(*it)),
            sessions: signed.app.list_sessions(&signed.session).await?,
            ways: signed.app.list_own_identities(&signed.session).await?,
            tokens: tokens.items,
            has_more: live.next_cursor.is_some(),
            live: live.items,
            next: tokens
                .next_cursor
                .map(|cursor| format!("/console/account?cursor={cursor}#tokens-title"))
                .unwrap_or_default(),
            is_first,
            messages: Form::new("messages", messages),
            password: Form::new("password", Fields::default().with(END_TOKENS, "yes")),
            ending: Form::new("sign-out", Fields::default().with(END_TOKENS, "yes")),
            token: Form::new("token", Fields::default().with("expires_days", "90")),
            offers: match signed.session.must_add_factor {
                true => Offers::default(),
                false => Offers::load(signed).await?,
            },
            own: signed.app.own_factors(&signed.session).await?,
            must_add_factor: signed.session.must_add_factor,
            profile: Form::new("profile", Fields::default().with("name", &*signed.session.name)),
            factor: Form::new("factor", Fields::default().with("name", "")),
            passkey: Form::new("passkey", Fields::default().with("name", "")),
            offers_passkeys: signed.app.offers_passkeys(),
            created: None,
        })
    }

    /// Returns the address of the first page; empty on the first page.
    fn first(&self) -> &'static str {
        if self.is_first { "" } else { "/console/account#tokens-title" }
    }

    /// Returns what the code for a new password is.
    fn code_hint(&self) -> &'static str {
        match self.layout.person.uses_passkey {
            true => "The code of your second factor, or a recovery code. Not needed with a passkey.",
            false => "The code of your second factor, or a recovery code.",
        }
    }

    fn create_command(&self) -> String {
        format!("crossfade token create --user {} --name laptop", self.user)
    }
}

pub(super) async fn show(signed: SignedIn, Query(asked): Query<Asked>) -> Reply {
    let done = match signed.said() {
        "password" => {
            Some("Your password was changed. All other sessions have ended. Your API tokens still work.")
        }
        "password-tokens" => {
            Some("Your password was changed. All other sessions and all your API tokens have ended.")
        }
        "factor-added" => Some("The second factor was added."),
        "factor-removed" => Some("The second factor was removed."),
        "renamed" => Some("Your name was changed."),
        "messages" => Some("Your messages and your time zone were saved."),
        "ended" => Some("The session has ended."),
        "linked" => Some("Your account is linked. You can sign in with the provider from now on."),
        "unlinked" => Some("Your account is unlinked. Roles that came from its groups were removed."),
        "token-deleted" => Some("The token was deleted. Anything that uses it is refused from now on."),
        _ => None,
    };
    let mut shown = AccountPage::load(&signed, asked.cursor).await?;
    shown.layout = shown.layout.done(done);
    Ok(page(&shown))
}

/// Returns the account page with a refusal that is about no field.
pub(super) async fn refused(signed: &SignedIn, error: Error) -> Reply {
    if !error.is_about_input() && error.problem.code != Code::SecondFactorRequired {
        return Err(error.into());
    }
    let mut shown = AccountPage::load(signed, None).await?;
    shown.refusal = Some(error.problem.detail.clone());
    Ok(page_with(status(&error.problem), &shown))
}

pub(super) async fn rename(Fresh { signed, fields }: Fresh) -> Reply {
    match signed.app.update_own_name(&signed.session, fields.text("name")).await {
        Ok(()) => Ok(to("renamed")),
        Err(error) if error.is_about_input() => {
            let mut shown = AccountPage::load(&signed, None).await?;
            let answer = status(&error.problem);
            shown.profile = Form::new("profile", fields).refused(error.problem);
            Ok(page_with(answer, &shown))
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn end_session(Path(id): Path<String>, State(web): State<Web>, signed: SignedIn) -> Reply {
    signed.app.end_session(&signed.session, &id).await?;
    if id == signed.session.id.as_str() {
        return Ok(sign_in::out_of(&web, &signed, "out"));
    }
    Ok(to("ended"))
}

pub(super) async fn end_sessions(State(web): State<Web>, Submitted { signed, fields }: Submitted) -> Reply {
    let tokens = account_tokens(&fields);
    signed.app.end_sessions(&signed.session, tokens).await?;
    Ok(sign_in::out(
        &web,
        match tokens {
            AccountTokens::End => "everywhere-tokens",
            AccountTokens::Keep => "everywhere",
        },
    ))
}

pub(super) async fn switch_messages(Fresh { signed, fields }: Fresh) -> Reply {
    let body = UpdateOwnMessages {
        time_zone: fields.filled("time_zone").map(|name| name.trim().to_owned()),
        off: fields.all("off").map(str::to_owned).collect(),
    };
    match signed.app.update_own_messages(&signed.request_for(&fields), Input::Value(body)).await {
        Ok(_) => Ok(to("messages")),
        Err(error) if error.is_about_input() => {
            let mut shown = AccountPage::load(&signed, None).await?;
            let answer = status(&error.problem);
            shown.messages = match error.problem.code {
                Code::PreconditionFailed => shown.messages.overtaken(
                    fields,
                    None,
                    &[("time_zone", "Time zone"), ("off", "Switched off")],
                ),
                _ => Form::new("messages", fields).refused(error.problem),
            };
            Ok(page_with(answer, &shown))
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn change_password(Submitted { signed, fields }: Submitted) -> Reply {
    let (current, new) = (fields.text("current_password"), fields.text("password"));
    let tokens = account_tokens(&fields);
    let changed = match new == fields.text("repeated") {
        true => {
            let passkey = passkey_in(&fields, PASSKEY_FIELDS);
            let proof = (current, passkey.map_or(Proof::Code(fields.text("code")), Proof::Passkey));
            signed.app.change_password(&signed.session, proof, new, tokens, &signed.visitor).await
        }
        false => Err(Problem::invalid("repeated", "does not match the new password").into()),
    };
    match changed {
        Ok(new) => {
            signed.renew_both(&new)?;
            Ok(to(match tokens {
                AccountTokens::End => "password-tokens",
                AccountTokens::Keep => "password",
            }))
        }
        Err(error) if error.is_about_input() => {
            let mut shown = AccountPage::load(&signed, None).await?;
            // Passwords are not sent back.
            let blank = ["current_password", "code", "password", "repeated"];
            let mut blank = blank.iter().fold(Fields::default(), |fields, name| fields.with(name, ""));
            if tokens == AccountTokens::End {
                blank = blank.with(END_TOKENS, "yes");
            }
            let answer = status(&error.problem);
            shown.password = Form::new("password", blank).refused(error.problem);
            Ok(page_with(answer, &shown))
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn create_token(Fresh { signed, fields }: Fresh) -> Reply {
    let scope: Vec<String> = fields.all("scope").map(str::to_owned).collect();
    let days = match fields.filled("expires_days").map(str::parse) {
        None => Ok(None),
        Some(Ok(days)) if (1..=3650).contains(&days) => Ok(Some(days)),
        Some(_) => Err(Problem::invalid("expires_days", "must be a whole number of days from 1 to 3650")),
    };
    let only = match (fields.filled("client"), fields.filled("environment")) {
        (None, None) => None,
        // What is missing is refused like what is unknown.
        (client, environment) => Some(NamedRegistration {
            client: client.unwrap_or_default().to_owned(),
            environment: environment.unwrap_or_default().to_owned(),
        }),
    };
    let created = match days {
        Ok(days) => {
            let name = fields.text("name");
            signed.app.create_own_token(&signed.session, name, days, &scope, only.as_ref()).await
        }
        Err(problem) => Err(problem.into()),
    };
    match created {
        Ok((token, value)) => {
            let mut shown = AccountPage::load(&signed, None).await?;
            shown.created = Some((token.name, value.reveal().to_owned()));
            Ok(page(&shown))
        }
        // Of a pace that is exceeded, too: what was typed can be sent again.
        Err(error) if error.is_about_input() || error.problem.code == Code::TooManyRequests => {
            let mut shown = AccountPage::load(&signed, None).await?;
            let (answer, seconds) = (status(&error.problem), error.problem.retry_seconds());
            shown.token = Form::new("token", fields).refused(error.problem);
            let mut response = page_with(answer, &shown);
            retry_after(&mut response, seconds);
            Ok(response)
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn delete_token(Path(id): Path<String>, Fresh { signed, .. }: Fresh) -> Reply {
    signed.app.delete_token(&signed.request(), &id, NO_INPUT).await?;
    Ok(to("token-deleted"))
}

/// Unlinks the account from a provider.
pub(super) async fn unlink(Path(id): Path<String>, Fresh { signed, .. }: Fresh) -> Reply {
    signed.app.unlink_identity(&signed.session, &id).await?;
    Ok(to("unlinked"))
}

pub(super) fn to(done: &'static str) -> Response {
    redirect_with("/console/account", done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::crossfade::samples::now;
    use crossfade_app::{FactorSummary, OfferedProvider};
    use crossfade_core::{ClientId, FactorId, ProviderId, SessionId, TokenId, api::Identity};
    use std::time::Duration;

    fn sample() -> AccountPage {
        let session = |n: u32, is_this, agent: &str| SessionSummary {
            id: SessionId::parse(&format!("ses_{n:022}")).unwrap(),
            is_this,
            created_at: now().before(Duration::from_secs(7200)),
            last_seen_at: now().before(Duration::from_secs(60)),
            source_ip: "192.0.2.7".into(),
            user_agent: agent.into(),
        };
        let token = |n: u32, scope: Option<Vec<String>>| Token {
            client_id: scope.as_ref().map(|_| ClientId::parse("cl_0000000000000000000001").unwrap()),
            environment: scope.as_ref().map(|_| "staging".into()),
            id: TokenId::parse(&format!("tok_{n:022}")).unwrap(),
            user_id: UserId::parse("usr_0000000000000000000001").unwrap(),
            name: "<laptop>".into(),
            scope,
            created_at: now(),
            expires_at: Some(now().after(Duration::from_secs(86_400))),
            last_used_at: None,
        };
        AccountPage {
            user: UserId::parse("usr_0000000000000000000001").unwrap(),
            audits: true,
            without_role: true,
            refusal: None,
            own: OwnFactors {
                factors: vec![FactorSummary {
                    id: FactorId::parse("fac_0000000000000000000001").unwrap(),
                    kind: FactorKind::Passkey,
                    name: "<phone>".into(),
                    created_at: now(),
                    last_used_at: None,
                }],
                recovery_codes: 7,
                is_asked: false,
            },
            must_add_factor: false,
            profile: Form::new("profile", Fields::default().with("name", "Ada")),
            factor: Form::new("factor", Fields::default()),
            passkey: Form::new("passkey", Fields::default()),
            offers_passkeys: true,
            next: String::new(),
            is_first: true,
            layout: Layout::sample(Section::Account, "Your account"),
            now: now(),
            sessions: vec![
                session(1, true, "Mozilla/5.0 (X11; Linux) Firefox/140.0"),
                session(2, false, "<b>"),
            ],
            tokens: vec![token(1, None), token(2, Some(vec!["client:read".into()]))],
            ways: OwnIdentities { identities: Vec::new(), linkable: Vec::new(), has_password: true },
            live: vec![token(1, None), token(2, None)],
            messages: Form::new("messages", Fields::default().with("off", "secret.rotated")),
            has_more: false,
            password: Form::new("password", Fields::default().with(END_TOKENS, "yes")),
            ending: Form::new("sign-out", Fields::default().with(END_TOKENS, "yes")),
            token: Form::new("token", Fields::default()),
            offers: Offers {
                clients: vec![("cl_0000000000000000000001".into(), "<Billing>".into())],
                has_more: true,
                environments: vec![("staging".into(), "Staging".into())],
            },
            created: None,
        }
    }

    #[test]
    fn the_page_is_rendered() {
        let html = sample().render().unwrap();
        assert!(
            html.contains("Firefox on Linux") && html.contains("&#60;b&#62;") && html.contains("client:read")
        );
        assert_eq!(html.matches("</a> in staging").count(), 1, "{html}");
        assert!(
            html.contains("?via=tok_0000000000000000000001")
                && html.contains("?via=ses_0000000000000000000002")
        );
        let offered = "<option value=\"cl_0000000000000000000001\">&#60;Billing&#62;</option>";
        assert!(html.contains(offered) && html.contains("the first 200 clients"), "{html}");
        assert!(!html.contains("id=\"ways-title\""), "no provider: {html}");
        let identity = Identity {
            provider_id: ProviderId::parse("idp_0000000000000000000001").unwrap(),
            provider_name: "<Example>".into(),
            subject: "<ada>".into(),
            created_at: now(),
            last_used_at: None,
        };
        let linkable = vec![OfferedProvider { id: identity.provider_id.clone(), name: "Other".into() }];
        let ways = OwnIdentities { identities: vec![identity], linkable, has_password: false };
        let linked = AccountPage { ways, ..sample() }.render().unwrap();
        assert!(linked.contains("&#60;ada&#62;") && linked.contains(">Link Other</button>"), "{linked}");
        assert!(!linked.contains("id=\"password-title\""), "there is no password to change: {linked}");
        let unread = AccountPage { audits: false, ..sample() }.render().unwrap();
        assert!(!unread.contains("?via="), "no link to a page that would be refused");
        let created = Some(("laptop".into(), "crossfade_api_x".into()));
        assert!(AccountPage { created, ..sample() }.render().unwrap().contains("crossfade_api_x"));
        assert_eq!(html.matches("name=\"end_tokens\" value=\"yes\" checked").count(), 2, "{html}");
        assert!(html.contains("&#60;phone&#62;") && html.contains("7 recovery codes are left"), "{html}");
        assert!(html.contains("The passkey <strong>&#60;phone&#62;</strong> no longer works"), "{html}");
        let elsewhere = AccountPage { offers_passkeys: false, ..sample() }.render().unwrap();
        assert!(
            !elsewhere.contains("pass-key") && elsewhere.contains("so none can be added here"),
            "{elsewhere}"
        );
        let must = AccountPage { own: OwnFactors::default(), must_add_factor: true, ..sample() };
        let must = must.render().unwrap();
        assert!(
            must.contains("Your account must have a second factor")
                && !must.contains("/console/account/recovery-codes")
        );
        let empty = AccountPage { tokens: vec![], live: vec![], ..sample() }.render().unwrap();
        assert!(empty.contains("crossfade token create") && !empty.contains("end_tokens"));
        let problem = Problem::invalid("name", "must not be empty");
        let refused = Form::new("token", Fields::default().with("name", "")).refused(problem);
        assert!(
            AccountPage { token: refused, ..sample() }
                .render()
                .unwrap()
                .contains("aria-labelledby=\"create-token-title\" open")
        );
    }
}
