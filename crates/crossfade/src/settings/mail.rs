//! Settings of mail. The URL is never quoted: it may hold a password.

use super::values::non_empty;
use crate::failure::Failure;
use crossfade_app::{MailServer, Mailer};
use std::{path::PathBuf, sync::Arc};

/// The settings of mail, as written.
pub(super) struct Mail<'a> {
    pub(super) url: Option<String>,
    pub(super) password_file: Option<PathBuf>,
    pub(super) from: Option<String>,
    pub(super) authorities: Option<&'a [u8]>,
}

impl Mail<'_> {
    /// Returns the mailer; `None` if mail is not set up.
    pub(super) fn mailer(self) -> Result<Option<Arc<Mailer>>, Failure> {
        let Some(url) = self.url else {
            let without =
                [("smtp_password_file", self.password_file.is_some()), ("mail_from", self.from.is_some())];
            return match without.iter().find(|(_, is_set)| *is_set) {
                Some((name, _)) => Err(Failure::usage(format!("{name} must be set together with smtp_url."))),
                None => Ok(None),
            };
        };
        let Some(from) = self.from else {
            return Err(Failure::usage("mail_from must be set together with smtp_url."));
        };
        let password_file =
            self.password_file.map(|path| non_empty("smtp_password_file", path)).transpose()?;
        let server = MailServer::parse(&url, password_file, self.authorities);
        let server = server.map_err(|what| Failure::usage(format!("smtp_url {what}.")))?;
        let mailer = Mailer::new(server, &from);
        mailer
            .map(|mailer| Some(Arc::new(mailer)))
            .map_err(|what| Failure::usage(format!("mail_from {what}.")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(url: Option<&str>, from: Option<&str>) -> Mail<'static> {
        Mail {
            url: url.map(str::to_owned),
            password_file: None,
            from: from.map(str::to_owned),
            authorities: None,
        }
    }

    const FROM: Option<&str> = Some("Crossfade <crossfade@example.com>");

    #[test]
    fn mail_needs_a_server_and_a_sender() {
        assert!(mail(None, None).mailer().unwrap().is_none());
        assert!(mail(Some("smtp://mail.example.com"), FROM).mailer().unwrap().is_some());
        for refused in [mail(None, FROM), mail(Some("smtp://mail.example.com"), None)] {
            let failure = refused.mailer().unwrap_err();
            let said = failure.sentence();
            assert!(said.contains("must be set together with smtp_url"), "{said}");
        }
    }

    #[test]
    fn a_refused_mail_setting_is_not_quoted() {
        for (url, from) in [
            ("http://ada:canary@mail.example.com", FROM),
            ("smtp://ada:canary@", FROM),
            ("smtp://ada:canary@mail.example.com/path", FROM),
            ("smtp://mail.example.com", Some("canary")),
            ("smtp://mail.example.com", Some("canary <a@example.com>\r\nBcc: b@example.com")),
        ] {
            let failure = mail(Some(url), from).mailer().unwrap_err();
            let said = failure.sentence();
            assert!(!said.contains("canary") && said.contains("must"), "{said}");
        }
    }
}
