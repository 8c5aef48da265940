//! **Confirm it is you**: the password, and the code of a second factor, or a passkey, before a dangerous action. With JavaScript it is a dialog over the page;
//! without, this page keeps everything that was typed.

use super::{
    error::is_script,
    form::{Fields, Form},
    layout::{Layout, Section},
    page_with,
    session::{
        CONFIRM_CODE_FIELD, CONFIRM_FIELD, PASSKEY_FIELDS, SignedIn, Submitted, Unconfirmed, passkey_in,
        passkey_request,
    },
};
use crate::reply::Reply;
use askama::Template;
use axum::{
    Json,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Redirect, Response},
};
use crossfade_core::{Code, Problem};
use serde_json::json;

#[derive(Template)]
#[template(path = "console/confirm.html")]
struct ConfirmPage<'a> {
    layout: Layout,
    /// Path to which the form is sent again.
    action: &'a str,
    form: Form,
    /// Everything that was typed, to send again.
    carried: &'a Fields,
}

/// Asks for the password, and the code, on a page that sends `fields` again to their original path.
pub(super) fn ask(signed: &SignedIn, fields: &Fields, wrong: Option<Unconfirmed>) -> Response {
    let mut form = Form::new("", Fields::default().with(CONFIRM_FIELD, "").with(CONFIRM_CODE_FIELD, ""));
    if let Some(Unconfirmed { field, why }) = wrong {
        form = form.refused(Problem::new(Code::InvalidBody, why).with_field(field.confirm_field()));
    }
    let layout = signed.layout(Section::Account, "Confirm it is you");
    page_with(StatusCode::FORBIDDEN, &ConfirmPage { layout, action: &signed.path, form, carried: fields })
}

/// Returns whether the session is fresh. The script asks this before it sends a form.
pub(super) async fn state(signed: SignedIn) -> Response {
    Json(json!({"fresh": signed.session.is_fresh})).into_response()
}

/// Asks for a passkey that confirms the session.
pub(super) async fn begin_passkey(Submitted { signed, .. }: Submitted) -> Reply {
    Ok(passkey_request(&signed.app.begin_passkey_confirmation(&signed.session).await?))
}

/// Handles the password, or the answer of a passkey, from the dialog.
pub(super) async fn submit(headers: HeaderMap, Submitted { mut signed, fields }: Submitted) -> Reply {
    let confirmed = match passkey_in(&fields, PASSKEY_FIELDS) {
        Some(answer) => signed.confirm_with_passkey(answer).await?,
        None => signed.confirm(fields.text("password"), fields.text("code")).await?,
    };
    match confirmed {
        Ok(()) if is_script(&headers) => Ok(Json(json!({"fresh": true})).into_response()),
        Ok(()) => Ok(Redirect::to("/console").into_response()),
        Err(Unconfirmed { field, why }) => {
            Err(Problem::new(Code::InvalidBody, why).with_field(field.field()).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_carries_on_what_was_typed_and_escapes_it() {
        let carried = Fields::default()
            .with("reason", "\"><script>")
            .with("environments", "a")
            .with("environments", "b");
        let layout = Layout::sample(Section::Account, "Confirm it is you");
        let html = ConfirmPage { layout, action: "/console/x", form: Form::default(), carried: &carried }
            .render()
            .unwrap();
        assert!(
            html.contains("name=\"environments\" value=\"a\"")
                && html.contains("name=\"environments\" value=\"b\"")
        );
        assert!(!html.contains("confirm_code"), "{html}");
        let mut layout = Layout::sample(Section::Account, "Confirm it is you");
        layout.person.has_factor = true;
        let asks = ConfirmPage { layout, action: "/console/x", form: Form::default(), carried: &carried };
        assert!(asks.render().unwrap().contains("name=\"confirm_code\""));
        assert!(html.contains("name=\"reason\" value=\"&#34;&#62;&#60;script&#62;\""), "{html}");
    }
}
