//! API types of messages that are switched off.

use crate::{
    messages::{Class, Kind, OffFor, Switch, client_switches_schema, is_off, switches_schema},
    text::LINE_PATTERN,
    time_zone::ZONE_PATTERN,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A kind of message.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct MessageKind {
    /// The kind.
    pub kind: Kind,
    /// How soon the message must be seen.
    pub class: Class,
    /// What happened, in a sentence.
    pub title: String,
    /// Whether it is sent.
    pub is_sent: bool,
    /// Whether it can be switched off.
    pub can_be_off: bool,
}

impl MessageKind {
    /// Returns every kind.
    pub fn all(off: &[Switch]) -> Vec<Self> {
        let line = |kind: &Kind| Self {
            kind: *kind,
            class: kind.class(),
            title: kind.title().to_owned(),
            is_sent: !is_off(*kind, off),
            can_be_off: kind.off_for() != OffFor::Nobody,
        };
        Kind::ALL.iter().map(line).collect()
    }

    /// Returns every kind of message about a client.
    pub fn of_client(off: &[Switch]) -> Vec<Self> {
        let mut kinds = Self::all(off);
        kinds.retain(|it| it.kind.off_for() != OffFor::Person);
        kinds
    }
}

/// The messages to a person.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct OwnMessages {
    /// Name of the time zone of the times in messages, in addition to UTC; `null`: only UTC.
    pub time_zone: Option<String>,
    /// Kinds and classes that are switched off.
    pub off: Vec<String>,
    /// Every kind. A client can switch off more.
    pub kinds: Vec<MessageKind>,
}

/// Sets the messages to a person. An absent member is `null` or an empty list.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateOwnMessages {
    /// Name of a time zone of the IANA database, such as `Europe/Berlin`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = ZONE_PATTERN))]
    pub time_zone: Option<String>,
    /// Kinds and classes to switch off.
    #[serde(default)]
    #[schemars(schema_with = "switches_schema")]
    pub off: Vec<String>,
}

/// The messages about a client.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ClientMessages {
    /// Kinds and classes that are switched off for all owners of the client.
    pub off: Vec<String>,
    /// Every kind. An owner can switch off more.
    pub kinds: Vec<MessageKind>,
}

/// Sets the messages about a client.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateClientMessages {
    /// Kinds and classes to switch off for all owners of the client.
    #[serde(default)]
    #[schemars(schema_with = "client_switches_schema")]
    pub off: Vec<String>,
    /// The client's name, to confirm the change. Required to switch off more than before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirm_client_name: Option<String>,
    /// Reason, which the owners are told.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000), regex(pattern = LINE_PATTERN))]
    pub reason: Option<String>,
}
