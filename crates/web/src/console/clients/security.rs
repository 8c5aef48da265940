//! The Security tab of a registration: its secrets and the running transition. `history`, `callers` and `dialogs` have the
//! other parts of the page.

use super::{callers::still_refused, drills::Drills, history::HistoryPlace, place::Place};
use crate::console::{
    crossfade::{Callers, Gap, Rest, Segment, Transition},
    moment,
};
use crate::reply::Refused;
use crossfade_app::{Abilities, RotationLine, Security};
use crossfade_core::{
    Timestamp, UserId,
    api::{self, ChangeOver, RefusedCaller, Secret, Usage},
    change_over::Verdict,
    registration::Adoption,
    rotation::{SecretState, is_overdue, latest_deadline},
    secret::SecretOrigin,
};
use std::time::Duration;

/// Maximum number of callers on the page.
pub(super) const MOST_CALLERS: usize = 50;

/// Why a reader cannot see a stored value, and who can.
const HIDDEN: &str = "Hidden from your role. A Secret Viewer, Secret Rotator or Owner can show it.";

/// One hour.
pub(super) const HOUR: Duration = Duration::from_secs(3600);

/// Everything that the Environment tab shows about one registration.
pub(super) struct Secrets {
    pub(super) now: Timestamp,
    pub(super) client: String,
    pub(super) environment: api::Environment,
    /// Names of the environments that the client is registered in.
    pub(super) registered_in: Vec<String>,
    pub(super) registration: api::Registration,
    pub(super) version: i64,
    pub(super) may: Abilities,
    /// Whether an owner of the client has marked the running transition as seen.
    pub(super) seen_by_owner: bool,
    /// Account that reads the page.
    reader: UserId,
    /// Path to which the forms of this registration are sent.
    pub(super) path: String,
    pub(super) current: Option<Secret>,
    pub(super) old: Option<Old>,
    pub(super) rest: Option<Rest>,
    /// Callers that presented the secret of the last rotation after it ended.
    pub(super) refused: Vec<RefusedCaller>,
    /// Callers that presented a secret of an earlier rotation lately.
    pub(super) refused_earlier: Vec<RefusedCaller>,
    pub(super) last_rotation: Option<Timestamp>,
    /// The latest rotation.
    pub(super) latest: Option<RotationLine>,
    /// Drills of the secrets that the shown rotations replaced, newest first.
    pub(super) drills: Drills,
    /// When the last token that can have been issued by now expires, for a resource server that validates offline.
    pub(super) last_token_ends_at: Timestamp,
    pub(super) history: Vec<RotationLine>,
    /// Position of the page in the history.
    pub(super) place: HistoryPlace,
    /// Where its next page starts.
    pub(super) next: Option<String>,
    /// Ids of the valid secrets whose values can be shown.
    stored: Vec<String>,
    pub(super) callers: Vec<Usage>,
    /// Whether there are more than the listed ones.
    pub(super) more_callers: bool,
}

/// A running transition.
pub(super) struct Old {
    pub(super) secret: Secret,
    pub(super) deadline: Timestamp,
    pub(super) rotation: String,
    /// Latest allowed deadline.
    pub(super) latest: Timestamp,
    pub(super) picture: Transition,
    /// Whether the new secret has already been used.
    pub(super) newer_in_use: bool,
    /// Verdict of the change-over.
    pub(super) change: ChangeOver,
    pub(super) drills: Drills,
}

impl Old {
    /// For how long the old secret has been quiet: "12 min".
    pub(super) fn quiet(&self) -> String {
        moment::span(self.change.quiet_seconds)
    }

    /// Returns the icon of the verdict.
    pub(super) fn icon(&self) -> &'static str {
        if self.change.verdict == Verdict::SafeToEnd { "check" } else { "problem" }
    }

    /// Returns a sentence about how long the old secret must be quiet.
    pub(super) fn quiet_needed(&self) -> String {
        format!("At least {} is needed.", moment::span(self.change.quiet_needed_seconds))
    }

    pub(super) fn callers_shown(&self) -> impl Iterator<Item = &api::Caller> {
        self.change.callers.iter().take(MOST_CALLERS)
    }

    /// Returns the number of callers beyond those that are shown.
    pub(super) fn callers_beyond(&self) -> Option<u64> {
        let counts = &self.change.caller_counts;
        let all = counts.on_old + counts.on_both + counts.moved + counts.silent + counts.on_new;
        Some(all.saturating_sub(MOST_CALLERS as u64)).filter(|count| *count > 0)
    }

    /// Returns how long before its deadline the guard gave a warning: "4 h".
    pub(super) fn ahead(&self, warning: &api::DeadlineWarning) -> String {
        moment::span((warning.deadline.since(warning.told_at).as_secs() + 30) / 60 * 60)
    }
}

/// Returns the names of the environments that a client is registered in, in the order of its registrations.
fn registered_in(place: &Place) -> Vec<String> {
    let name = |slug: &str| place.badges.get(slug).map(|known| known.badge.name().to_owned());
    place.client.registrations.iter().filter_map(|it| name(&it.environment)).collect()
}

impl Secrets {
    /// Returns the address of the access review with the accounts that can rotate the secret.
    pub(super) fn access_address(&self) -> String {
        // Of the path `/console/clients/{client}/environments/{environment}`.
        let mut parts = self.path.split('/').skip(3).step_by(2);
        let (client, environment) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        format!("/console/access?client={client}&environment={environment}&permission=secret:rotate")
    }

    pub(super) fn of(
        place: &Place,
        slug: &str,
        (read, may): (Security, Abilities),
        (reader, place_in_history): (UserId, HistoryPlace),
    ) -> Result<Self, Refused> {
        let Security { now, registration, version, secrets, history, latest, drills, .. } = read;
        let Security { usage: callers, change_over, last_token_ends_at, seen_by_owner, .. } = read;
        let refused_earlier = read.refused_earlier;
        let drills = Drills::new(drills);
        let environment = place.environments.iter().find(|it| it.slug == slug).cloned();
        let environment = environment.ok_or_else(crossfade_core::Problem::not_found)?;
        let of = |state| secrets.iter().find(|secret| secret.state == state).cloned();
        let (current, retiring) = (of(SecretState::Current), of(SecretState::Retiring));
        let (change, refused_since_end) = match change_over {
            Some(mut change) => {
                let refused = std::mem::take(&mut change.refused_since_end);
                (Some(change), refused)
            }
            None => (None, Vec::new()),
        };
        let old = match (&current, retiring, latest.as_ref().map(|line| &line.rotation), change) {
            (Some(current), Some(secret), Some(rotation), Some(change)) => {
                let from = rotation.rotated_at;
                let segment = |it: api::SharePoint| Segment {
                    from: it.from.max(from),
                    to: it.to.min(now),
                    old: it.old.unsigned_abs(),
                    new: it.new.unsigned_abs(),
                };
                let deadline = secret.expires_at.unwrap_or(now);
                let left = change.callers.iter().filter(|it| it.state.is_left());
                let still_on_old =
                    left.filter_map(|it| it.old.map(|used| used.last_used_at).max(it.refused_at)).collect();
                let drills = drills.of(rotation, None);
                let picture = Transition {
                    quiet: change.callers_left == 0,
                    windows: drills.windows(),
                    gaps: change.gaps.iter().map(|gap| Gap { from: gap.from, to: gap.to }).collect(),
                    from,
                    now,
                    deadline,
                    segments: change.series.iter().copied().map(segment).collect(),
                    callers: Callers::Left(still_on_old),
                };
                Some(Old {
                    deadline,
                    rotation: rotation.id.to_string(),
                    latest: latest_deadline(from),
                    picture,
                    newer_in_use: current.last_used_at.is_some(),
                    secret,
                    change,
                    drills,
                })
            }
            _ => None,
        };
        let refused = match (&old, &latest) {
            (None, Some(_)) => {
                let uses = current
                    .iter()
                    .flat_map(|current| callers.items.iter().filter(|usage| usage.secret_id == current.id));
                still_refused(refused_since_end, &uses.collect::<Vec<_>>())
            }
            _ => Vec::new(),
        };
        // A use after the refusal was with a newer secret, whether or not that one is still valid.
        let refused_earlier = still_refused(refused_earlier, &callers.items.iter().collect::<Vec<_>>());
        let rest = current.as_ref().map(|it| Rest {
            created: it.created_at,
            now,
            due: registration.rotation_due_at,
        });
        let last_rotation = latest.as_ref().map(|it| it.rotation.rotated_at);
        Ok(Self {
            now,
            client: place.client.name.clone(),
            environment,
            registered_in: registered_in(place),
            registration,
            version,
            may,
            seen_by_owner,
            reader,
            path: place.environment_path(slug),
            current,
            old,
            rest,
            refused,
            refused_earlier,
            last_rotation,
            latest,
            drills,
            last_token_ends_at,
            history: history.items,
            place: place_in_history,
            next: history.next_cursor,
            stored: secrets.iter().filter(|it| it.stored).map(|it| it.id.to_string()).collect(),
            more_callers: callers.next_cursor.is_some(),
            callers: callers.items,
        })
    }

    /// Returns who has said that they know of the running transition.
    pub(super) fn seen(&self) -> &[api::Seen] {
        self.latest.as_ref().map_or(&[], |line| &line.rotation.seen)
    }

    /// Whether the reader can say so and has not.
    pub(super) fn may_see(&self) -> bool {
        self.may.see && !self.seen().iter().any(|it| it.user_id == self.reader)
    }

    pub(super) fn is_live(&self) -> bool {
        self.environment.kind == crossfade_core::environment::EnvironmentKind::Live
    }

    /// Returns why the value of a valid secret cannot be shown to this reader; `None` if it can.
    pub(super) fn no_value(&self, secret: &impl ToString) -> Option<&'static str> {
        let valid = self.current.iter().chain(self.old.iter().map(|old| &old.secret));
        let is_imported = |it: &Secret| it.origin == SecretOrigin::Imported;
        if valid.into_iter().any(|it| is_imported(it) && it.id.to_string() == secret.to_string()) {
            return Some("Imported: its callers have it, and Crossfade shows it to nobody");
        }
        self.no_value_of(self.stored.contains(&secret.to_string()))
    }

    /// Returns why a value cannot be shown to this reader, given whether it is stored; `None` if it can.
    pub(super) fn no_value_of(&self, stored: bool) -> Option<&'static str> {
        match (stored, self.may.reveal) {
            (true, true) => None,
            (true, false) => Some(HIDDEN),
            (false, _) if self.environment.show_once => Some("Shown only once, not stored"),
            (false, _) => Some("No longer stored"),
        }
    }

    /// Returns why a value cannot be shown in a row of the history. The page says above who can show it.
    pub(super) fn no_value_in_row(&self, stored: bool) -> Option<&'static str> {
        self.no_value_of(stored).map(|why| if why == HIDDEN { "Hidden from your role" } else { why })
    }

    pub(super) fn reveal_path(&self, secret: &impl ToString) -> String {
        format!("{}/secrets/{}/reveal", self.path, secret.to_string())
    }

    /// Returns what there is instead of a current secret.
    pub(super) fn no_secret(&self) -> String {
        match (self.registration.adoption, self.environment.adopt_until) {
            (None, _) => "No valid secret".to_owned(),
            (Some(Adoption::PublicClient), _) => {
                "None. The issuer accepts any secret of this client, so it is public and nothing is \
                learned."
                    .to_owned()
            }
            (Some(Adoption::Waiting), Some(until)) if self.now < until => format!(
                "None yet. It is learned from the first request that the issuer accepts, until {}.",
                moment::utc(until)
            ),
            (Some(Adoption::Waiting), _) => {
                "None. No request came that the issuer accepted while secrets were learned.".to_owned()
            }
        }
    }

    /// Returns the address of the Security tab.
    pub(super) fn security_path(&self) -> String {
        format!("{}/security", self.path)
    }

    /// Whether the current secret is older than the policy allows.
    pub(super) fn is_overdue(&self) -> bool {
        is_overdue(self.registration.rotation_due_at, self.now)
    }

    /// "40 days (maximum 90)".
    pub(super) fn age(&self) -> String {
        let Some(current) = &self.current else { return "No valid secret".to_owned() };
        let days = self.now.since(current.created_at).as_secs() / 86_400;
        let age = if days == 1 { "1 day".to_owned() } else { format!("{days} days") };
        match self.environment.max_age_days {
            Some(most) => format!("{age} (maximum {most})"),
            None => format!("{age} (no maximum)"),
        }
    }

    pub(super) fn token_endpoint(&self) -> String {
        format!("{}/oauth2/token", self.environment.issuer)
    }
}

#[cfg(test)]
pub(super) mod samples {
    use super::*;
    use crate::console::crossfade::samples as pictures;
    use serde_json::json;

    fn id(prefix: &str, n: u8) -> String {
        format!("{prefix}_{n:022}")
    }

    /// Returns a drill of the old secret in the middle of its first window, which has found a caller.
    fn drill(now: Timestamp) -> api::Drill {
        let minutes = |count: u32| Duration::from_secs(60) * count;
        serde_json::from_value(json!({
            "id": id("drill", 1), "secret_id": id("sec", 1), "state": "running",
            "scheduled_by": {"kind": "user", "id": id("usr", 1), "name": "Ada <Lovelace>"}, "scheduled_at": now.before(minutes(5)),
            "reason": "who is left?",
            "windows": [
                {"from": now.before(minutes(1)), "to": now.after(minutes(1))},
                {"from": now.after(minutes(20)), "to": now.after(minutes(22))},
            ],
            "ends_at": now.after(minutes(22)), "stopped_at": null, "stopped_as": null, "stopped_by": null,
            "caller_count": 1, "refusal_count": 2, "unrecorded_seconds": 0,
            "callers": [{
                "source_ip": "192.0.2.7", "user_agent": "<b>worker</b>", "instance": null, "gathered": false,
                "first_at": now, "last_at": now, "refusal_count": 2,
            }],
        }))
        .unwrap()
    }

    /// Returns a sample: Billing in production, whose old secret is retiring or, if not `running`, has ended.
    pub(in crate::console::clients) fn secrets(running: bool, may: Abilities) -> Secrets {
        let now = pictures::now();
        let picture = pictures::moving(13);
        let (from, deadline) = (picture.from, picture.deadline);
        let secret = |n, state: &str, expires: Option<Timestamp>| -> Secret {
            serde_json::from_value(json!({
                "id": id("sec", n), "state": state, "created_at": from, "expires_at": expires, "revoked_at": null,
                "first_used_at": null, "last_used_at": now, "use_count": 7, "stored": true,
            }))
            .unwrap()
        };
        let history = json!({
            "id": id("rot", 1), "initiated_by": {"kind": "user", "id": id("usr", 1), "name": "Ada <Lovelace>"},
            "rotated_at": from, "transition_hours": 24, "reason": "quarterly", "compromised": false,
            "outgoing_secret": {"id": id("sec", 1), "expires_at": deadline, "ended_at": null, "last_used_at": now},
            "incoming_secret": {"id": id("sec", 2), "first_used_at": null},
            "ended_as": if running { "retiring" } else { "expired" },
        });
        let used =
            json!({"first_used_at": from, "last_used_at": now, "use_count": 3, "longest_pause_seconds": 60});
        let change = json!({
            "rotation_id": id("rot", 1), "rotated_at": from, "ends_at": deadline, "at": now,
            "old_secret": secret(1, "retiring", Some(deadline)), "new_secret": secret(2, "current", None),
            "verdict": "callers_left", "summary": "Not safe to end: 1 caller is left on the old secret.",
            "reasons": [{"code": "callers_expected", "text": "Callers that used the old secret are expected to use it again."}],
            "cannot_see": [{"code": "cached_tokens", "text": "A caller that holds an access token comes back only when it ends."}],
            "callers_left": 1, "refused_since_end": [], "caller_counts": {"on_old": 1, "on_both": 0, "moved": 4, "silent": 0, "on_new": 0},
            "quiet_since": now, "quiet_seconds": 0, "quiet_needed_seconds": 3600, "safe_at": null,
            "callers": [{
                "source_ip": "192.0.2.7", "user_agent": "<b>worker</b>", "instance": null, "gathered": false,
                "state": "on_old", "old": used, "new": null, "refused_at": null, "expected_until": deadline,
            }],
            "grain": "hour", "series": [], "gaps": [],
            "deadline_warnings": [{"deadline": now, "hours_before": 1, "told_at": from, "extended_to": deadline}],
        });
        let old = Old {
            secret: secret(1, "retiring", Some(deadline)),
            deadline,
            rotation: id("rot", 1),
            latest: from.after(HOUR * 168),
            picture,
            newer_in_use: true,
            change: serde_json::from_value(change).unwrap(),
            drills: Drills::new(vec![drill(now)]),
        };
        let registration = json!({
            "id": id("reg", 1), "environment": "production", "client_id": "0123456789abcdefghijkl", "enabled": true,
            "token_endpoint_auth_methods": ["client_secret_basic"], "scopes": ["read"], "audience": "https://api.example.com",
            "access_token_ttl_seconds": 3600, "may_introspect": false, "created_at": from, "rotation_due_at": null,
        });
        let environment = json!({
            "slug": "production", "name": "Production", "kind": "live", "issuer": "https://auth.example.com/env/production",
            "signing_alg": "ES256", "show_once": false, "wipe_after_days": 30, "max_age_days": 90, "guard_extension_hours": null,
        });
        let callers = json!([{
            "secret_id": id("sec", 1), "state": "retiring", "source_ip": "192.0.2.7", "user_agent": "<b>worker</b>", "instance": null, "gathered": false,
            "first_used_at": from, "last_used_at": now, "use_count": 3,
        }]);
        let latest = RotationLine {
            rotation: serde_json::from_value(history).unwrap(),
            stored: true,
            leaked: false,
            tokens_ended: None,
        };
        Secrets {
            now,
            registered_in: vec!["Production".into()],
            latest: Some(latest.clone()),
            drills: Drills::new(vec![drill(now)]),
            last_token_ends_at: now.after(HOUR),
            client: "Billing".into(),
            environment: serde_json::from_value(environment).unwrap(),
            registration: serde_json::from_value(registration).unwrap(),
            version: 3,
            may,
            seen_by_owner: true,
            reader: UserId::parse(&id("usr", 2)).unwrap(),
            path: "/console/clients/cl_1/environments/production".into(),
            current: Some(secret(2, "current", None)),
            old: running.then_some(old),
            rest: Some(pictures::rest(40)),
            refused: Vec::new(),
            refused_earlier: Vec::new(),
            last_rotation: Some(from),
            history: vec![latest],
            place: HistoryPlace::default(),
            next: None,
            stored: vec![id("sec", 1), id("sec", 2)],
            callers: serde_json::from_value(callers).unwrap(),
            more_callers: false,
        }
    }

    #[test]
    fn commands_hold_no_secret_and_name_the_client() {
        let secrets = secrets(true, Abilities::ALL);
        for text in [secrets.curl(), secrets.python(), secrets.node()] {
            assert!(text.contains("0123456789abcdefghijkl") && !text.contains("crossfade_live"), "{text}");
        }
    }
}
