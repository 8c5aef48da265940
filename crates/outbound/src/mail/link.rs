//! A connection to the mail server. Each step has a limit.

use super::{
    before_tls::BeforeTls,
    failure::{self, Failure},
    server::{Encryption, MailServer},
};
use lettre::{
    address::Envelope,
    transport::smtp::{
        authentication::{Credentials, Mechanism},
        client::AsyncSmtpConnection,
        commands::{Data, Mail, Rcpt},
        extension::{ClientId, Extension, MailBodyParameter, MailParameter},
    },
};
use std::time::Duration;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};

/// Limit of connecting, with the greeting of the server.
const CONNECTS_WITHIN: Duration = Duration::from_secs(15);
/// Limit of a command before a message.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);
/// Limits of the steps of a message (RFC 5321 §4.5.3.2). A server may ask others about a recipient, and examine a message
/// before it takes it. Whoever gives up earlier sends it again although it arrived.
const NAMES_WITHIN: Duration = Duration::from_secs(300);
const BEGINS_WITHIN: Duration = Duration::from_secs(120);
const TAKES_WITHIN: Duration = Duration::from_secs(600);
/// Limit of the farewell.
pub(super) const CLOSES_WITHIN: Duration = Duration::from_secs(2);

/// The longest time that sending a message takes: on a connection that turns out to be closed, then on a new one.
pub const LONGEST_ATTEMPT: Duration = {
    let opens = CONNECTS_WITHIN.as_secs() + 2 * ANSWERS_WITHIN.as_secs();
    let sends = 2 * NAMES_WITHIN.as_secs() + BEGINS_WITHIN.as_secs() + TAKES_WITHIN.as_secs();
    Duration::from_secs(NAMES_WITHIN.as_secs() + opens + sends + 2 * CLOSES_WITHIN.as_secs())
};

/// How the server may let a user sign in.
const MECHANISMS: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];

/// What is wrong with the settings, where the words of a server do not say it.
const EXPECTS_TLS: &str = "the mail server sent no greeting, so it may expect TLS from the start: use smtps:// in CROSSFADE_SMTP_URL";
const EXPECTS_NO_TLS: &str = "the mail server does not begin with TLS: use smtp:// in CROSSFADE_SMTP_URL, and ?tls=required \
    for STARTTLS on this machine";
const NO_MECHANISM: &str = "the mail server offers no sign-in with a password (AUTH PLAIN or LOGIN)";
const NOT_BEFORE_TLS: &str =
    "on an unencrypted connection: add ?tls=required to CROSSFADE_SMTP_URL, if it does after STARTTLS";
const WANTS_TLS: &str = "the mail server requires STARTTLS: add ?tls=required to CROSSFADE_SMTP_URL";
const WANTS_USER: &str =
    "the mail server requires a sign-in: set a user in CROSSFADE_SMTP_URL and its password";

/// A connection that is ready for a message.
pub(super) struct Link {
    connection: AsyncSmtpConnection,
    used_at: Instant,
    messages: u32,
}

/// How a message failed.
pub(super) enum Broken {
    /// Before the server knew of it: the connection is gone.
    BeforeData,
    Failed(Failure),
}

impl From<Broken> for Failure {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::BeforeData => Failure::Server("the mail server has closed the connection".to_owned()),
            Broken::Failed(failure) => failure,
        }
    }
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Link {
    /// Connects, encrypts and signs in. `domain` is the one that the server is greeted with.
    pub(super) async fn open(server: &MailServer, domain: &str) -> Result<Self, Failure> {
        let hello = ClientId::Domain(domain.to_owned());
        let tls = server.tls.clone();
        let (first, then) = match server.encryption {
            Encryption::None => (None, None),
            Encryption::StartTls => (None, tls),
            Encryption::Tls => (tls, None),
        };
        let address = (server.host.as_str(), server.port);
        // On this machine a connection is there or refused, so only its greeting can be late.
        let mut waits_for_greeting = server.encryption == Encryption::None;
        let connected = async {
            let connected = match then {
                None => AsyncSmtpConnection::connect_tokio1(address, None, &hello, first, None).await,
                Some(_) => {
                    let stream = TcpStream::connect(address).await;
                    let stream =
                        stream.map_err(|error| Failure::Server(format!("cannot connect: {error}")))?;
                    waits_for_greeting = true;
                    let stream = Box::new(BeforeTls::new(stream));
                    AsyncSmtpConnection::connect_with_transport(stream, &hello).await
                }
            };
            connected.map_err(|error| match failure::is_answer_without_tls(&error) {
                true => Failure::Server(EXPECTS_NO_TLS.to_owned()),
                false => Failure::of_server("cannot connect", &error),
            })
        };
        let mut connection = match timeout(CONNECTS_WITHIN, connected).await {
            Ok(connected) => connected?,
            Err(_) if waits_for_greeting => return Err(Failure::Server(EXPECTS_TLS.to_owned())),
            Err(_) => return Err(Failure::late("connecting")),
        };
        if let Some(tls) = then {
            if !connection.can_starttls() {
                let said = "the mail server does not offer STARTTLS, and mail is never sent unencrypted to another machine";
                return Err(Failure::Server(said.to_owned()));
            }
            timeout(ANSWERS_WITHIN, connection.starttls(tls, &hello))
                .await
                .map_err(|_| Failure::late("STARTTLS"))?
                .map_err(|error| Failure::of_server("STARTTLS", &error))?;
        }
        if let Some((user, password)) = server.credentials().map_err(Failure::Server)? {
            if connection.server_info().get_auth_mechanism(&MECHANISMS).is_none() {
                return Err(Failure::Server(match server.encryption {
                    Encryption::None => format!("{NO_MECHANISM} {NOT_BEFORE_TLS}"),
                    Encryption::StartTls | Encryption::Tls => NO_MECHANISM.to_owned(),
                }));
            }
            let credentials = Credentials::new(user, password.to_string());
            timeout(ANSWERS_WITHIN, connection.auth(&MECHANISMS, &credentials))
                .await
                .map_err(|_| Failure::late("AUTH"))?
                .map_err(|error| {
                    Failure::of_server("the mail server refuses the user or password", &error)
                })?;
        }
        Ok(Self { connection, used_at: Instant::now(), messages: 0 })
    }

    /// Sends a message. Calls `admitted` when the server has accepted the sender.
    pub(super) async fn send(
        &mut self,
        envelope: &Envelope,
        message: &[u8],
        admitted: &mut impl FnMut(),
    ) -> Result<(), Broken> {
        let parameters = self.parameters(envelope, message)?;
        let connection = &mut self.connection;
        let from = timeout(NAMES_WITHIN, connection.command(Mail::new(envelope.from().cloned(), parameters)));
        match from.await {
            Err(_) => return Err(Failure::late("MAIL").into()),
            Ok(Err(error)) if error.status().is_none_or(|code| code.to_string() == "421") => {
                return Err(Broken::BeforeData);
            }
            // What the server wants is not another sender (RFC 3207 §4, RFC 4954 §6).
            Ok(Err(error)) if error.status().is_some_and(|code| code.to_string() == "530") => {
                let wants_tls = !connection.is_encrypted() && connection.can_starttls();
                let wanted = if wants_tls { WANTS_TLS } else { WANTS_USER };
                return Err(Failure::of_server(wanted, &error).into());
            }
            // The sender is the same for every message.
            Ok(Err(error)) => {
                return Err(Failure::of_server("the mail server refuses the sender", &error).into());
            }
            Ok(Ok(_)) => admitted(),
        }
        for to in envelope.to() {
            timeout(NAMES_WITHIN, connection.command(Rcpt::new(to.clone(), vec![])))
                .await
                .map_err(|_| Failure::late_with_message("RCPT"))?
                .map_err(|error| Failure::of_message("the mail server refuses the recipient", &error))?;
        }
        let refused = |error| Failure::of_message("the mail server refuses the message", &error);
        timeout(BEGINS_WITHIN, connection.command(Data))
            .await
            .map_err(|_| Failure::late_with_message("DATA"))?
            .map_err(refused)?;
        timeout(TAKES_WITHIN, connection.message(message))
            .await
            .map_err(|_| Failure::late_with_message("the end of the message"))?
            .map_err(refused)?;
        (self.used_at, self.messages) = (Instant::now(), self.messages + 1);
        Ok(())
    }

    /// Returns what the server must support for this message.
    fn parameters(&self, envelope: &Envelope, message: &[u8]) -> Result<Vec<MailParameter>, Failure> {
        let server = self.connection.server_info();
        let mut parameters = Vec::new();
        if envelope
            .to()
            .iter()
            .chain(envelope.from())
            .any(|address| !AsRef::<str>::as_ref(address).is_ascii())
        {
            if !server.supports_feature(Extension::SmtpUtfEight) {
                let said = "the mail server does not take addresses with letters beyond ASCII (SMTPUTF8)";
                return Err(Failure::Refused(said.to_owned()));
            }
            parameters.push(MailParameter::SmtpUtfEight);
        }
        if !message.is_ascii() {
            if !server.supports_feature(Extension::EightBitMime) {
                let said = "the mail server does not take letters beyond ASCII (8BITMIME)";
                return Err(Failure::Refused(said.to_owned()));
            }
            parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
        Ok(parameters)
    }

    /// Returns how long no message was sent.
    pub(super) fn unused_for(&self) -> Duration {
        self.used_at.elapsed()
    }

    /// Returns the number of messages that were sent.
    pub(super) fn messages(&self) -> u32 {
        self.messages
    }

    /// Says farewell within its limit, unless the connection is gone.
    pub(super) async fn close(self) {
        let _ = timeout(CLOSES_WITHIN, self.say_farewell()).await;
    }

    /// Says farewell without a limit, unless the connection is gone.
    pub(super) async fn say_farewell(mut self) {
        self.connection.abort().await;
    }
}
