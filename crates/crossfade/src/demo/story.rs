//! The story: a rotation without an outage, and a leaked secret that ends immediately. Each step says what it does,
//! does it over HTTP, checks the response, and prints it.

use super::{
    callers::{Answer, Caller},
    past::Present,
};
use crate::{
    failure::Failure,
    output,
    remote::{Api, form_encode},
};
use crossfade_core::{
    SecretId, Timestamp,
    api::{RevokeSecret, RotateSecret, RotateSecretReply, Rotation, Secret, SecretChanged, Usage},
    rotation::{EndedAs, SecretState},
};
use reqwest::{Method, StatusCode};
use std::time::Duration;

/// Client of the story.
pub(super) const CLIENT: &str = "Billing API";
/// Environment of the rotation.
const ENVIRONMENT: &str = "production";
/// Number of checks for a move, and the pause between two checks.
const LOOKS: u32 = 50;
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A secret as its callers have it.
struct Held {
    id: SecretId,
    value: String,
}

/// Setting of the story.
struct Scene<'a> {
    api: &'a Api,
    /// Path of the registration in the API.
    path: String,
    worker: Caller,
    cron: Caller,
    /// Pause for the reader after each step.
    pace: Duration,
}

/// Runs the story. Fails at the first unexpected response.
pub(super) async fn change_over(
    api: &Api,
    url: &str,
    present: &Present,
    pace: Duration,
) -> Result<(), Failure> {
    let (client, client_id, value) = present.of(CLIENT)?;
    let caller = |name, address| Caller::new(name, address, url, ENVIRONMENT, client_id);
    let scene = Scene {
        api,
        path: format!("/clients/{client}/environments/{ENVIRONMENT}"),
        worker: caller("billing-worker/1.4", [127, 0, 0, 2])?,
        cron: caller("invoice-cron/2.0", [127, 0, 0, 3])?,
        pace,
    };
    let earlier = scene.rotations().await?.len();
    let old = Held { id: scene.current().await?, value: value.to_owned() };

    scene.step(&format!("Two programs authenticate as {CLIENT} in {ENVIRONMENT}")).await?;
    scene.accepted(&scene.worker, &old).await?;
    scene.accepted(&scene.cron, &old).await?;

    scene.step("The secret is rotated, and the old one stays valid for 24 hours").await?;
    let rotated = scene.rotate(24, "quarterly", false).await?;
    let new = held(rotated.secret.id, rotated.secret.value)?;
    expect(rotated.previous_secret.id == old.id, "the rotation replaces the secret that was current")?;
    expect(rotated.previous_secret.state == SecretState::Retiring, "the old secret is retiring")?;
    line(&format!("new   {}  {}", new.id, rotated.secret.state.as_str()))?;
    line(&format!(
        "old   {}  {}, expires at {}",
        old.id,
        rotated.previous_secret.state.as_str(),
        rotated.previous_secret.expires_at
    ))?;

    scene.step("One program moves to the new secret, and both keep working").await?;
    scene.accepted(&scene.worker, &new).await?;
    scene.accepted(&scene.cron, &old).await?;

    scene.step("Who still uses the old secret?").await?;
    let left = scene.left(rotated.rotation.rotated_at).await?;
    let names: Vec<_> = left.iter().filter_map(|it| it.user_agent.as_deref()).collect();
    expect(names == [scene.cron.name], "one program is left on the old secret")?;

    scene.step("The last program moves as well").await?;
    scene.accepted(&scene.cron, &new).await?;
    scene.accepted(&scene.worker, &new).await?;
    let moved_at = scene.moved_at(&scene.cron, &new.id).await?;
    let left = scene.left(moved_at).await?;
    expect(left.is_empty(), "no caller uses the old secret any more")?;

    scene.step("The old secret is revoked and refused from now on").await?;
    let body = RevokeSecret { reason: Some("every caller has moved".to_owned()), ..RevokeSecret::default() };
    let path = format!("{}/secrets/{}/revoke", scene.path, old.id);
    let changed: SecretChanged = api.send(Method::POST, &path, &body).await?;
    expect(changed.secret.state == SecretState::Revoked, "the old secret is revoked")?;
    let revoked_at = changed.secret.revoked_at.map(|at| format!(" at {at}")).unwrap_or_default();
    line(&format!("old   {}  {}{revoked_at}", changed.secret.id, changed.secret.state.as_str()))?;
    scene.refused(&scene.cron, &old).await?;
    scene.accepted(&scene.cron, &new).await?;

    scene.step("The history shows who rotated the secret, when, and how the old one ended").await?;
    let history = scene.history().await?;
    expect(
        history.first().is_some_and(|it| it.ended_as == EndedAs::Revoked),
        "the history shows the revocation",
    )?;

    scene.step("The secret leaks: a rotation with 0 hours ends it immediately, with its tokens").await?;
    let leaked = scene.accepted(&scene.worker, &new).await?;
    let rotated = scene.rotate(0, "found in a public repository", true).await?;
    let fresh = held(rotated.secret.id, rotated.secret.value)?;
    expect(!rotated.previous_secret.state.is_valid(), "the leaked secret has ended when the call returns")?;
    line(&format!("new   {}  {}", fresh.id, rotated.secret.state.as_str()))?;
    line(&format!("old   {}  {}", new.id, rotated.previous_secret.state.as_str()))?;
    scene.refused(&scene.worker, &new).await?;
    scene.accepted(&scene.worker, &fresh).await?;
    let introspected = scene.worker.introspect(&fresh.value, &leaked).await?;
    line(&format!("introspection of a token obtained with the leaked secret: {}", introspected.body))?;
    expect(introspected.body["active"] == false, "a token of the leaked secret is not active any more")?;
    if let Some(until) = rotated.tokens_valid_offline_until {
        line(&format!("resource servers that validate tokens offline may accept this token until {until}"))?;
    }
    let history = scene.history().await?;
    expect(
        history.len() == earlier + 2 && history.iter().any(|it| it.compromised),
        "the history has both rotations",
    )
}

impl Scene<'_> {
    async fn step(&self, title: &str) -> Result<(), Failure> {
        tokio::time::sleep(self.pace).await;
        output::data(&format!("\n{title}\n"))
    }

    /// Returns the requests a token with this secret, which must succeed. Introspection shows which secret it was
    /// obtained with.
    async fn accepted(&self, caller: &Caller, secret: &Held) -> Result<String, Failure> {
        let answer = caller.token(&secret.value).await?;
        let token = answer.text("access_token").to_owned();
        expect(
            answer.status == StatusCode::OK && !token.is_empty(),
            &format!("{} gets a token", caller.name),
        )?;
        let claims = caller.introspect(&secret.value, &token).await?;
        let used = claims.text("crossfade_secret");
        expect(used == secret.id.as_str(), "the token names the secret that it was obtained with")?;
        line(&format!("{:<20} {}  token obtained with {used}", caller.name, answer.status.as_u16()))?;
        Ok(token)
    }

    async fn refused(&self, caller: &Caller, secret: &Held) -> Result<(), Failure> {
        let Answer { status, body } = caller.token(&secret.value).await?;
        line(&format!("{:<20} {}  {body}", caller.name, status.as_u16()))?;
        expect(
            status == StatusCode::UNAUTHORIZED && body["error"] == "invalid_client",
            "an ended secret is refused",
        )
    }

    async fn rotate(&self, hours: u8, reason: &str, leaked: bool) -> Result<RotateSecretReply, Failure> {
        let body = RotateSecret {
            transition_hours: Some(hours.into()),
            confirm_client_name: Some(CLIENT.to_owned()),
            reason: Some(reason.to_owned()),
            compromised: leaked,
            revoke_tokens: leaked,
            ..RotateSecret::default()
        };
        self.api.send(Method::POST, &format!("{}/secrets/rotate", self.path), &body).await
    }

    /// Returns the current secret.
    async fn current(&self) -> Result<SecretId, Failure> {
        let secrets: Vec<Secret> = self.api.list(&format!("{}/secrets", self.path), usize::MAX).await?;
        let current = secrets.into_iter().find(|it| it.state == SecretState::Current);
        current.map(|it| it.id).ok_or_else(|| wrong("a secret is current"))
    }

    async fn usage(&self, since: Timestamp) -> Result<Vec<Usage>, Failure> {
        let since = form_encode("since", &since.to_string());
        self.api.list(&format!("{}/usage?{since}", self.path), usize::MAX).await
    }

    /// Returns the callers that have used the retiring secret since then.
    async fn left(&self, since: Timestamp) -> Result<Vec<Usage>, Failure> {
        let mut left = self.usage(since).await?;
        left.retain(|it| it.state == SecretState::Retiring);
        for it in &left {
            let agent = it.user_agent.as_deref().unwrap_or("-");
            let from = it.source_ip.as_deref().unwrap_or("-");
            line(&format!("{agent:<20} from {from}, last at {}", it.last_used_at))?;
        }
        if left.is_empty() {
            line(&format!("no caller since {since}"))?;
        }
        Ok(left)
    }

    /// Returns a caller's first use of this secret. The response can be 1 second old, so it is requested again until it
    /// contains the move.
    async fn moved_at(&self, caller: &Caller, secret: &SecretId) -> Result<Timestamp, Failure> {
        let secrets: Vec<Secret> = self.api.list(&format!("{}/secrets", self.path), usize::MAX).await?;
        let created = secrets.iter().find(|it| it.id == *secret).map(|it| it.created_at);
        let created = created.ok_or_else(|| wrong("the new secret is listed"))?;
        let own = |it: &&Usage| it.secret_id == *secret && it.user_agent.as_deref() == Some(caller.name);
        for _ in 0..LOOKS {
            if let Some(it) = self.usage(created).await?.iter().find(own) {
                return Ok(it.first_used_at);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Err(wrong("the move is on record"))
    }

    async fn rotations(&self) -> Result<Vec<Rotation>, Failure> {
        self.api.list(&format!("{}/rotations", self.path), usize::MAX).await
    }

    async fn history(&self) -> Result<Vec<Rotation>, Failure> {
        let rotations = self.rotations().await?;
        for it in rotations.iter().take(2) {
            line(&format!(
                "{}  by {}, {} h, \"{}\": {}",
                it.rotated_at,
                it.initiated_by.name(),
                it.transition_hours,
                it.reason,
                it.ended_as.as_str().replace('_', " ")
            ))?;
        }
        Ok(rotations)
    }
}

fn held(id: SecretId, value: Option<String>) -> Result<Held, Failure> {
    value.map(|value| Held { id, value }).ok_or_else(|| wrong("the value of a new secret is handed over"))
}

fn wrong(what: &str) -> Failure {
    Failure::failed(format!("The demo failed. Expected: {what}."))
}

fn expect(holds: bool, what: &str) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(wrong(what)) }
}

fn line(text: &str) -> Result<(), Failure> {
    output::data(&format!("  {text}\n"))
}
