//! The commands under `crossfade secret`.

use super::{
    change_over::{change_over, read_now, series, watch},
    confirm::{confirm_name, confirmed},
    http::{Api, segment},
    leaks::identify,
};
use crate::{
    cli::{End, Place, Revoke, Rotate, Secret as Command},
    failure::Failure,
    output::{self, SECRET, Sink, fixed, text, time},
};
use crossfade_authority::Clock;
use crossfade_core::{
    Code, SecretId,
    api::{
        ChangeOver, Enforced, ExtendSecret, KnownBy, NotRotated, RevealReply, RevealSecret, RevokeSecret,
        RollBackRotation, RotateSecret, RotateSecretAnswer, Rotation, Secret, SecretChanged, Seen,
        TransitionSeen, Usage,
    },
    change_over::Verdict,
    rotation::{EndedAs, SecretState},
    secret::SecretOrigin,
};
use reqwest::Method;

/// Runs the command.
pub(crate) async fn secret(command: Command) -> Result<(), Failure> {
    match command {
        Command::List { place, remote } => {
            let site = Site::find(Api::new(&remote)?, &place).await?;
            shown_secrets(&site.secrets().await?, remote.json)
        }
        Command::History { place, remote } => {
            let site = Site::find(Api::new(&remote)?, &place).await?;
            let rotations: Vec<Rotation> =
                site.api.list(&format!("{}/rotations", site.path), usize::MAX).await?;
            shown_rotations(rotations, remote.json)
        }
        Command::Usage { place, remote } => {
            let site = Site::find(Api::new(&remote)?, &place).await?;
            let usage: Vec<Usage> = site.api.list(&format!("{}/usage", site.path), usize::MAX).await?;
            shown_usage(usage, remote.json)
        }
        Command::Series(args) => series(args).await,
        Command::ChangeOver { place, remote } => change_over(&place, &remote).await,
        Command::Watch(args) => watch(args).await,
        Command::Rotate(args) => rotate(args).await,
        Command::Reveal { place, secret, reason, value, remote } => {
            let site = Site::find(Api::new(&remote)?, &place).await?;
            let id = site.named_or(secret, SecretState::Current).await?;
            let path = format!("{}/secrets/{id}/reveal", site.path);
            let body = RevealSecret { reason };
            let request = site.api.send::<RevealReply>(Method::POST, &path, &body);
            let (sink, reply) = Sink::around(value.output.as_deref(), request).await?;
            match reply.value {
                Some(text) if sink.shows() && remote.json => {
                    output::json_value(&serde_json::json!({"id": id, "value": text}), &SECRET)
                }
                Some(text) => {
                    sink.put(&text, &SECRET)?;
                    if remote.json { output::json(&serde_json::json!({"id": id})) } else { Ok(()) }
                }
                None => {
                    sink.discard();
                    Err(Failure::failed(
                        "The value was already delivered for this request and is not shown again.",
                    ))
                }
            }
        }
        Command::Identify { exit_code, remote } => identify(&remote, exit_code).await,
        Command::Revoke(args) => revoke(args).await,
        Command::Extend { place, secret, until, reason, remote } => {
            let site = Site::find(Api::new(&remote)?, &place).await?;
            let id = site.named_or(secret, SecretState::Retiring).await?;
            let expires_at = until.resolve(Clock::system().now()).to_string();
            let body = ExtendSecret { expires_at, reason: Some(reason) };
            let changed: SecretChanged =
                site.api.send(Method::POST, &format!("{}/secrets/{id}/extend", site.path), &body).await?;
            let done = format!(
                "Extended the deadline of the old secret {} to {}.",
                changed.secret.id,
                time(changed.secret.expires_at)
            );
            shown_change(changed, &done, remote.json)
        }
        Command::Seen { place, remote } => {
            let site = Site::find(Api::new(&remote)?, &place).await?;
            let latest: Vec<Rotation> = site.api.list(&format!("{}/rotations", site.path), 1).await?;
            let rotation = latest.first().ok_or_else(|| Failure::not_found("There is no transition."))?;
            let path = format!("{}/rotations/{}/seen", site.path, rotation.id);
            let seen: TransitionSeen = site.api.send(Method::POST, &path, &serde_json::json!({})).await?;
            if remote.json {
                return output::json(&seen);
            }
            if !seen.seen_by_owner {
                output::note(
                    "No owner of the client has marked the transition. Its managers are still warned at 4 hours and \
                    at 1 hour before the deadline.",
                );
            }
            let row = |it: &Seen| vec![it.name.clone(), time(Some(it.seen_at))];
            output::table(&[text("seen by"), fixed("at")], seen.seen.iter().map(row).collect())
        }
        Command::Rollback { place, acknowledge_in_use, end, remote } => {
            let site = Site::find(Api::new(&remote)?, &place).await?;
            let latest: Vec<Rotation> = site.api.list(&format!("{}/rotations", site.path), 1).await?;
            let rotation =
                latest.first().ok_or_else(|| Failure::not_found("There is no rotation to roll back."))?;
            let End { reason, compromised, revoke_tokens } = end;
            let body =
                RollBackRotation { reason: Some(reason), acknowledge_in_use, compromised, revoke_tokens };
            let path = format!("{}/rotations/{}/rollback", site.path, rotation.id);
            let changed: SecretChanged = site.api.send(Method::POST, &path, &body).await?;
            let done =
                format!("Rolled back the rotation. Secret {} is current again.", rotation.outgoing_secret.id);
            shown_change(changed, &done, remote.json)
        }
    }
}

/// A client in an environment on a server.
pub(super) struct Site {
    pub(super) api: Api,
    name: String,
    environment: String,
    pub(super) path: String,
}

impl Site {
    pub(super) async fn find(api: Api, place: &Place) -> Result<Self, Failure> {
        let client = api.find_client(&place.client).await?;
        let there: Vec<_> = client.registrations.iter().map(|it| it.environment.as_str()).collect();
        if !there.contains(&place.env.as_str()) {
            let has = match there.is_empty() {
                true => String::new(),
                false => format!("; it is registered in {}", there.join(", ")),
            };
            let text =
                format!("{} has no registration in {} that you can read{has}.", client.name, place.env);
            return Err(Failure::not_found(text));
        }
        let path = format!("/clients/{}/environments/{}", client.id, segment(&place.env));
        Ok(Self { api, name: client.name, environment: place.env.clone(), path })
    }

    /// Returns the client's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Reports on stderr the change-over of the old secret that is refused or ended now. Reports nothing if it cannot
    /// be read.
    pub(super) async fn tell_who_is_left(&self) {
        if let Ok(now) = read_now(self).await
            && !matches!(now.verdict, Verdict::SafeToEnd | Verdict::Ended)
        {
            output::warning(&now.summary);
        }
    }

    /// Returns why it is not known to be safe to end the old secret; `None` if it is safe, or if there is none to end.
    async fn why_not_safe(&self) -> Option<String> {
        match read_now(self).await {
            Ok(now) if matches!(now.verdict, Verdict::SafeToEnd | Verdict::Ended) => None,
            Ok(now) => Some(now.summary),
            // Never rotated: the server says so.
            Err(failure) if failure.is_conflict() => None,
            Err(_) => Some("Cannot read whether it is safe to end the old secret.".to_owned()),
        }
    }

    /// Returns the retiring secret, if there is one.
    pub(super) async fn retiring(&self) -> Result<Option<SecretId>, Failure> {
        self.in_state(SecretState::Retiring).await
    }

    /// Returns the secret that the latest rotation has ended. Fails if there is none, or if the rotation was rolled back.
    async fn ended_by_rotation(&self) -> Result<SecretId, Failure> {
        let latest: Vec<Rotation> = self.api.list(&format!("{}/rotations", self.path), 1).await?;
        let why = match latest.into_iter().next() {
            Some(latest) if latest.ended_as != EndedAs::RolledBack => return Ok(latest.outgoing_secret.id),
            Some(_) => "The rotation was rolled back. The old secret is current again.",
            None => "The secret has never been rotated.",
        };
        let sentence = format!("{} has no retiring secret. {why} Nothing was changed.", self.name);
        Err(Failure::conflict(sentence).with_code(Code::NotRetiring))
    }

    async fn secrets(&self) -> Result<Vec<Secret>, Failure> {
        self.api.list(&format!("{}/secrets", self.path), usize::MAX).await
    }

    async fn in_state(&self, state: SecretState) -> Result<Option<SecretId>, Failure> {
        Ok(self.secrets().await?.into_iter().find(|secret| secret.state == state).map(|secret| secret.id))
    }

    /// Returns the secret named by the command, or the one in this state.
    async fn named_or(&self, named: Option<String>, state: SecretState) -> Result<String, Failure> {
        match named {
            Some(id) => Ok(segment(&id)),
            None => self.in_state(state).await?.map(|id| id.to_string()).ok_or_else(|| {
                let text = format!("{} has no {} secret in {}.", self.name, state.as_str(), self.environment);
                let failure = Failure::conflict(text);
                if state == SecretState::Retiring { failure.with_code(Code::NotRetiring) } else { failure }
            }),
        }
    }
}

async fn rotate(args: Rotate) -> Result<(), Failure> {
    let site = Site::find(Api::new(&args.remote)?, &args.place).await?;
    let what = format!("rotates the secret of {} in {}", site.name, args.place.env);
    if args.end_running_transition {
        site.tell_who_is_left().await;
    }
    let confirm = confirmed(args.confirm, &what)?;
    let body = RotateSecret {
        transition_hours: Some(args.transition.hours().into()),
        confirm_client_name: Some(confirm),
        reason: args.reason,
        // The secret that this command expects to replace, so that of two simultaneous rotations only one succeeds. A
        // command that is repeated with the same key finds another one, and must send the same request.
        expected_current_secret_id: match &args.idempotency_key {
            None => site.in_state(SecretState::Current).await?,
            Some(_) => None,
        },
        end_running_transition: args.end_running_transition,
        compromised: args.compromised,
        revoke_tokens: args.revoke_tokens,
        require_value: !args.value.no_value,
        if_older_than_seconds: args.if_older_than.map(|age| age.as_secs()),
    };
    let path = format!("{}/secrets/rotate", site.path);
    let request = async {
        match &args.idempotency_key {
            None => site.api.send::<RotateSecretAnswer>(Method::POST, &path, &body).await,
            Some(key) => {
                given_again(&site, site.api.send_with_key(Method::POST, &path, &body, key).await?).await
            }
        }
    };
    let (sink, answer) = match args.if_older_than {
        None => Sink::for_new(&args.value, request).await?,
        Some(_) => Sink::for_next(&args.value, request).await?,
    };
    let mut reply = match answer {
        RotateSecretAnswer::Rotated(reply) => *reply,
        RotateSecretAnswer::NotRotated(reply) => {
            sink.discard();
            return not_rotated(&site, &reply, args.exit_code, args.remote.json).await;
        }
    };
    let previous = &reply.previous_secret;
    match previous.state {
        SecretState::Retiring => {
            output::note(&format!("The old secret {} expires at {}.", previous.id, previous.expires_at))
        }
        state => output::note(&format!(
            "The old secret {} is {} and refused from now on.",
            previous.id,
            state.as_str()
        )),
    }
    if let Some(superseded) = &reply.superseded_secret_id {
        output::note(&format!(
            "The secret {superseded} before it has ended and is refused from now on, too."
        ));
    }
    if let Some(until) = reply.tokens_valid_offline_until {
        output::note(&format!(
            "Resource servers that validate tokens offline may accept old tokens until {until}."
        ));
    }
    note_enforced(reply.enforced.as_ref());
    if args.remote.json {
        if sink.shows() {
            return output::json_value(&reply, &SECRET);
        }
        keep(sink, reply.secret.value.take(), &reply.secret.id)?;
        return output::json(&reply);
    }
    keep(sink, reply.secret.value.take(), &reply.secret.id)
}

/// Returns the response to a rotation that can be a repeated one. Fails if its secret has been replaced or rolled back
/// since, so that no job delivers a secret that is refused.
async fn given_again(site: &Site, answer: RotateSecretAnswer) -> Result<RotateSecretAnswer, Failure> {
    let RotateSecretAnswer::Rotated(reply) = &answer else { return Ok(answer) };
    // If the server does not answer, the value is kept: it may be the only copy.
    match site.in_state(SecretState::Current).await {
        Ok(Some(current)) if current != reply.secret.id => Err(Failure::conflict(format!(
            "This --idempotency-key belongs to a rotation whose secret {} is no longer current, so its value is not \
             given. Use a new key.",
            reply.secret.id
        ))),
        _ => Ok(answer),
    }
}

/// Reports that the current secret is younger than required.
async fn not_rotated(
    site: &Site,
    reply: &NotRotated,
    has_exit_code: bool,
    json: bool,
) -> Result<(), Failure> {
    let (id, at) = (&reply.secret.id, reply.old_enough_at);
    let sentence = format!(
        "The current secret {id} is younger than --if-older-than. Nothing was changed. It is old enough at {at}."
    );
    if json {
        output::json(reply)?;
    }
    if has_exit_code {
        return Err(match read_now(site).await.map(|now| why_undelivered(&now)) {
            Ok(Some(unused)) => Failure::unused(unused),
            Err(failure) if !failure.has_code(Code::NotRetiring) => failure,
            // Used, or never rotated.
            _ => Failure::not_due(sentence),
        });
    }
    output::note(&sentence);
    Ok(())
}

/// Returns a sentence if the new secret of a rotation may not have been delivered: no caller has used it while the old
/// secret is valid, or since callers are refused because the old secret has ended.
fn why_undelivered(now: &ChangeOver) -> Option<String> {
    let new = &now.new_secret;
    if new.state != SecretState::Current || new.last_used_at.is_some() {
        return None;
    }
    let deliver = "If it was not delivered, deliver it: crossfade secret reveal shows it to an account that can reveal \
                   secrets.";
    match now.verdict {
        Verdict::NotStarted => Some(format!(
            "No caller has used the current secret {} since the rotation at {}. The old secret expires at {}. Nothing \
             was changed. {deliver} Or roll the rotation back with crossfade secret rollback or in the Console. To \
             rotate again, --end-running-transition is needed, which ends the old secret immediately: look at \
             crossfade secret change-over first.",
            new.id, now.rotated_at, now.ends_at
        )),
        Verdict::Ended if !now.refused_since_end.is_empty() => Some(format!(
            "No caller has used the current secret {} since the rotation at {}, and callers are refused since the old \
             secret ended at {}. Nothing was changed. {deliver}",
            new.id, now.rotated_at, now.ends_at
        )),
        _ => None,
    }
}

fn keep(sink: Sink, value: Option<String>, new: &SecretId) -> Result<(), Failure> {
    match (sink, value) {
        (Sink::Closed, _) => {
            output::note(&format!("The new secret is {new}. Its value was not received."));
            Ok(())
        }
        (sink, Some(value)) => sink.put(&value, &SECRET),
        (sink, None) => {
            sink.discard();
            Err(SECRET.not_given())
        }
    }
}

/// Ends the retiring secret. While that is not safe, a person must confirm it; without a confirmation the server
/// refuses unless it is safe. With a condition, it is no error if the old secret of the latest rotation has ended, so
/// that a job can be run again.
async fn revoke(args: Revoke) -> Result<(), Failure> {
    let Revoke { place, secret, only_if, confirm, end, remote } = args;
    let site = Site::find(Api::new(&remote)?, &place).await?;
    let (id, has_ended) = match (only_if.is_some() && secret.is_none(), site.retiring().await?) {
        (true, None) => (site.ended_by_rotation().await?.to_string(), true),
        _ => (site.named_or(secret, SecretState::Retiring).await?, false),
    };
    let End { reason, compromised, revoke_tokens } = end;
    let only_if_safe = match (only_if, confirm) {
        (Some(_), _) => true,
        (None, confirm) => match site.why_not_safe().await {
            None if confirm.is_none() => true,
            why => {
                let (is_given, what) = (
                    confirm.is_some(),
                    format!("This ends the old secret of {} in {}.", site.name, place.env),
                );
                let sentence = why.as_ref().map_or(what.clone(), |why| format!("{why} {what}"));
                confirm_name(confirm, &site.name, &sentence, "the client's name")?;
                why.filter(|_| is_given).iter().for_each(|why| output::warning(why));
                false
            }
        },
    };
    let body = RevokeSecret {
        reason: Some(reason),
        compromised,
        revoke_tokens,
        only_if_safe,
        quiet_seconds: only_if.and_then(|goal| goal.0).map(|quiet| quiet.as_secs()),
    };
    // Also for a secret that has ended, so that a job without the permission fails in each of its runs.
    let changed = site.api.send(Method::POST, &format!("{}/secrets/{id}/revoke", site.path), &body).await;
    let changed: SecretChanged = match changed {
        Err(failure) if has_ended && failure.has_code(Code::NotRetiring) => {
            output::note(&format!(
                "{} has no retiring secret in {}. Nothing was changed.",
                site.name, place.env
            ));
            let nothing = serde_json::json!({"secret": null});
            return if remote.json { output::json(&nothing) } else { Ok(()) };
        }
        changed => changed?,
    };
    let done = format!("Revoked the old secret {}. Callers that present it are refused.", changed.secret.id);
    shown_change(changed, &done, remote.json)
}

fn shown_secrets(secrets: &[Secret], json: bool) -> Result<(), Failure> {
    if json {
        return output::json(&secrets);
    }
    let row = |it: &Secret| {
        let is_imported = it.origin == SecretOrigin::Imported;
        vec![
            it.id.to_string(),
            format!("{}{}", it.state.as_str(), if is_imported { ", imported" } else { "" }),
            time(Some(it.created_at)),
            time(it.revoked_at.or(it.expires_at)),
            time(it.last_used_at),
            it.use_count.to_string(),
        ]
    };
    output::table(
        &[fixed("id"), fixed("state"), fixed("created"), fixed("ends"), fixed("last used"), fixed("uses")],
        secrets.iter().map(row).collect(),
    )
}

fn shown_rotations(rotations: Vec<Rotation>, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(&rotations);
    }
    let row = |it: Rotation| {
        vec![
            time(Some(it.rotated_at)),
            it.initiated_by.name().to_owned(),
            format!("{} h", it.transition_hours),
            it.outgoing_secret.id.to_string(),
            match it.ended_as {
                EndedAs::Retiring => "retiring".to_owned(),
                ended if it.compromised => format!("{}, leaked", ended.as_str().replace('_', " ")),
                ended => ended.as_str().replace('_', " "),
            },
            time(it.outgoing_secret.ended_at.or(it.outgoing_secret.expires_at)),
            time(it.outgoing_secret.last_used_at),
            it.reason,
            it.ended_by.map(|by| by.name().to_owned()).unwrap_or_default(),
            it.ended_reason.unwrap_or_default(),
        ]
    };
    output::table(
        &[
            fixed("rotated"),
            text("by"),
            fixed("transition"),
            fixed("old secret"),
            fixed("status"),
            fixed("ends"),
            fixed("last used"),
            text("reason"),
            text("ended by"),
            text("end reason"),
        ],
        rotations.into_iter().map(row).collect(),
    )
}

fn shown_usage(usage: Vec<Usage>, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(&usage);
    }
    let row = |it: Usage| {
        vec![
            it.secret_id.to_string(),
            it.state.as_str().to_owned(),
            it.source_ip.unwrap_or_else(|| "others".to_owned()),
            it.user_agent.unwrap_or_else(|| "-".to_owned()),
            it.instance.unwrap_or_else(|| "-".to_owned()),
            time(Some(it.last_used_at)),
            it.use_count.to_string(),
        ]
    };
    output::table(
        &[
            fixed("secret"),
            fixed("state"),
            fixed("from"),
            text("agent"),
            text("instance"),
            fixed("last used"),
            fixed("uses"),
        ],
        usage.into_iter().map(row).collect(),
    )
}

/// Reports on stderr since when a change is in force on several nodes. On one, that is when it was answered.
pub(crate) fn note_enforced(enforced: Option<&Enforced>) {
    let Some(Enforced { at, nodes }) = enforced.filter(|it| it.nodes.len() > 1) else { return };
    let lost: Vec<&str> =
        nodes.iter().filter(|it| it.known_by == KnownBy::LeaseEnded).map(|it| it.name.as_str()).collect();
    output::note(&format!("In force on {} nodes since {at}.", nodes.len()));
    if !lost.is_empty() {
        output::warning(&format!(
            "These nodes did not answer, and had to lose their lease: {}.",
            lost.join(", ")
        ));
    }
}

/// Reports on stderr what was done, and prints the secret that it was done to.
fn shown_change(changed: SecretChanged, done: &str, json: bool) -> Result<(), Failure> {
    output::note(done);
    if json {
        return output::json(&changed);
    }
    if let Some(until) = changed.tokens_valid_offline_until {
        output::note(&format!(
            "Resource servers that validate tokens offline may accept old tokens until {until}."
        ));
    }
    note_enforced(changed.enforced.as_ref());
    shown_secrets(&[changed.secret], false)
}
