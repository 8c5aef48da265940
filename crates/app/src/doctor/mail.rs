//! Check of mail: whether it is set up, whether the server takes it, and whether messages wait.

use super::{Check, count, shown};
use crate::messages::sending::SENT_WITHIN;
use crossfade_core::{Timestamp, messages::Channel};
use crossfade_outbound::{Failure, Mailer};
use crossfade_store::{SendingPlaceRow, StoreError, Tx};
use std::time::Duration;

const NAME: &str = "mail";
/// How far back lost messages are searched.
const LOOKED_BACK: Duration = Duration::from_secs(7 * 86_400);
const MEND: &str = "Check CROSSFADE_SMTP_URL, the password, CROSSFADE_MAIL_FROM and the log of the mail server. Messages \
    are tried for 3 days.";

/// Returns what to do about a failure of the mail server.
fn mend_of(said: &str) -> String {
    let hint = if said.contains("UnknownIssuer") {
        "If your own certificate authority signed the certificate of the mail server, set CROSSFADE_OUTBOUND_CA_FILE to its \
         certificate. "
    } else {
        ""
    };
    format!("{hint}{MEND}")
}

/// A mail server, and what it said when it was tried.
pub(super) struct Tried<'a> {
    mailer: &'a Mailer,
    said: Result<(), Failure>,
}

impl<'a> Tried<'a> {
    /// Connects to the mail server. It may take a minute, so it is no part of a transaction.
    pub(super) async fn new(mailer: &'a Mailer) -> Self {
        Self { mailer, said: mailer.try_server().await }
    }
}

/// Looks for messages that wait or were not sent, after the mail server was tried.
pub(super) async fn mail(
    tx: &mut Tx,
    tried: Option<&Tried<'_>>,
    now: Timestamp,
) -> Result<Check, StoreError> {
    if let Some(SendingPlaceRow { place, held: Some((held, since)) }) = tx.sending_place().await? {
        let sentence = format!(
            "No mail and no webhook messages have been sent since {}, because the database is in another place ({held}) than before ({place}).",
            shown(since)
        );
        let mend = "If this is a copy, leave it so. After a move, run crossfade mail release --reason moved.";
        return Ok(Check::warn(NAME, sentence, mend));
    }
    let Some(Tried { mailer, said }) = tried else {
        let sentence = "Mail is not set up, so owners are not notified of rotations and deadlines.";
        return Ok(Check::ok(NAME, sentence));
    };
    let (queue, lost) = (
        tx.delivery_queue(Channel::Mail).await?,
        tx.lost_deliveries(Channel::Mail, now.before(LOOKED_BACK)).await?,
    );
    if let Err(failure) = said {
        let sentence = format!("Mail cannot be sent by {}: {}.", mailer.server(), failure.said());
        return Ok(Check::warn(NAME, sentence, mend_of(failure.said())));
    }
    if let Some(oldest) = queue.oldest.filter(|oldest| *oldest < now.before(SENT_WITHIN)) {
        let waiting = count(queue.queued.unsigned_abs(), "message");
        let why = queue.last_error.map(|said| format!(" The last failure: {said}.")).unwrap_or_default();
        let sentence = format!("{waiting} in the queue, the oldest since {}.{why}", shown(oldest));
        return Ok(Check::warn(NAME, sentence, MEND));
    }
    if lost > 0 {
        let lost = count(lost.unsigned_abs(), "message");
        let sentence = format!("{lost} of the last 7 days could not be delivered.");
        let mend = "Search the log for \"a message was refused\", which names the client or the account and what the mail server said. Correct the owners of the client, or the address of the account.";
        return Ok(Check::warn(NAME, sentence, mend));
    }
    Ok(Check::ok(NAME, format!("{} takes mail, and no message is late.", mailer.server())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_of_trust_names_the_setting() {
        let unknown = "the mail server cannot be reached: invalid peer certificate: UnknownIssuer";
        assert!(mend_of(unknown).contains("set CROSSFADE_OUTBOUND_CA_FILE"));
        assert_eq!(mend_of("the mail server refuses the user or password: 535"), MEND);
    }
}
