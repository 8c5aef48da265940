//! The kinds of messages: their class, and who can switch them off. The one list.

use crate::audit::Event;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How soon a person must see a message.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Something fails now or within an hour.
    Wake,
    /// Something has changed or must be done today.
    Today,
    /// What can wait for the weekly digest.
    Digest,
}

impl Class {
    /// All classes, the most urgent first.
    pub const ALL: [Self; 3] = [Self::Wake, Self::Today, Self::Digest];

    /// Returns the class of the message about an event. A message that is of no kind is for today.
    pub fn of(event: &Event) -> Self {
        Kind::of(event).map_or(Self::Today, Kind::class)
    }

    /// Returns the word that is stored and sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wake => "wake",
            Self::Today => "today",
            Self::Digest => "digest",
        }
    }

    /// Returns what the class contains, in a sentence.
    pub fn title(self) -> &'static str {
        match self {
            Self::Wake => "Something fails now or within an hour.",
            Self::Today => "Something has changed, or must be done today.",
            Self::Digest => "Summary of a week.",
        }
    }
}

/// Who can switch a kind of message off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OffFor {
    /// Each recipient for themselves, and the managers of a client for the client.
    PersonOrClient,
    /// Each recipient for themselves: the message is about no single client.
    Person,
    /// Nobody: the message tells of a change after which others would not arrive, or of the recipient's own account.
    Nobody,
}

macro_rules! kinds {
    ($(#[doc = $doc:literal] $name:ident = $text:literal, $class:ident, $off:ident;)+) => {
        /// A kind of message.
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema,
        )]
        pub enum Kind { $(#[doc = $doc] #[serde(rename = $text)] $name,)+ }

        impl Kind {
            /// All kinds, in the order in which they are shown.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Returns the word that is stored and sent.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// Returns what happened, in a sentence.
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => str::trim_start($doc),)+ }
            }

            /// Returns how soon it must be seen.
            pub fn class(self) -> Class {
                match self { $(Self::$name => Class::$class,)+ }
            }

            /// Returns who can switch it off.
            pub fn off_for(self) -> OffFor {
                match self { $(Self::$name => OffFor::$off,)+ }
            }
        }
    };
}

kinds! {
    /// An old secret expires within an hour and is still needed.
    DeadlineImminent = "transition.deadline_imminent", Wake, PersonOrClient;
    /// An old secret expires within 24 hours and is still needed.
    DeadlineNear = "transition.deadline_near", Today, PersonOrClient;
    /// A secret was rotated, but not by the client itself, which is always told.
    SecretRotated = "secret.rotated", Today, PersonOrClient;
    /// An old secret was revoked.
    SecretRevoked = "secret.revoked", Today, PersonOrClient;
    /// The deadline of an old secret was extended.
    SecretExtended = "secret.extended", Today, PersonOrClient;
    /// A rotation was rolled back.
    SecretRolledBack = "secret.rolled_back", Today, PersonOrClient;
    /// An old secret has expired.
    SecretExpired = "secret.expired", Today, PersonOrClient;
    /// A drill was scheduled.
    DrillScheduled = "drill.scheduled", Today, PersonOrClient;
    /// A drill was stopped.
    DrillStopped = "drill.stopped", Today, PersonOrClient;
    /// A drill has ended.
    DrillFinished = "drill.finished", Today, PersonOrClient;
    /// A registration was enabled or disabled, or its self-rotation was turned on or off.
    RegistrationSwitched = "registration.updated", Today, PersonOrClient;
    /// The owners of a client were changed, or a webhook among them was moved or disabled.
    OwnersChanged = "client.owners", Today, Nobody;
    /// Messages were switched on or off.
    MessagesSwitched = "messages.switched", Today, Nobody;
    /// A client was deleted.
    ClientDeleted = "client.deleted", Today, PersonOrClient;
    /// A valid secret was reported as leaked.
    LeakReported = "leak.reported", Today, PersonOrClient;
    /// An ended secret is still presented in numbers.
    EndedSecretPresented = "secret.still_presented", Wake, PersonOrClient;
    /// An upstream issuer refuses the upstream credential, so that callers get no tokens.
    UpstreamCredentialRefused = "upstream_credential.refused", Wake, PersonOrClient;
    /// An upstream issuer accepts the upstream credential again.
    UpstreamCredentialAccepted = "upstream_credential.accepted", Today, PersonOrClient;
    /// Evidence of use could not be written for 5 minutes.
    EvidenceUnwritten = "evidence.unwritten", Wake, Person;
    /// A node has had no lease for a minute, so that it refuses all tokens.
    NodeWithoutLease = "node.without_lease", Wake, Person;
    /// Secrets of your clients that are overdue or due for rotation, and what is new about them.
    WeeklyDigest = "digest.weekly", Digest, Person;
}

impl Kind {
    /// Parses the word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == text)
    }

    /// Returns the kind of the message about an event; `None`: there is no such message, or it is about a person's account.
    pub fn of(event: &Event) -> Option<Self> {
        Some(match event {
            Event::DeadlineNear { hours_before: 1, .. } => Self::DeadlineImminent,
            Event::DeadlineNear { .. } => Self::DeadlineNear,
            Event::SecretRotated { .. } => Self::SecretRotated,
            Event::SecretRevoked { .. } => Self::SecretRevoked,
            Event::SecretExtended { .. } => Self::SecretExtended,
            Event::SecretRolledBack { .. } => Self::SecretRolledBack,
            Event::SecretExpired { .. } => Self::SecretExpired,
            Event::DrillScheduled { .. } => Self::DrillScheduled,
            Event::DrillStopped { .. } => Self::DrillStopped,
            Event::DrillFinished { .. } => Self::DrillFinished,
            Event::RegistrationUpdated { .. } => Self::RegistrationSwitched,
            Event::ClientUpdated { .. }
            | Event::ClientHandedOver { .. }
            | Event::ClientOwnerUpdated { .. } => Self::OwnersChanged,
            Event::ClientMessagesUpdated { .. } | Event::OwnMessagesUpdated { .. } => Self::MessagesSwitched,
            Event::ClientDeleted { .. } => Self::ClientDeleted,
            Event::LeakReported { .. } => Self::LeakReported,
            Event::EndedSecretPresented { .. } => Self::EndedSecretPresented,
            Event::UpstreamCredentialRefused { .. } => Self::UpstreamCredentialRefused,
            Event::UpstreamCredentialAccepted { .. } => Self::UpstreamCredentialAccepted,
            Event::EvidenceUnwritten { .. } => Self::EvidenceUnwritten,
            Event::NodeWithoutLease { .. } => Self::NodeWithoutLease,
            Event::DigestsQueued { .. } => Self::WeeklyDigest,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_word_names_one_kind() {
        let words: HashSet<_> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(words.len(), Kind::ALL.len());
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.as_str()), Some(*kind));
        }
        assert_eq!(Kind::parse("wake"), None);
    }

    #[test]
    fn messages_about_where_messages_go_cannot_be_switched_off() {
        for kind in [Kind::OwnersChanged, Kind::MessagesSwitched] {
            assert_eq!(kind.off_for(), OffFor::Nobody);
        }
    }
}
