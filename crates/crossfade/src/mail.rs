//! `crossfade mail`: where messages are sent from, and the release after a move.

use crate::{
    cli::{ReleaseMail, ShowMail},
    failure::Failure,
    output::{self, time},
    serve::open_existing,
};
use crossfade_core::api;

/// Runs `crossfade mail show`.
pub(crate) async fn show(args: ShowMail) -> Result<(), Failure> {
    let settings = args.settings.resolve()?;
    let app = open_existing(&settings).await?;
    let found = app.read_mail_here().await;
    app.close().await;
    let found = found?;
    if args.json {
        return output::json(&found);
    }
    match &found.sends_from {
        Some(place) => output::note(&format!("Messages are sent from {place}.")),
        None => output::note("No server has been started with mail or webhooks."),
    }
    if let (Some(place), Some(since)) = (&found.held_place, found.held_since) {
        output::note(&format!(
            "Sending has been held since {}, because the database is in another place: {place}. After a move, \
            run crossfade mail release.",
            time(Some(since))
        ));
    }
    output::note(&format!("Messages that wait: {}.", found.queued));
    Ok(())
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
