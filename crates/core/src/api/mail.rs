//! API types of mail.

use crate::{Timestamp, text::NAME_PATTERN};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Mail of the instance.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Mail {
    /// Place that messages are sent from: the public URL and the database; `null` before the first start with mail.
    pub sends_from: Option<String>,
    /// Place that the database is in now, if sending from there is held until it is released; otherwise `null`.
    pub held_place: Option<String>,
    /// When sending was held; `null` if it is not.
    pub held_since: Option<Timestamp>,
    /// Number of messages that wait to be sent.
    pub queued: i64,
    /// When the oldest of them was queued; `null` if none waits.
    pub oldest_queued_at: Option<Timestamp>,
    /// Mail server; `null` if mail is not set up.
    pub server: Option<MailServer>,
    /// Sender of mail; `null` if mail is not set up.
    pub sender: Option<String>,
    /// Why mail cannot be sent, or the last failure of a message by mail that waits; `null` if there is none.
    pub last_error: Option<String>,
    /// Since when the server cannot use the mail server; `null` if it can, or has not tried it.
    pub failing_since: Option<Timestamp>,
}

/// Mail server, without the user and the password.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct MailServer {
    /// Host name or IP address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// How connections are encrypted.
    pub encryption: MailEncryption,
}

/// How connections to a mail server are encrypted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MailEncryption {
    /// Not encrypted: the mail server is on the same machine.
    None,
    /// Encrypted by STARTTLS, or not used.
    Starttls,
    /// Encrypted by TLS from the start.
    Tls,
}

/// Sends a test message. Accepts no members.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TestMail {}

/// What became of a test message.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct MailTested {
    /// When it was sent.
    pub tested_at: Timestamp,
    /// Email address that it was sent to.
    pub recipient: String,
    /// Mail server that it was sent to.
    pub server: MailServer,
    /// Whether the mail server accepted it; `null` if that is unknown, as in the answer to a repeated request, which sends
    /// nothing.
    pub accepted: Option<bool>,
    /// Answer of the mail server, or what failed; `null` if the mail server accepted the message.
    pub error: Option<String>,
}

/// Lets a database in another place send messages.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseMail {
    /// Reason.
    #[schemars(required, length(min = 1, max = 1000), regex(pattern = NAME_PATTERN))]
    pub reason: Option<String>,
}

/// Released mail.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct MailReleased {
    /// When sending was released.
    pub released_at: Timestamp,
    /// Place that messages are sent from now.
    pub sends_from: String,
    /// Number of messages that were queued before sending was held, and are not sent.
    pub abandoned: u64,
}
