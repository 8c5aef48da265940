//! The page behind a one-time link: creates the first Owner, or sets a new password.

use super::{
    code,
    cookies::signed_in,
    form::{Fields, Form},
    layout::Sheet,
    page, page_with,
    session::{Sent, SignedIn},
    theme::Theme,
};
use crate::{Web, reply::Reply};
use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};
use crossfade_app::SignIn;
use crossfade_core::{Code, Problem};

#[derive(Template)]
#[template(path = "console/link.html")]
struct LinkPage {
    sheet: Sheet,
    form: Form,
    /// Whether the email address of the first Owner may be needed: there is none yet.
    asks_email: bool,
}

impl LinkPage {
    fn new(theme: Theme, form: Form, asks_email: bool) -> Self {
        Self { sheet: Sheet { title: "Set your password", theme, wide: false }, form, asks_email }
    }
}

pub(super) async fn show(State(web): State<Web>, theme: Theme) -> Reply {
    Ok(page(&LinkPage::new(theme, Form::default(), !web.app.has_owner().await?)))
}

pub(super) async fn submit(
    State(web): State<Web>,
    theme: Theme,
    replaced: Result<SignedIn, Response>,
    Sent { visitor, fields: sent }: Sent,
) -> Reply {
    let (link, email, password) = (sent.text("link"), sent.text("email"), sent.text("password"));
    // Neither the link nor a password is shown again, because others may see the screen.
    let fields =
        Fields::default().with("link", "").with("email", email).with("password", "").with("repeated", "");
    if !["link", "password", "repeated"].iter().all(|name| sent.ticked(name)) {
        let problem = Problem::new(Code::InvalidBody, "Fill in every field. Nothing was changed.");
        return refused(&web, theme, fields, problem).await;
    }
    if password != sent.text("repeated") {
        let problem = Problem::invalid("repeated", "does not match the password above");
        return refused(&web, theme, fields, problem).await;
    }
    // People paste the whole address as often as the code at its end.
    let value = link.trim().rsplit('#').next().unwrap_or_default();
    match web.app.use_link(value, Some(email), password, &visitor).await {
        Ok(new) => {
            // The cookie is about to be replaced, and its session must not continue unseen. The link may already have
            // ended it.
            if let Ok(replaced) = replaced {
                let ended = web.app.end_session(&replaced.session, replaced.session.id.as_str()).await;
                ended.or_else(|error| match error.problem.code {
                    Code::NotFound | Code::Unauthenticated => Ok(()),
                    _ => Err(error),
                })?;
            }
            match new {
                SignIn::Done(new) => signed_in(&web.app, &new, "/console"),
                SignIn::NeedsCode(value) => code::ask(&web, &value, "/console"),
                SignIn::Wrong | SignIn::Off | SignIn::Wait(_) => Err(Problem::not_found().into()),
            }
        }
        Err(error) if error.source.is_some() => Err(error.into()),
        Err(error) => refused(&web, theme, fields, error.problem).await,
    }
}

async fn refused(web: &Web, theme: Theme, fields: Fields, problem: Problem) -> Reply {
    let asks_email = !web.app.has_owner().await?;
    let status = match problem.code {
        Code::NotFound => StatusCode::GONE,
        code => StatusCode::from_u16(code.status()).unwrap_or_default(),
    };
    Ok(page_with(status, &LinkPage::new(theme, Form::new("", fields).refused(problem), asks_email)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_rendered() {
        let html = LinkPage::new(Theme::System, Form::default(), true).render().unwrap();
        assert!(html.contains("Confirm password") && html.contains("first Owner"));
        let html = LinkPage::new(Theme::System, Form::default(), false).render().unwrap();
        assert!(html.contains("Confirm password") && !html.contains("first Owner"));
    }
}
