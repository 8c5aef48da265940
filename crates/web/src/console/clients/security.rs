//! The Security tab of a registration: the current secret, the transition, the history, the callers.

use super::{drills::Drills, place::Place};
use crate::console::{
    crossfade::{Callers, Gap, Rest, Segment, Transition},
    form::{Fields, Form},
    moment,
};
use crate::reply::Refused;
use crossfade_app::{Abilities, HistoryQuery, ListQuery, RotationLine, Security};
use crossfade_core::{
    Timestamp,
    api::{self, ChangeOver, RefusedCaller, Rotation, Secret, Usage},
    change_over::{CallerState, Verdict},
    rotation::{EndedAs, SecretState, is_overdue, latest_deadline},
};
use std::time::Duration;

/// Maximum number of callers on the page.
const MOST_CALLERS: usize = 50;
/// Number of rotations on a page of the history.
const HISTORY_PAGE: &str = "50";

/// Why a reader cannot see a stored value, and who can.
const HIDDEN: &str = "Hidden from your role. A Secret Viewer, Secret Rotator or Owner can show it.";

const HOUR: Duration = Duration::from_secs(3600);

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
    /// Path to which the forms of this registration are sent.
    pub(super) path: String,
    pub(super) current: Option<Secret>,
    pub(super) old: Option<Old>,
    pub(super) rest: Option<Rest>,
    /// Callers that presented the secret of the last rotation after it ended.
    pub(super) refused: Vec<RefusedCaller>,
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

/// Position of a page in the history.
#[derive(Clone, Default)]
pub(super) struct HistoryPlace {
    pub(super) oldest_first: bool,
    pub(super) cursor: Option<String>,
}

impl HistoryPlace {
    /// Reads the position from the URL of a page.
    pub(super) fn of(query: &Fields) -> Self {
        let cursor = query.filled("cursor").map(str::to_owned);
        Self { oldest_first: query.text("order") == "oldest", cursor }
    }

    /// Returns what this position asks for.
    pub(super) fn asked(&self) -> HistoryQuery {
        HistoryQuery {
            list: ListQuery { limit: Some(HISTORY_PAGE.into()), cursor: self.cursor.clone() },
            oldest_first: self.oldest_first,
            callers: MOST_CALLERS.to_string(),
        }
    }

    fn order(&self) -> &'static str {
        if self.oldest_first { "oldest" } else { "newest" }
    }

    /// Returns the position in the history as a query string, for live updates.
    pub(super) fn query(&self) -> String {
        match &self.cursor {
            Some(cursor) => format!("order={}&cursor={cursor}", self.order()),
            None => format!("order={}", self.order()),
        }
    }
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

/// Summary of the drills of one secret.
pub(super) struct Drilled {
    pub(super) drills: Drills,
    /// Text such as "2 drills, 3 callers found".
    pub(super) summary: String,
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

/// Returns the refused callers without those that have used the current secret since.
fn still_refused(refused: Vec<RefusedCaller>, uses: &[&Usage]) -> Vec<RefusedCaller> {
    let has_moved = |it: &RefusedCaller| {
        let who = (&it.source_ip, &it.user_agent, &it.instance);
        let same = |usage: &&&Usage| (&usage.source_ip, &usage.user_agent, &usage.instance) == who;
        !it.gathered && uses.iter().filter(same).any(|usage| usage.last_used_at > it.last_at)
    };
    refused.into_iter().filter(|it| !has_moved(it)).collect()
}

/// Returns the state of a caller in words.
pub(super) fn standing(state: &CallerState) -> &'static str {
    match state {
        CallerState::OnOld => "On the old secret",
        CallerState::OnBoth => "On both secrets",
        CallerState::Moved => "Moved",
        CallerState::Silent => "Silent",
        CallerState::OnNew => "On the new secret",
    }
}

/// Returns the colour of a state, which is that of a secret.
pub(super) fn colour(state: &CallerState) -> &'static str {
    match state {
        CallerState::OnOld | CallerState::OnBoth => "retiring",
        CallerState::Moved | CallerState::OnNew => "current",
        CallerState::Silent => "",
    }
}

/// Returns the names of the environments that a client is registered in, in the order of its registrations.
fn registered_in(place: &Place) -> Vec<String> {
    let name = |slug: &str| place.badges.get(slug).map(|known| known.badge.name().to_owned());
    place.client.registrations.iter().filter_map(|it| name(&it.environment)).collect()
}

impl Secrets {
    pub(super) fn of(
        place: &Place,
        slug: &str,
        (read, may): (Security, Abilities),
        place_in_history: HistoryPlace,
    ) -> Result<Self, Refused> {
        let Security { now, registration, version, secrets, history, latest, drills, .. } = read;
        let Security { usage: callers, change_over, last_token_ends_at, .. } = read;
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
            path: place.environment_path(slug),
            current,
            old,
            rest,
            refused,
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

    pub(super) fn is_live(&self) -> bool {
        self.environment.kind == crossfade_core::environment::EnvironmentKind::Live
    }

    /// Returns why the value of a valid secret cannot be shown to this reader; `None` if it can.
    pub(super) fn no_value(&self, secret: &impl ToString) -> Option<&'static str> {
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

    /// Returns the drills of the latest transition, whether it runs or not.
    pub(super) fn latest_drills(&self) -> Option<Drilled> {
        self.latest.as_ref().map(|line| self.drilled(&line.rotation))
    }

    /// Returns the drills of the transition that a rotation began; without any, the list is empty.
    pub(super) fn drilled(&self, rotation: &Rotation) -> Drilled {
        let known = self.history.iter().chain(&self.latest).map(|line| &line.rotation);
        let again = known.filter(|other| other.outgoing_secret.id == rotation.outgoing_secret.id);
        let next = again.map(|other| other.rotated_at).filter(|at| *at > rotation.rotated_at).min();
        let drills = self.drills.of(rotation, next);
        let [count, found] = [drills.iter().count(), drills.callers_found()];
        let plural = |count: usize, word: &str| match count {
            1 => format!("1 {word}"),
            count => format!("{count} {word}s"),
        };
        let summary = format!("{}, {} found", plural(count, "drill"), plural(found, "caller"));
        Drilled { drills, summary }
    }

    /// Returns a sentence about a leaked secret and the tokens issued under it; `None` if there is nothing to say.
    pub(super) fn ended_tokens(&self) -> Option<String> {
        self.latest.as_ref().filter(|_| self.old.is_none()).and_then(|line| tokens_sentence(line, self.now))
    }

    /// Returns a sentence with the number of callers that have used the current secret.
    pub(super) fn users_of_current(&self) -> Option<String> {
        let count = self.callers.iter().filter(|it| self.is_current(it)).count();
        let least = if self.more_callers && count == self.callers.len() { "At least " } else { "" };
        match count {
            0 => None,
            1 => Some(format!("{least}1 caller has used it.")),
            count => Some(format!("{least}{count} callers have used it.")),
        }
    }

    /// Whether revoking the old secret requires the client's name, because ending it is not known to be safe.
    pub(super) fn must_confirm_revoke(&self) -> bool {
        self.old.as_ref().is_none_or(|old| old.change.verdict != Verdict::SafeToEnd)
    }

    pub(super) fn reveal_path(&self, secret: &impl ToString) -> String {
        format!("{}/secrets/{}/reveal", self.path, secret.to_string())
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

    /// Returns which part of the history is shown.
    pub(super) fn history_shown(&self) -> String {
        let order = if self.place.oldest_first { "oldest first" } else { "newest first" };
        match self.history.len() {
            1 => format!("1 rotation on this page, {order}"),
            count => format!("{count} rotations on this page, {order}"),
        }
    }

    /// Returns the address of the first page of the history; empty on the first page.
    pub(super) fn history_first(&self) -> String {
        let first = || format!("{}/security?order={}#history", self.path, self.place.order());
        self.place.cursor.as_ref().map(|_| first()).unwrap_or_default()
    }

    /// Returns the address of the next page of the history; empty on the last page.
    pub(super) fn history_next(&self) -> String {
        let next =
            |cursor| format!("{}/security?order={}&cursor={cursor}#history", self.path, self.place.order());
        self.next.as_ref().map(next).unwrap_or_default()
    }

    /// Whether this line of the history is the running transition.
    pub(super) fn is_running(&self, rotation: &Rotation) -> bool {
        rotation.ended_as == EndedAs::Retiring
            && self.old.as_ref().is_some_and(|old| old.rotation == rotation.id.to_string())
    }

    /// Returns the running transition, if any of its secrets has been used.
    pub(super) fn moving(&self) -> Option<&Old> {
        self.old.as_ref().filter(|old| !old.change.callers.is_empty())
    }

    /// Returns the client as a shell argument.
    fn client_argument(&self) -> String {
        format!("'{}'", self.client.replace('\'', r"'\''"))
    }

    /// Returns the command that lists every caller.
    pub(super) fn usage_command(&self) -> String {
        format!("crossfade secret usage {} --env {}", self.client_argument(), self.environment.slug)
    }

    /// Returns the use of every secret, grouped by principal, the caller of the latest use first.
    pub(super) fn uses_by_caller(&self) -> Vec<Vec<&Usage>> {
        let mut groups: Vec<Vec<&Usage>> = Vec::new();
        let who =
            |it: &Usage| (it.source_ip.clone(), it.user_agent.clone(), it.instance.clone(), it.gathered);
        for usage in &self.callers {
            match groups.iter_mut().find(|group| group.first().is_some_and(|first| who(first) == who(usage)))
            {
                Some(group) => group.push(usage),
                None => groups.push(vec![usage]),
            }
        }
        groups
    }

    pub(super) fn is_current(&self, caller: &Usage) -> bool {
        self.current.as_ref().is_some_and(|current| current.id == caller.secret_id)
    }

    /// Returns the number of callers left on the old secret.
    pub(super) fn still_on_old(&self) -> u64 {
        self.old.as_ref().map_or(0, |old| old.change.callers_left)
    }

    /// Returns an initial form of this page.
    fn form(&self, prefix: &'static str, fields: Fields) -> Form {
        Form::new(prefix, fields)
    }

    pub(super) fn rotate_form(&self) -> Form {
        let current = self.current.as_ref().map(|it| it.id.to_string()).unwrap_or_default();
        let fields = Fields::default()
            .with("transition_hours", "24")
            .with("confirm_client_name", "")
            .with("reason", "")
            .with("revoke_tokens", "true")
            .with("idempotency_key", format!("console-{}-{}-{current}", self.registration.id, self.version));
        self.form("rotate", fields.with("expected_current_secret_id", current))
    }

    pub(super) fn revoke_form(&self) -> Form {
        let fields = Fields::default().with("confirm_client_name", "").with("reason", "");
        self.form("revoke", fields.with("revoke_tokens", "true"))
    }

    /// Whether the deadline can be moved at all.
    pub(super) fn can_extend(&self) -> bool {
        // The form has times to the minute.
        self.old.as_ref().is_some_and(|old| old.deadline.after(HOUR / 60) <= old.latest)
    }

    pub(super) fn extend_form(&self) -> Form {
        let day_later = |old: &Old| old.deadline.after(HOUR * 24).min(old.latest);
        let proposed = self.old.as_ref().map_or(self.now, day_later);
        self.form("extend", Fields::default().with("expires_at", to_the_minute(proposed)).with("reason", ""))
    }

    pub(super) fn rollback_form(&self) -> Form {
        self.form("rollback", Fields::default().with("reason", "").with("revoke_tokens", "true"))
    }

    pub(super) fn confirm_hint(&self) -> String {
        format!("Type {} to confirm.", self.client)
    }

    pub(super) fn confirm_revoke_hint(&self) -> String {
        format!("Not safe to end yet. Type {} to revoke it anyway.", self.client)
    }

    /// Returns a sentence about what ends, and which callers fail, when the current secret is rotated as leaked.
    pub(super) fn leak_effect(&self) -> String {
        let mut effect =
            "The present secret ends immediately. Callers that use it fail until they have the new secret."
                .to_owned();
        if let Some(users) = self.users_of_current() {
            effect.push_str(&format!(" {users}"));
        }
        if self.old.is_some() {
            effect.push_str(" The retiring secret ends immediately, too.");
        }
        effect
    }

    pub(super) fn token_endpoint(&self) -> String {
        format!("{}/oauth2/token", self.environment.issuer)
    }
}

/// Returns a sentence about the leaked secret that a rotation ended, and the tokens issued under it.
pub(super) fn tokens_sentence(line: &RotationLine, now: Timestamp) -> Option<String> {
    let at = moment::utc;
    match (line.leaked, line.tokens_ended) {
        (_, Some(ended)) => {
            let subject = if line.leaked { "the leaked secret" } else { "the ended secret" };
            let offline = match now < ended.offline_until {
                true => format!(
                    "A resource server that validates tokens offline may accept one until {}.",
                    at(ended.offline_until)
                ),
                false => "All of them have expired.".to_owned(),
            };
            Some(format!("Access tokens issued under {subject} were ended {}. {offline}", at(ended.at)))
        }
        (true, None) => Some(
            "Access tokens issued under the leaked secret were not ended. Each token is accepted until it expires."
                .to_owned(),
        ),
        (false, None) => None,
    }
}

/// Returns a time in the format of a time field, in UTC.
pub(super) fn to_the_minute(at: Timestamp) -> String {
    at.to_string().chars().take(16).collect()
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
            path: "/console/clients/cl_1/environments/production".into(),
            current: Some(secret(2, "current", None)),
            old: running.then_some(old),
            rest: Some(pictures::rest(40)),
            refused: Vec::new(),
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
