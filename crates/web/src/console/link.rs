//! The page behind a one-time link: creates the first Owner, or sets a new password.

use super::{
    form::{Fields, Form},
    layout::Sheet,
    page, page_with,
    theme::Theme,
};
use crate::Web;
use askama::Template;
use axum::{
    extract::{Form as Body, State, rejection::FormRejection},
    http::StatusCode,
    response::Response,
};
use crossfade_core::{Code, Problem};
use serde::Deserialize;

#[derive(Template)]
#[template(path = "console/link.html")]
struct LinkPage {
    sheet: Sheet,
    form: Form,
    done: bool,
}

#[derive(Deserialize)]
pub(super) struct Submitted {
    link: String,
    #[serde(default)]
    email: String,
    password: String,
    repeated: String,
}

impl LinkPage {
    fn new(theme: Theme, form: Form, done: bool) -> Self {
        Self { sheet: Sheet { title: "One-time link", theme, wide: false }, form, done }
    }
}

pub(super) async fn show(theme: Theme) -> Response {
    page(&LinkPage::new(theme, Form::default(), false))
}

pub(super) async fn submit(
    State(web): State<Web>,
    theme: Theme,
    form: Result<Body<Submitted>, FormRejection>,
) -> Response {
    let Ok(Body(form)) = form else {
        let problem = Problem::new(Code::InvalidBody, "Fill in every field. Nothing was changed.");
        return refused(theme, Fields::default(), problem);
    };
    // The link is not shown again: whoever reads over a shoulder could use it.
    let fields = Fields::default().with("email", &*form.email);
    if form.password != form.repeated {
        let problem =
            Problem::new(Code::InvalidBody, "The two passwords are not the same. Nothing was changed.");
        return refused(theme, fields, problem);
    }
    // People paste the whole address as often as the code at its end.
    let value = form.link.trim().rsplit('#').next().unwrap_or_default();
    match web.app.use_link(value, Some(&form.email), &form.password).await {
        Ok(_) => page(&LinkPage::new(theme, Form::default(), true)),
        Err(error) => {
            if let Some(source) = &error.source {
                tracing::error!(%source, "a one-time link could not be used");
            }
            refused(theme, fields, error.problem)
        }
    }
}

fn refused(theme: Theme, fields: Fields, problem: Problem) -> Response {
    let status = match problem.code {
        Code::NotFound => StatusCode::GONE,
        code => StatusCode::from_u16(code.status()).unwrap_or_default(),
    };
    page_with(status, &LinkPage::new(theme, Form::new("", fields).refused(problem), false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_rendered() {
        for done in [false, true] {
            LinkPage::new(Theme::System, Form::default(), done).render().unwrap();
        }
    }
}
