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
use crossfade_app::Input;
use crossfade_core::api::{Mail, ReleaseMail};

const PATH: &str = "/console/mail";

#[derive(Template)]
#[template(path = "console/mail.html")]
struct MailPage {
    layout: Layout,
    found: Mail,
    form: Form,
}

async fn load(signed: &SignedIn, form: Form) -> Result<MailPage, Refused> {
    let found = signed.app.read_mail(signed.principal()).await?;
    Ok(MailPage { layout: signed.layout(Section::Overview, "Mail"), found, form })
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
            layout: Layout::sample(Section::Overview, "Mail"),
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
}
