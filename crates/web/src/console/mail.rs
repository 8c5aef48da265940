//! Mail: where messages are sent from, and its release after a move.

use super::{
    clients::belongs_to_form,
    error::status,
    form::{Fields, Form},
    layout::{Layout, Section},
    message::redirect_with,
    page, page_with,
    session::{Fresh, SignedIn},
};
use crate::reply::{Refused, Reply};
use askama::Template;
use crossfade_app::{Input, MailState};
use crossfade_core::api::{Mail, ReleaseMail};

const PATH: &str = "/console/mail";

#[derive(Template)]
#[template(path = "console/mail.html")]
struct MailPage {
    layout: Layout,
    found: Mail,
    sending: Sending,
    form: Form,
}

/// What this process knows of its mail.
enum Sending {
    NotSetUp,
    /// No attempt has failed since the last message, or since the start.
    Works,
    /// Why the mail server could not be used.
    Fails(String),
}

impl Sending {
    fn of(mail: Option<MailState>) -> Self {
        match mail {
            None => Self::NotSetUp,
            Some(MailState { failing: Some(why), .. }) => Self::Fails(why),
            Some(_) => Self::Works,
        }
    }
}

async fn load(signed: &SignedIn, form: Form) -> Result<MailPage, Refused> {
    let found = signed.app.read_mail(signed.principal()).await?;
    let sending = Sending::of(signed.app.mail());
    Ok(MailPage { layout: signed.layout(Section::Mail, "Mail"), found, sending, form })
}

pub(super) async fn show(signed: SignedIn) -> Reply {
    let mut shown = load(&signed, Form::new("release", Fields::default().with("reason", ""))).await?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::crossfade::samples;

    #[test]
    fn the_page_names_both_places_before_the_release() {
        let page = |held: Option<&str>| MailPage {
            sending: Sending::Works,
            layout: Layout::sample(Section::Mail, "Mail"),
            found: Mail {
                sends_from: Some("https://auth.example.com, database db:5432/crossfade".into()),
                held_place: held.map(str::to_owned),
                held_since: held.map(|_| samples::now()),
                queued: 2,
                oldest_queued_at: Some(samples::now()),
            },
            form: Form::new("release", Fields::default().with("reason", "")),
        };
        let html = page(Some("https://auth.example.com, database other:5432/crossfade")).render().unwrap();
        assert!(html.contains("db:5432") && html.contains("other:5432"), "{html}");
        assert!(html.contains("Release mail"), "{html}");
        assert!(!page(None).render().unwrap().contains("Release mail"));
    }

    #[test]
    fn the_page_says_whether_mail_is_set_up_and_why_it_cannot_be_sent() {
        let page = |state: Option<MailState>| {
            let page = MailPage {
                layout: Layout::sample(Section::Mail, "Mail"),
                found: Mail {
                    sends_from: None,
                    held_place: None,
                    held_since: None,
                    queued: 3,
                    oldest_queued_at: Some(samples::now()),
                },
                sending: Sending::of(state),
                form: Form::new("release", Fields::default().with("reason", "")),
            };
            page.render().unwrap()
        };
        assert!(page(None).contains("Mail is not set up."));
        let works = page(Some(MailState::default()));
        assert!(works.contains("<dd>3</dd>") && !works.contains("cannot be sent"), "{works}");
        let failing = Some("the mail server refuses the password".to_owned());
        let fails = page(Some(MailState { failing, ..MailState::default() }));
        assert!(fails.contains("cannot be sent: the mail server refuses the password."), "{fails}");
    }
}
