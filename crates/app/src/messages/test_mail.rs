//! A test message, which shows whether mail works. It is sent directly and on a connection of its own, so its result is what
//! the mail server says now. It goes to the person who asks for it, so it is sent while other messages are held, too. A quarantine sends none.

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
    history::quarantine::unless_quarantined,
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

/// How long a person waits for the mail server to take a test message. It may take the message later.
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
        self.note_tested(&tested).await;
        Ok(tested)
    }

    /// Sends a test message to an address, for a local command.
    pub async fn test_mail_here(&self, mailer: &Mailer, recipient: &str) -> Result<MailTested, Error> {
        let begin = async |act: &mut Act<'_>| {
            // A quarantine sends nothing, whoever asks.
            unless_quarantined(act.tx).await?;
            self.begin_test(act, mailer, recipient, RAN).await
        };
        let (tested, letter) = self.change_as(Actor::machine("mail test"), begin).await?;
        let tested = self.send_test(mailer, tested, &letter).await;
        self.note_tested(&tested).await;
        Ok(tested)
    }

    /// Lets messages follow a test that the mail server has accepted. The test has succeeded, whether that can be stored or not.
    async fn note_tested(&self, tested: &MailTested) {
        if tested.accepted == Some(true)
            && let Err(error) = self.retry_mail().await
        {
            tracing::warn!(%error, "cannot let the messages that wait be sent now");
        }
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
        facts.extend(act.by.origin.stored.iter().map(|source| ("IP address", source.clone())));
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
        let (accepted, error) = self.attempt_test(mailer, &mail).await.shown();
        MailTested { accepted, error, ..tested }
    }

    async fn attempt_test(&self, mailer: &Mailer, mail: &Mail<'_>) -> Tested {
        // Each step of opening a connection has a limit and words of its own.
        let opened = tokio::select! {
            opened = mailer.open_alone(mail) => opened,
            () = self.end_of_sending() => return Tested::EndedBefore,
        };
        let mut alone = match opened {
            Ok(alone) => alone,
            Err(failure) => return Tested::Known(Err(failure)),
        };
        let tested = tokio::select! {
            sent = alone.send() => Tested::Known(sent),
            () = tokio::time::sleep(TESTED_WITHIN) => Tested::Late,
            () = self.end_of_sending() => Tested::Ended,
        };
        // A server that does not say goodbye has said what it did with the message.
        if matches!(tested, Tested::Known(_)) {
            alone.close().await;
        }
        tested
    }
}

/// What became of a test message.
#[derive(Debug)]
enum Tested {
    /// What the mail server said.
    Known(Result<(), Failure>),
    /// It did not say anything in time.
    Late,
    /// The process ended before the message was sent.
    EndedBefore,
    /// The process ended while the message was sent.
    Ended,
}

impl Tested {
    /// Returns whether the message was accepted, and what is said otherwise. `None`: nobody knows.
    fn shown(self) -> (Option<bool>, Option<String>) {
        match self {
            Self::Known(Ok(())) => (Some(true), None),
            Self::Known(Err(failure)) => (Some(false), Some(failure.said().to_owned())),
            Self::EndedBefore => {
                (Some(false), Some("Crossfade was stopped before it sent the message".to_owned()))
            }
            Self::Ended => {
                let said =
                    "Crossfade was stopped before the mail server took the message, which may still take it";
                (None, Some(said.to_owned()))
            }
            Self::Late => {
                let limit = TESTED_WITHIN.as_secs();
                let said = format!(
                    "the mail server did not take the message within {limit} seconds, and may still take it"
                );
                (None, Some(said))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_is_cut_off_says_by_what() {
        let said = |tested: Tested| tested.shown();
        assert_eq!(said(Tested::Known(Ok(()))), (Some(true), None));
        let refused = Failure::Server("554 no".to_owned());
        assert_eq!(said(Tested::Known(Err(refused))), (Some(false), Some("554 no".to_owned())));
        let (accepted, late) = said(Tested::Late);
        assert!(
            accepted.is_none() && late.as_ref().is_some_and(|it| it.contains("within 30 seconds")),
            "{late:?}"
        );
        for (tested, known) in [(Tested::Ended, None), (Tested::EndedBefore, Some(false))] {
            let (accepted, ended) = said(tested);
            let ended = ended.unwrap();
            assert!(accepted == known && ended.contains("stopped") && !ended.contains("seconds"), "{ended}");
        }
    }
}
