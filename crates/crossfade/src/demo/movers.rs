//! The live part of the demo: a rotation that has just begun, and programs that move over one after the other.

use super::{callers::Caller, past::Present};
use crate::{failure::Failure, remote::Api};
use crossfade_core::api::{RotateSecret, RotateSecretReply};
use reqwest::{Method, StatusCode};
use std::{future::Future, time::Duration};

/// The watched client.
pub(super) const WATCHED: &str = "Refund desk";

/// Seconds for which each program continues with the old secret. The last one takes noticeably longer.
const MOVES_AFTER: [u64; 6] = [10, 25, 45, 70, 100, 240];
/// Interval at which each program fetches a token.
const EVERY: Duration = Duration::from_secs(3);
/// How long the programs run.
const FOR: Duration = Duration::from_secs(2 * 3600);

/// Rotates the watched client, and returns the work of its programs, to be awaited while the server serves.
pub(super) async fn begin(
    api: &Api,
    url: &str,
    present: &Present,
) -> Result<impl Future<Output = ()> + use<>, Failure> {
    let (client, client_id, old) = present.of(WATCHED)?;
    let body = RotateSecret {
        transition_hours: Some(24.into()),
        confirm_client_name: Some(WATCHED.to_owned()),
        reason: Some("quarterly rotation".to_owned()),
        ..RotateSecret::default()
    };
    let path = format!("/clients/{client}/environments/production/secrets/rotate");
    let reply: RotateSecretReply = api.send(Method::POST, &path, &body).await?;
    let new = reply.secret.value.unwrap_or_default();
    let mut programs = tokio::task::JoinSet::new();
    let mut all = Vec::new();
    for (number, moves_after) in (2..).zip(MOVES_AFTER) {
        let caller = Caller::new("refund-desk/3.2", [127, 0, 1, number], url, "production", client_id)?;
        all.push(work(caller, old.to_owned(), new.clone(), moves_after));
    }
    Ok(async move {
        for program in all {
            programs.spawn(program);
        }
        programs.join_all().await;
    })
}

async fn work(caller: Caller, old: String, new: String, moves_after: u64) {
    for passed in (0..FOR.as_secs()).step_by(EVERY.as_secs() as usize) {
        let secret = if passed < moves_after { &old } else { &new };
        // The reader may end the old secret. Then a program moves immediately, as a person would do.
        let refused =
            caller.token(secret).await.is_ok_and(|answer| answer.status == StatusCode::UNAUTHORIZED);
        if refused && caller.token(&new).await.is_err() {
            return;
        }
        tokio::time::sleep(EVERY).await;
    }
}
