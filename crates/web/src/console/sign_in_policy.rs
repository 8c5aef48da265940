//! The sign-in policy: whom the instance asks for a second factor.

use super::{
    error::status,
    form::{Fields, Form},
    layout::{Layout, Section},
    message::redirect_with,
    page, page_with,
    session::{Fresh, SignedIn},
};
use crate::reply::{Refused, Reply};
use askama::Template;
use crossfade_app::Input;
use crossfade_core::{
    Code,
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
        let fields = Fields::default()
            .with("version", found.version.to_string())
            .with("second_factor", found.object.second_factor.as_str())
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
    let body = UpdateSignInPolicy {
        second_factor: AskedFor::parse(fields.text("second_factor")),
        reason: fields.filled("reason").map(str::to_owned),
    };
    match signed.app.update_sign_in_policy(&signed.request_for(&fields), Input::Value(body)).await {
        Ok(_) => Ok(redirect_with(PATH, "changed")),
        Err(error)
            if error.is_about_input()
                || matches!(error.problem.code, Code::SecondFactorRequired | Code::TooManyRequests) =>
        {
            let mut shown = PolicyPage::load(&signed).await?;
            let answer = status(&error.problem);
            shown.form = match error.problem.code {
                Code::PreconditionFailed => {
                    shown.form.overtaken(fields, None, &[("second_factor", "Second factor")])
                }
                _ => Form::new("", fields).refused(error.problem),
            };
            Ok(page_with(answer, &shown))
        }
        Err(error) => Err(error.into()),
    }
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
        };
        let html = PolicyPage { found, ..page }.render().unwrap();
        assert!(!html.contains("still have none"), "{html}");
    }
}
