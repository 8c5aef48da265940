//! The sign-in policy: whom the instance asks for a second factor, and who can sign in with a password.

use super::{
    error::status,
    form::{Fields, Form},
    layout::{Layout, Section},
    message::redirect_with,
    page, page_with,
    providers::list_of,
    session::{Fresh, SignedIn},
};
use crate::reply::{Refused, Reply};
use askama::Template;
use crossfade_app::{Error, Input, ListQuery, UserPath};
use crossfade_core::{
    Code, Problem, UserId,
    account::Passwords,
    api::{SignInPolicy, UpdateSignInPolicy},
    second_factor::AskedFor,
};

const PATH: &str = "/console/sign-in-policy";

#[derive(Template)]
#[template(path = "console/sign_in_policy.html")]
struct PolicyPage {
    layout: Layout,
    found: SignInPolicy,
    form: Form,
}

impl PolicyPage {
    async fn load(signed: &SignedIn) -> Result<Self, Refused> {
        let found = signed.app.read_sign_in_policy(signed.principal()).await?;
        let mut owners = Vec::new();
        for account in &found.object.break_glass {
            let user = signed.app.read_user(signed.principal(), UserPath(account.as_str())).await;
            owners.push(
                user.map_or_else(|_| account.to_string(), |user| user.object.email.unwrap_or_default()),
            );
        }
        let fields = Fields::default()
            .with("version", found.version.to_string())
            .with("second_factor", found.object.second_factor.as_str())
            .with("passwords", found.object.passwords.as_str())
            .with("break_glass", owners.join("\n"))
            .with("reason", "");
        let layout = signed.layout(Section::People, "Sign-in policy").crumb("People", "/console/people");
        Ok(Self { layout, found: found.object, form: Form::new("", fields) })
    }

    /// Returns the number of people who must add a factor, in words.
    fn missing(&self) -> String {
        match self.found.missing_count {
            1 => "1 person".to_owned(),
            count => format!("{count} people"),
        }
    }
}

pub(super) async fn show(signed: SignedIn) -> Reply {
    let mut shown = PolicyPage::load(&signed).await?;
    let done = (signed.said() == "changed")
        .then_some("The policy was saved. People who must add a second factor are notified.");
    shown.layout = shown.layout.done(done);
    Ok(page(&shown))
}

pub(super) async fn update(Fresh { signed, fields }: Fresh) -> Reply {
    match changed(&signed, &fields).await {
        Ok(()) => Ok(redirect_with(PATH, "changed")),
        Err(error)
            if error.is_about_input()
                || matches!(
                    error.problem.code,
                    Code::SecondFactorRequired | Code::TooManyRequests | Code::InUse
                ) =>
        {
            let mut shown = PolicyPage::load(&signed).await?;
            let answer = status(&error.problem);
            shown.form = match error.problem.code {
                Code::PreconditionFailed => shown.form.overtaken(fields, None, &LABELS),
                _ => Form::new("", fields).refused(error.problem),
            };
            Ok(page_with(answer, &shown))
        }
        Err(error) => Err(error.into()),
    }
}

/// What the page says of the fields that somebody else can have changed meanwhile.
const LABELS: [(&str, &str); 3] = [
    ("second_factor", "Second factor"),
    ("passwords", "Passwords"),
    ("break_glass", "Owners for emergencies"),
];

async fn changed(signed: &SignedIn, fields: &Fields) -> Result<(), Error> {
    let mut break_glass = Vec::new();
    for address in list_of(fields, "break_glass") {
        break_glass.push(account_of(signed, &address).await?);
    }
    let body = UpdateSignInPolicy {
        second_factor: AskedFor::parse(fields.text("second_factor")),
        passwords: Passwords::parse(fields.text("passwords")),
        break_glass: Some(break_glass),
        reason: fields.filled("reason").map(str::to_owned),
    };
    signed.app.update_sign_in_policy(&signed.request_for(fields), Input::Value(body)).await.map(drop)
}

/// Returns the account with this email address or this ID.
async fn account_of(signed: &SignedIn, text: &str) -> Result<UserId, Error> {
    if let Ok(id) = UserId::parse(text) {
        return Ok(id);
    }
    let query = ListQuery { limit: None, cursor: None };
    let found = signed.app.list_users(signed.principal(), Some(text), &query).await?;
    let address = text.to_lowercase();
    let own = found.items.into_iter().find(|user| user.email.as_deref() == Some(address.as_str()));
    let must = || Problem::invalid("break_glass", "must contain only Owners who have a password");
    Ok(own.ok_or_else(must)?.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::crossfade::samples::now;

    #[test]
    fn the_page_is_rendered() {
        let page = PolicyPage {
            layout: Layout::sample(Section::People, "Sign-in policy"),
            found: SignInPolicy {
                second_factor: AskedFor::SecretRoles,
                told_at: Some(now()),
                tokens_refused_from: Some(now()),
                missing_count: 3,
                passwords: Passwords::Everyone,
                break_glass: Vec::new(),
            },
            form: Form::new("", Fields::default().with("second_factor", "secret_roles")),
        };
        let html = page.render().unwrap();
        assert!(html.contains("3 people") && html.contains("value=\"secret_roles\" checked"), "{html}");
        let found = SignInPolicy {
            second_factor: AskedFor::Optional,
            told_at: None,
            tokens_refused_from: None,
            missing_count: 0,
            passwords: Passwords::BreakGlass,
            break_glass: Vec::new(),
        };
        let html = PolicyPage { found, ..page }.render().unwrap();
        assert!(!html.contains("still have none"), "{html}");
    }
}
