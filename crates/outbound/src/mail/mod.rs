//! Mail by SMTP (RFC 5321).

mod before_tls;
pub(crate) mod failure;
pub(crate) mod letter;
pub(crate) mod link;
pub(crate) mod server;
#[cfg(test)]
mod tests;

use self::{failure::Failure, letter::Mail, link::Link, server::MailServer};
use futures_util::future::join_all;
use lettre::{
    Address, Message,
    address::Envelope,
    message::{
        Mailbox, MultiPart, SinglePart,
        header::{HeaderName, HeaderValue},
    },
};
use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, UNIX_EPOCH},
};

/// How long an unused connection is kept. Servers close them after a few minutes.
const KEPT_FOR: Duration = Duration::from_secs(20);
/// Maximum number of unused connections.
const MAX_KEPT: usize = 8;
/// Number of messages after which a connection is closed, because servers limit it.
const MAX_MESSAGES: u32 = 100;

/// Sends mail from one address by one server.
pub struct Mailer {
    server: MailServer,
    from: Mailbox,
    kept: Mutex<Vec<Link>>,
}

/// A message with a connection of its own.
pub struct Alone {
    link: Link,
    envelope: Envelope,
    bytes: Vec<u8>,
}

impl Alone {
    /// Sends the message. Whoever gives up while this runs cannot know whether the server takes it.
    pub async fn send(&mut self) -> Result<(), Failure> {
        Ok(self.link.send(&self.envelope, &self.bytes, &mut || {}).await?)
    }

    /// Closes the connection.
    pub async fn close(self) {
        self.link.close().await;
    }
}

impl fmt::Debug for Alone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Alone")
    }
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mailer({})", self.server)
    }
}

impl Mailer {
    /// Returns a mailer, or why the sender is not one: `must be …`.
    pub fn new(server: MailServer, from: &str) -> Result<Self, &'static str> {
        let is_plain = !from.chars().any(char::is_control);
        let from = from.parse::<Mailbox>().ok().filter(|_| is_plain);
        let from = from.ok_or("must be an email address, such as Crossfade <crossfade@example.com>")?;
        Ok(Self { server, from, kept: Mutex::default() })
    }

    /// Returns the server.
    pub fn server(&self) -> &MailServer {
        &self.server
    }

    /// Returns the sender, as the settings write it.
    pub fn sender(&self) -> String {
        self.from.to_string()
    }

    /// Sends a message to one recipient. The same message has the same bytes in each attempt. Calls `admitted` as soon as
    /// the server has accepted the user and the sender: what follows concerns this recipient.
    pub async fn send(&self, mail: &Mail<'_>, mut admitted: impl FnMut()) -> Result<(), Failure> {
        let (envelope, bytes) = self.write(mail)?;
        if let Some(mut link) = self.take() {
            match link.send(&envelope, &bytes, &mut admitted).await {
                Ok(()) => return self.keep(link),
                // The server may have closed it since the last message.
                Err(link::Broken::BeforeData) => link.close().await,
                Err(link::Broken::Failed(failure)) => {
                    link.close().await;
                    return Err(failure);
                }
            }
        }
        let mut link = Link::open(&self.server, self.from.email.domain()).await?;
        match link.send(&envelope, &bytes, &mut admitted).await {
            Ok(()) => self.keep(link),
            Err(broken) => {
                link.close().await;
                Err(broken.into())
            }
        }
    }

    /// Connects and signs in for a message on a connection of its own, as a test that an earlier sign-in cannot make succeed.
    /// Nothing is sent before [`Alone::send`].
    pub async fn open_alone(&self, mail: &Mail<'_>) -> Result<Alone, Failure> {
        let (envelope, bytes) = self.write(mail)?;
        let link = Link::open(&self.server, self.from.email.domain()).await?;
        Ok(Alone { link, envelope, bytes })
    }

    /// Connects and signs in, without sending anything.
    pub async fn try_server(&self) -> Result<(), Failure> {
        let link = Link::open(&self.server, self.from.email.domain()).await?;
        link.close().await;
        Ok(())
    }

    /// Closes the unused connections, all at the same time.
    pub async fn close(&self) {
        self.close_within(tokio::time::sleep(link::CLOSES_WITHIN)).await;
    }

    /// Closes the unused connections within one limit for all of them.
    async fn close_within(&self, limit: impl Future<Output = ()>) {
        let kept = std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner));
        tokio::select! {
            _ = join_all(kept.into_iter().map(Link::say_farewell)) => {}
            () = limit => {}
        }
    }

    fn take(&self) -> Option<Link> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|link| link.unused_for() < KEPT_FOR);
        kept.pop()
    }

    fn keep(&self, link: Link) -> Result<(), Failure> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < MAX_KEPT && link.messages() < MAX_MESSAGES {
            kept.push(link);
        }
        Ok(())
    }

    /// Writes a message (RFC 5322) with its envelope.
    fn write(&self, mail: &Mail<'_>) -> Result<(Envelope, Vec<u8>), Failure> {
        let to: Address = mail.to.parse().map_err(|_| {
            Failure::Refused("the address of the recipient is not an email address".to_owned())
        })?;
        let unwritable =
            |error: &dyn fmt::Display| Failure::Refused(format!("cannot write the message: {error}"));
        let (html, text) = mail.letter.render().map_err(|error| unwritable(&error))?;
        let at = UNIX_EPOCH + Duration::from_micros(mail.at.as_micros().unsigned_abs());
        let parts = MultiPart::alternative().boundary(format!("={}=", mail.id)).build();
        let parts = parts.singlepart(SinglePart::plain(text)).singlepart(SinglePart::html(html));
        let message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to.clone()))
            .subject(letter::one_line(&mail.letter.subject, letter::MAX_SUBJECT))
            .date(at)
            .message_id(Some(format!("<{}@{}>", mail.id, self.from.email.domain())))
            .raw_header(HeaderValue::new(
                HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".to_owned(),
            ))
            .multipart(parts)
            .map_err(|error| unwritable(&error))?;
        let envelope = Envelope::new(Some(self.from.email.clone()), vec![to]);
        Ok((envelope.map_err(|error| unwritable(&error))?, message.formatted()))
    }
}
