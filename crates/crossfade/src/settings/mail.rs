//! Settings of mail. The URL is never quoted: it may hold a password.

use super::values::non_empty;
use crate::failure::Failure;
use crossfade_app::{MailServer, Mailer};
use std::{path::PathBuf, sync::Arc};

/// The settings of mail, as written.
pub(super) struct Mail {
    pub(super) url: Option<String>,
    pub(super) password_file: Option<PathBuf>,
    pub(super) from: Option<String>,
    pub(super) ca_file: Option<PathBuf>,
}

impl Mail {
    /// Returns the mailer; `None` if mail is not set up.
    pub(super) fn mailer(self) -> Result<Option<Arc<Mailer>>, Failure> {
        let Some(url) = self.url else {
            let without = [
                ("smtp_password_file", self.password_file.is_some()),
                ("mail_from", self.from.is_some()),
                ("outbound_ca_file", self.ca_file.is_some()),
            ];
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
        let ca = match self.ca_file {
            Some(path) => {
                let path = non_empty("outbound_ca_file", path)?;
                Some(std::fs::read(&path).map_err(|error| {
                    Failure::failed(format!("Cannot read the file {}: {error}.", path.display()))
                })?)
            }
            None => None,
        };
        let server = MailServer::parse(&url, password_file, ca.as_deref());
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

    fn mail(url: Option<&str>, from: Option<&str>) -> Mail {
        Mail {
            url: url.map(str::to_owned),
            password_file: None,
            from: from.map(str::to_owned),
            ca_file: None,
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
