//! The page behind a one-time link: creates the first Owner, or sets a new password.

use super::page;
use crate::Web;
use axum::{
    extract::{Form, State, rejection::FormRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use crossfade_core::Code;
use serde::Deserialize;

const PAGE: &str = include_str!("link.html");
const SCRIPT: &str = include_str!("link.js");
const STYLE: &str = include_str!("page.css");

#[derive(Deserialize)]
pub(super) struct Submitted {
    link: String,
    #[serde(default)]
    email: String,
    password: String,
    repeated: String,
}

pub(super) async fn show() -> Response {
    page(render("", FORM))
}

pub(super) async fn script() -> Response {
    asset("text/javascript; charset=utf-8", SCRIPT)
}

pub(super) async fn style() -> Response {
    asset("text/css; charset=utf-8", STYLE)
}

pub(super) async fn submit(State(web): State<Web>, form: Result<Form<Submitted>, FormRejection>) -> Response {
    let Ok(Form(form)) = form else {
        return refused(StatusCode::UNPROCESSABLE_ENTITY, "Fill in every field. Nothing was changed.");
    };
    if form.password != form.repeated {
        return refused(
            StatusCode::UNPROCESSABLE_ENTITY,
            "The two passwords are not the same. Nothing was changed.",
        );
    }
    // People paste the whole address as often as the code at its end.
    let value = form.link.trim().rsplit('#').next().unwrap_or_default();
    match web.app.use_link(value, Some(&form.email), &form.password).await {
        Ok(_) => page(render("", DONE)),
        Err(error) => {
            if let Some(source) = &error.source {
                tracing::error!(%source, "a one-time link could not be used");
            }
            let status = match error.problem.code {
                Code::NotFound => StatusCode::GONE,
                code => StatusCode::from_u16(code.status()).unwrap_or_default(),
            };
            refused(status, &error.problem.detail)
        }
    }
}

const FORM: &str = include_str!("link_form.html");
const DONE: &str = include_str!("link_done.html");

fn refused(status: StatusCode, message: &str) -> Response {
    let mut response = page(render(message, FORM));
    *response.status_mut() = status;
    response
}

fn render(message: &str, content: &str) -> Response {
    let message = if message.is_empty() {
        String::new()
    } else {
        format!("<p class=\"problem\" role=\"alert\">{}</p>", escape(message))
    };
    PAGE.replace("{message}", &message).replace("{content}", content).into_response()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

fn asset(content_type: &'static str, text: &'static str) -> Response {
    crate::private(([(header::CONTENT_TYPE, content_type)], text).into_response())
}
