//! Mail: the mail server with a test, where messages are sent from, and its release after a move.

use super::{
    clients::belongs_to_form,
    error::status,
    form::{Fields, Form},
    layout::{Layout, Section},
    message::redirect_with,
    page, page_with,
    session::{Fresh, SignedIn, Submitted},
};
use crate::reply::{Refused, Reply};
use askama::Template;
use axum::http::StatusCode;
use crossfade_app::{Input, NO_INPUT};
use crossfade_core::{
    Code,
    api::{Mail, MailEncryption, MailServer, MailTested, ReleaseMail},
};

const PATH: &str = "/console/mail";

#[derive(Template)]
#[template(path = "console/mail.html")]
struct MailPage {
    layout: Layout,
    found: Mail,
    /// Why a test message was not sent or not accepted.
    refused: Option<String>,
    form: Form,
}

impl MailPage {
    fn address(&self, server: &MailServer) -> String {
        match server.host.contains(':') {
            true => format!("[{}]:{}", server.host, server.port),
            false => format!("{}:{}", server.host, server.port),
        }
    }

    fn encryption(&self, server: &MailServer) -> &'static str {
        match server.encryption {
            MailEncryption::None => "None: the mail server is on this machine",
            MailEncryption::Starttls => "STARTTLS, required",
            MailEncryption::Tls => "TLS from the start",
        }
    }
}

fn empty_form() -> Form {
    Form::new("release", Fields::default().with("reason", ""))
}

async fn load(signed: &SignedIn, form: Form) -> Result<MailPage, Refused> {
    let found = signed.app.read_mail(signed.principal()).await?;
    Ok(MailPage { layout: signed.layout(Section::Mail, "Mail"), found, refused: None, form })
}

pub(super) async fn show(signed: SignedIn) -> Reply {
    let mut shown = load(&signed, empty_form()).await?;
    let done = (signed.said() == "released").then_some("Mail was released. It is sent from this place.");
    shown.layout = shown.layout.done(done);
    Ok(page(&shown))
}

pub(super) async fn release(Fresh { signed, fields }: Fresh) -> Reply {
    let body = ReleaseMail { reason: Some(fields.text("reason").to_owned()) };
    match signed.app.release_mail(&signed.request(), Input::Value(body)).await {
        Ok(_) => Ok(redirect_with(PATH, "released")),
        Err(error) if belongs_to_form(&error.problem) => {
            let answer = status(&error.problem);
            let form = Form::new("release", fields).refused(error.problem);
            Ok(page_with(answer, &load(&signed, form).await?))
        }
        Err(error) => Err(error.into()),
    }
}

/// Sends a test message, and shows what became of it on the page itself: the words of the mail server fit into no cookie.
pub(super) async fn test(Submitted { signed, .. }: Submitted) -> Reply {
    let shown_here = |code| matches!(code, Code::MailNotSetUp | Code::NotAPerson | Code::TooManyRequests);
    let (answer, done, refused) = match signed.app.test_mail(&signed.request(), NO_INPUT).await {
        Ok(tested) => match tested.accepted {
            Some(true) => (StatusCode::OK, Some(accepted(&tested)), None),
            _ => (StatusCode::OK, None, Some(not_accepted(&tested))),
        },
        Err(error) if shown_here(error.problem.code) => {
            (status(&error.problem), None, Some(error.problem.detail))
        }
        Err(error) => return Err(error.into()),
    };
    let shown = load(&signed, empty_form()).await?;
    let layout = shown.layout.done(done);
    Ok(page_with(answer, &MailPage { layout, refused, ..shown }))
}

fn accepted(tested: &MailTested) -> String {
    format!("The mail server accepted the test message to {}. Check whether it arrives.", tested.recipient)
}

fn not_accepted(tested: &MailTested) -> String {
    let error = tested.error.as_deref().unwrap_or("the mail server did not answer");
    format!("The test message to {} was not accepted: {error}.", tested.recipient)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::crossfade::samples;
    use crossfade_core::Timestamp;

    fn sample(held: Option<&str>, server: Option<MailServer>, failing: Option<&str>) -> String {
        let page = MailPage {
            layout: Layout::sample(Section::Mail, "Mail"),
            found: Mail {
                sends_from: Some("https://auth.example.com, database db:5432/crossfade".into()),
                held_place: held.map(str::to_owned),
                held_since: held.map(|_| samples::now()),
                queued: 3,
                oldest_queued_at: Some(samples::now()),
                sender: server.as_ref().map(|_| "Crossfade <crossfade@example.com>".to_owned()),
                server,
                last_error: failing.map(str::to_owned),
                failing_since: failing.map(|_| Timestamp::from_seconds(1_795_525_500)),
            },
            refused: None,
            form: empty_form(),
        };
        page.render().unwrap()
    }

    fn server(host: &str, encryption: MailEncryption) -> Option<MailServer> {
        Some(MailServer { host: host.into(), port: 587, encryption })
    }

    #[test]
    fn the_page_names_both_places_before_the_release() {
        let html = sample(Some("https://auth.example.com, database other:5432/crossfade"), None, None);
        assert!(html.contains("db:5432") && html.contains("other:5432"), "{html}");
        assert!(html.contains("Release mail"), "{html}");
        assert!(!sample(None, None, None).contains("Release mail"));
    }

    #[test]
    fn the_page_says_whether_mail_is_set_up_and_why_it_cannot_be_sent() {
        let none = sample(None, None, None);
        assert!(none.contains("Mail is not set up.") && !none.contains("Send me a test message"), "{none}");
        let works = sample(None, server("mail.example.com", MailEncryption::Starttls), None);
        for part in [
            "<dd>3</dd>",
            "mail.example.com:587",
            "STARTTLS",
            "crossfade@example.com&#62;",
            "Send me a test message",
            "<dd>None</dd>",
        ] {
            assert!(works.contains(part), "{part}: {works}");
        }
        assert!(!works.contains("cannot be sent"), "{works}");
        let why = "the mail server refuses the <password>";
        let fails = sample(None, server("::1", MailEncryption::None), Some(why));
        for part in
            ["Mail cannot be sent.", "refuses the &#60;password&#62;, since", "[::1]:587", "on this machine"]
        {
            assert!(fails.contains(part), "{part}: {fails}");
        }
    }
}
