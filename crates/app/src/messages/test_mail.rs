//! A test message, which shows whether mail works. It is sent directly and on a connection of its own, so its result is what
//! the mail server says now. It goes to the person who asks for it, so it is sent while other messages are held, too.

use crate::{
    app::App,
    error::Error,
    frame::{
        act::{Act, message_id},
        entry::About,
        idempotency::Repeatable,
        principal::Principal,
        request::{NoInput, Request},
        targets::Platform,
    },
};
use crossfade_core::{
    Code, Operation, Problem, TimeZone,
    api::MailTested,
    audit::{Actor, Event},
};
use crossfade_outbound::{Failure, Letter, Mail, Mailer};
use std::time::Duration;
use tokio::time::Instant;

impl Repeatable for MailTested {}

/// Limit of a test, which a person waits for. The mail server may take the message later.
const TESTED_WITHIN: Duration = Duration::from_secs(30);

const ASKED: &str = "You receive this message because you asked for it.";
const RAN: &str = "You receive this message because someone ran crossfade mail test on the server machine with your address.";

impl App {
    /// Sends a test message to the person who asks for it. The change is stored before the message leaves.
    pub async fn test_mail(&self, request: &Request<'_>, input: NoInput<'_>) -> Result<MailTested, Error> {
        let mut begun = None;
        let tested = self.change(Operation::TestMail, request, Platform, async |act, principal, ()| {
            act.matches_list()?;
            input.check()?;
            let Some(mailer) = &self.sending.mailer else {
                let text = "Mail is not set up. Nothing was sent. Set CROSSFADE_SMTP_URL and CROSSFADE_MAIL_FROM, and \
                    restart the server.";
                return Err(Problem::new(Code::MailNotSetUp, text).into());
            };
            let user = act.tx.user(&principal.user).await?.ok_or_else(Problem::not_found)?;
            let Some(recipient) = user.email else {
                let text = "A program has no email address, so no test message can be sent to it. Nothing was sent. Sign in to \
                    the Console as a person, or run crossfade mail test on the server machine.";
                return Err(Problem::new(Code::NotAPerson, text).into());
            };
            self.admit_mail_test(principal)?;
            let (tested, letter) = self.begin_test(act, mailer, &recipient, ASKED).await?;
            begun = Some((mailer, letter));
            Ok(tested)
        });
        let tested = tested.await?;
        // A repeated request has begun nothing.
        let Some((mailer, letter)) = begun else { return Ok(tested) };
        let generation = self.sending.generation();
        let tested = self.send_test(mailer, tested, &letter).await;
        if tested.accepted == Some(true) {
            self.sending.note_works(self.clock.elapsed(), generation);
        }
        Ok(tested)
    }

    /// Sends a test message to an address, for a local command.
    pub async fn test_mail_here(&self, mailer: &Mailer, recipient: &str) -> Result<MailTested, Error> {
        let begin = async |act: &mut Act<'_>| self.begin_test(act, mailer, recipient, RAN).await;
        let (tested, letter) = self.change_as(Actor::machine("mail test"), begin).await?;
        Ok(self.send_test(mailer, tested, &letter).await)
    }

    /// Refuses more tests than a person can read, because each signs in to the mail server.
    fn admit_mail_test(&self, principal: &Principal) -> Result<(), Problem> {
        if self.mail_tests.admit(principal.user(), Instant::now()) {
            return Ok(());
        }
        let text =
            "Your account has sent several test messages lately. Nothing was sent. Try again in 20 seconds.";
        Err(Problem::new(Code::TooManyRequests, text).retry_after(20))
    }

    /// Records a test, and writes its message.
    async fn begin_test(
        &self,
        act: &mut Act<'_>,
        mailer: &Mailer,
        recipient: &str,
        because: &str,
    ) -> Result<(MailTested, Letter), Error> {
        act.audit(&Event::MailTested { recipient: recipient.to_owned() }, About::default()).await?;
        let zones = act.tx.time_zones_at(&[recipient]).await?;
        let zone = zones.get(recipient).map_or(TimeZone::UTC, |name| TimeZone::from_stored(name));
        let mut facts =
            vec![("Instance", self.public_url.clone()), ("Done by", act.by.actor.name().to_owned())];
        facts.extend(act.by.origin.stored.iter().map(|source| ("From", source.clone())));
        facts.push(("Time", zone.at(act.now)));
        let letter = Letter {
            subject: "Test message from Crossfade".to_owned(),
            heading: "This is a test message".to_owned(),
            is_urgent: false,
            facts,
            groups: Vec::new(),
            next: "Nothing needs to be done. Messages about clients look like this one.".to_owned(),
            button: "Open the Console",
            url: format!("{}/console", self.admin_url),
            times: zone.sentence(),
            because: because.to_owned(),
            has_link: false,
        };
        let tested = MailTested {
            tested_at: act.now,
            recipient: recipient.to_owned(),
            server: mailer.server().shown(),
            accepted: None,
            error: None,
        };
        Ok((tested, letter))
    }

    /// Sends a test message, and returns what became of it. Ends early if the process ends.
    async fn send_test(&self, mailer: &Mailer, tested: MailTested, letter: &Letter) -> MailTested {
        let id = message_id(self.random.as_ref());
        let mail = Mail { id: &id, to: &tested.recipient, at: tested.tested_at, letter };
        let sent = tokio::select! {
            sent = mailer.send_alone(&mail) => Some(sent),
            _ = self.pause_sending(TESTED_WITHIN) => None,
        };
        let (accepted, error) = result_of(sent);
        MailTested { accepted, error, ..tested }
    }
}

/// Returns whether a test message was accepted, and what the mail server said otherwise. `None` is a test that was cut off.
fn result_of(sent: Option<Result<(), Failure>>) -> (Option<bool>, Option<String>) {
    match sent {
        Some(Ok(())) => (Some(true), None),
        Some(Err(failure)) => (Some(false), Some(failure.said().to_owned())),
        None => {
            let limit = TESTED_WITHIN.as_secs();
            (
                None,
                Some(format!(
                    "the mail server did not take the message within {limit} seconds, and may still take it"
                )),
            )
        }
    }
}
