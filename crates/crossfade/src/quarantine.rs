//! `crossfade quarantine`: what a restored database holds as valid, and its release.

use crate::{
    cli::{ReleaseQuarantine, ShowQuarantine},
    failure::Failure,
    output::{self, fixed, table, text, time},
    serve::open_existing,
};
use crossfade_core::api;

/// Runs `crossfade quarantine show`.
pub(crate) async fn show(args: ShowQuarantine) -> Result<(), Failure> {
    let settings = args.settings.resolve()?;
    let app = open_existing(&settings).await?;
    let found = app.read_quarantine_here().await;
    app.close().await;
    let found = found?;
    if args.json {
        return output::json(&found);
    }
    match (found.cause, found.since, found.data_until) {
        (Some(cause), Some(since), Some(until)) => output::note(&format!(
            "In quarantine since {}: {} The data reaches up to {}. Anything below may have ended later.",
            time(Some(since)),
            cause.sentence(),
            time(Some(until))
        )),
        _ => output::note("The instance is not in quarantine."),
    }
    if !found.is_complete {
        output::note("The lists are not complete. Each shows 1000 items.");
    }
    let secret = |row: &api::HeldSecret| {
        vec![
            row.client.clone(),
            row.client_id.clone(),
            row.environment.clone(),
            row.registration_id.clone(),
            row.secret_id.clone(),
            row.expires_at.map_or("current".to_owned(), |at| format!("retiring until {}", time(Some(at)))),
            time(row.last_used_at),
        ]
    };
    let columns = [
        text("client"),
        fixed("id"),
        fixed("env"),
        fixed("registration"),
        fixed("secret"),
        fixed("state"),
        fixed("last_used_at"),
    ];
    table(&columns, found.secrets.iter().map(secret).collect())?;
    let token = |row: &api::HeldToken| {
        vec![row.user.clone(), row.id.clone(), row.name.clone(), time(row.last_used_at)]
    };
    let columns = [text("user"), fixed("token"), text("name"), fixed("last_used_at")];
    table(&columns, found.tokens.iter().map(token).collect())?;
    let grant = |row: &api::HeldGrant| {
        let scope = row.client_id.clone().or(row.property_id.clone());
        vec![
            row.user.clone(),
            row.user_id.clone(),
            row.id.clone(),
            row.role.clone(),
            scope.unwrap_or("platform".to_owned()),
        ]
    };
    let columns = [text("user"), fixed("user_id"), fixed("grant"), fixed("role"), fixed("scope")];
    table(&columns, found.grants.iter().map(grant).collect())
}

/// Runs `crossfade quarantine release`.
pub(crate) async fn release(args: ReleaseQuarantine) -> Result<(), Failure> {
    let settings = args.settings.resolve()?;
    let app = open_existing(&settings).await?;
    let body = api::ReleaseQuarantine { reason: Some(args.reason), except: args.except };
    let released = app.release_quarantine_here(&body).await;
    app.close().await;
    let released = released?;
    output::note(&format!(
        "Released the quarantine. {} secrets are current and {} retiring. Access tokens issued before are inactive.",
        released.current_secrets, released.retiring_secrets
    ));
    if args.json { output::json(&released) } else { Ok(()) }
}
