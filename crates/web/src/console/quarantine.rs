//! The quarantine: why the instance decides nothing, what its database holds as valid, and the release.

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
use crossfade_core::{
    api::{HeldSecret, Quarantine, ReleaseQuarantine},
    roles::Role,
};

const PATH: &str = "/console/quarantine";

#[derive(Template)]
#[template(path = "console/quarantine.html")]
struct QuarantinePage {
    layout: Layout,
    found: Quarantine,
    form: Form,
}

impl QuarantinePage {
    fn why(&self) -> &'static str {
        self.found.cause.map_or("The instance is not in quarantine.", |cause| cause.sentence())
    }

    /// Returns the name of a stored role.
    fn role(&self, stored: &str) -> String {
        Role::parse(stored).map_or(stored, |role| role.name()).to_owned()
    }

    /// Returns the registrations, each once, with the number of its valid secrets.
    fn registrations(&self) -> Vec<(&HeldSecret, usize)> {
        let mut lines: Vec<(&HeldSecret, usize)> = Vec::new();
        for secret in &self.found.secrets {
            match lines.last_mut() {
                Some((line, number)) if line.registration_id == secret.registration_id => *number += 1,
                _ => lines.push((secret, 1)),
            }
        }
        lines
    }
}

async fn load(signed: &SignedIn, form: Form) -> Result<QuarantinePage, Refused> {
    let found = signed.app.read_quarantine(signed.principal()).await?;
    Ok(QuarantinePage { layout: signed.layout(Section::Overview, "Quarantine"), found, form })
}

pub(super) async fn show(signed: SignedIn) -> Reply {
    let mut shown = load(&signed, Form::new("release", Fields::default().with("reason", ""))).await?;
    let done =
        (signed.said() == "released").then_some("The quarantine was released. Tokens are issued again.");
    shown.layout = shown.layout.done(done);
    Ok(page(&shown))
}

pub(super) async fn release(Fresh { signed, fields }: Fresh) -> Reply {
    let body = ReleaseQuarantine {
        reason: Some(fields.text("reason").to_owned()),
        except: fields.all("except").map(str::to_owned).collect(),
    };
    match signed.app.release_quarantine(&signed.request(), Input::Value(body)).await {
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
    use crossfade_core::ended::Cause;

    #[test]
    fn the_page_shows_what_would_be_released() {
        let secret = |id: &str| HeldSecret {
            client_id: "cl_1".into(),
            client: "Billing".into(),
            environment: "production".into(),
            registration_id: "reg_1".into(),
            oauth_client_id: "abc".into(),
            secret_id: id.into(),
            created_at: samples::now(),
            expires_at: None,
            last_used_at: None,
        };
        let page = QuarantinePage {
            layout: Layout::sample(Section::Overview, "Quarantine"),
            found: Quarantine {
                cause: Some(Cause::Restored),
                since: Some(samples::now()),
                data_until: Some(samples::now()),
                is_complete: true,
                secrets: vec![secret("sec_1"), secret("sec_2")],
                tokens: Vec::new(),
                grants: Vec::new(),
            },
            form: Form::new("release", Fields::default().with("reason", "")),
        };
        assert_eq!(page.registrations().len(), 1);
        let html = page.render().unwrap();
        assert!(html.contains("restored from a backup") && html.contains("Release quarantine"), "{html}");
        assert!(html.contains("value=\"reg_1\"") && html.contains("Billing"), "{html}");
    }
}
