//! `crossfade mail`: the mail server, where messages are sent from, a test, and the release after a move.

use crate::{
    cli::{ReleaseMail, ShowMail, TestMail},
    failure::Failure,
    output::{self, time},
    serve::open_existing,
};
use crossfade_core::{
    api::{self, MailEncryption},
    text,
};

/// Runs `crossfade mail show`.
pub(crate) async fn show(args: ShowMail) -> Result<(), Failure> {
    let settings = args.settings.resolve()?;
    let app = open_existing(&settings).await?;
    let found = app.read_mail_here(settings.mailer.as_deref()).await;
    app.close().await;
    let found = found?;
    if args.json {
        return output::json(&found);
    }
    let mut lines = Vec::new();
    match (&found.server, &found.sender) {
        (Some(server), Some(sender)) => {
            lines.extend([format!("Mail server: {}.", named(server)), format!("Sender: {sender}")]);
        }
        _ => lines.push("The settings of this command contain no mail server.".to_owned()),
    }
    lines.push(match &found.sends_from {
        Some(place) => format!("Messages are sent from {place}."),
        None => "No server has been started with mail or webhooks.".to_owned(),
    });
    if let (Some(place), Some(since)) = (&found.held_place, found.held_since) {
        lines.push(format!(
            "Sending has been held since {}, because the database is in another place: {place}. After a move, \
            run crossfade mail release.",
            time(Some(since))
        ));
    }
    let oldest = found.oldest_queued_at.map(|at| format!(", the oldest since {}", time(Some(at))));
    lines.push(format!(
        "Messages that wait, by mail and to webhooks: {}{}.",
        found.queued,
        oldest.unwrap_or_default()
    ));
    if let Some(error) = &found.last_error {
        lines.push(format!("Last failure of a message that waits: {error}."));
    }
    output::data(&lines.iter().map(|line| format!("{line}\n")).collect::<String>())
}

/// Runs `crossfade mail test`.
pub(crate) async fn test(args: TestMail) -> Result<(), Failure> {
    let settings = args.settings.resolve()?;
    let to = text::email("--to", &args.to).map_err(|problem| Failure::usage(problem.detail))?;
    let Some(mailer) = settings.mailer.clone() else {
        return Err(Failure::usage(
            "Mail is not set up. Nothing was sent. Run this command with the CROSSFADE_SMTP_URL and \
            CROSSFADE_MAIL_FROM of the server.",
        ));
    };
    let app = open_existing(&settings).await?;
    let tested = app.test_mail_here(&mailer, &to).await;
    app.close().await;
    let tested = tested?;
    if args.json {
        output::json(&tested)?;
    }
    let server = named(&tested.server);
    if tested.accepted == Some(true) {
        output::note(&format!("Sent a test message to {to}. Accepted by {server}."));
        return Ok(());
    }
    let error = tested.error.unwrap_or_default();
    Err(Failure::failed(format!("The test message to {to} was not accepted by {server}: {error}.")))
}

/// Returns host and port of a mail server, and how it is encrypted.
fn named(server: &api::MailServer) -> String {
    let api::MailServer { host, port, encryption } = server;
    let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    let encryption = match encryption {
        MailEncryption::None => "not encrypted",
        MailEncryption::Starttls => "STARTTLS",
        MailEncryption::Tls => "TLS",
    };
    format!("{host}:{port} ({encryption})")
}

/// Runs `crossfade mail release`.
pub(crate) async fn release(args: ReleaseMail) -> Result<(), Failure> {
    let settings = args.settings.resolve()?;
    let app = open_existing(&settings).await?;
    let released = app.release_mail_here(&api::ReleaseMail { reason: Some(args.reason) }).await;
    app.close().await;
    let released = released?;
    output::note(&format!(
        "Released mail. Messages are sent from {}. Abandoned {} earlier messages.",
        released.sends_from, released.abandoned
    ));
    if args.json { output::json(&released) } else { Ok(()) }
}
