//! Incidents of PagerDuty that are open, as they are noted until they are resolved.

use super::{LEAK, PRESENTED, UPSTREAM};
use crate::{ClientId, DrillId, RegistrationId, SecretId, WebhookId, environment::Slug};

/// Word under which open incidents are noted among what was told.
pub const INCIDENT: &str = "incident";

/// An incident that a webhook has opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenIncident {
    /// The webhook. Only its receiver knows the incident.
    pub webhook: WebhookId,
    /// The client that it is about.
    pub client: ClientId,
    /// The environment that it is about.
    pub environment: Slug,
    /// Its subject, under which the receiver finds it again.
    pub subject: String,
}

/// What keeps an incident open.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OpenWhile {
    /// The leaked secret is valid.
    Valid(SecretId),
    /// The secret is retiring.
    Retiring(SecretId),
    /// The drill is not over.
    Drill(DrillId),
    /// The registration is disabled.
    Disabled(RegistrationId),
    /// Ended secrets of the registration are presented.
    Presented(RegistrationId),
    /// The issuer refuses the upstream credential of the registration.
    UpstreamRefused(RegistrationId),
}

impl OpenIncident {
    /// Returns the text under which the incident is noted.
    pub fn cause(&self) -> String {
        let Self { webhook, client, environment, subject } = self;
        format!("{INCIDENT} {webhook} {client} {environment} {subject}")
    }

    /// Reads such a text.
    pub fn parse(cause: &str) -> Option<Self> {
        let mut words = cause.split(' ');
        let mut next = || words.next();
        (next()? == INCIDENT).then_some(())?;
        Some(Self {
            webhook: WebhookId::parse(next()?).ok()?,
            client: ClientId::parse(next()?).ok()?,
            environment: Slug::from_stored(next()?.to_owned()),
            subject: next()?.to_owned(),
        })
    }

    /// Returns what keeps it open; `None` for a subject of another version.
    pub fn open_while(&self) -> Option<OpenWhile> {
        let subject = self.subject.as_str();
        if let Some(secret) = subject.strip_prefix(LEAK) {
            return SecretId::parse(secret).ok().map(OpenWhile::Valid);
        }
        if let Some(registration) = subject.strip_prefix(PRESENTED) {
            return RegistrationId::parse(registration).ok().map(OpenWhile::Presented);
        }
        if let Some(registration) = subject.strip_prefix(UPSTREAM) {
            return RegistrationId::parse(registration).ok().map(OpenWhile::UpstreamRefused);
        }
        let secret = SecretId::parse(subject).ok().map(OpenWhile::Retiring);
        secret
            .or_else(|| DrillId::parse(subject).ok().map(OpenWhile::Drill))
            .or_else(|| RegistrationId::parse(subject).ok().map(OpenWhile::Disabled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_incident_is_read_as_it_was_noted() {
        let id = "0000000000000000000001";
        let subjects = [
            (format!("leak:sec_{id}"), OpenWhile::Valid(SecretId::parse(&format!("sec_{id}")).unwrap())),
            (format!("sec_{id}"), OpenWhile::Retiring(SecretId::parse(&format!("sec_{id}")).unwrap())),
            (format!("drill_{id}"), OpenWhile::Drill(DrillId::parse(&format!("drill_{id}")).unwrap())),
            (format!("reg_{id}"), OpenWhile::Disabled(RegistrationId::parse(&format!("reg_{id}")).unwrap())),
            (
                format!("presented:reg_{id}"),
                OpenWhile::Presented(RegistrationId::parse(&format!("reg_{id}")).unwrap()),
            ),
            (
                format!("upstream:reg_{id}"),
                OpenWhile::UpstreamRefused(RegistrationId::parse(&format!("reg_{id}")).unwrap()),
            ),
        ];
        for (subject, expected) in subjects {
            let open = OpenIncident {
                webhook: WebhookId::parse(&format!("wh_{id}")).unwrap(),
                client: ClientId::parse(&format!("cl_{id}")).unwrap(),
                environment: Slug::from_stored("production".into()),
                subject,
            };
            assert_eq!(OpenIncident::parse(&open.cause()), Some(open.clone()));
            assert_eq!(open.open_while(), Some(expected));
            let other = OpenIncident { subject: "wh_other".into(), ..open };
            assert_eq!(other.open_while(), None);
        }
        for text in ["", "incident", "leak sec_1", "incident wh_1 cl_1 production sec_1"] {
            assert_eq!(OpenIncident::parse(text), None, "{text}");
        }
    }
}
