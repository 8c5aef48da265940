//! Drills on the page of a registration: the one in progress, and the callers found by the latest ones.

use super::change::{Names, of, own, refused, to, utc};
use crate::console::{
    form::{Fields, Form},
    moment,
    session::Fresh,
};
use crate::reply::Reply;
use axum::extract::Path;
use crossfade_app::Input;
use crossfade_core::{
    Problem, SecretId, Timestamp,
    api::{Drill, Rotation, ScheduleDrill, StopDrill},
    drill::{DrillState, StoppedAs, Window},
};
use serde_json::Value;
use std::collections::BTreeSet;

/// Drills of a registration, or of one of its secrets, newest first.
#[derive(Clone, Default)]
pub(super) struct Drills(Vec<Drill>);

impl Drills {
    pub(super) fn new(newest_first: Vec<Drill>) -> Self {
        Self(newest_first)
    }

    /// Returns the drills of one transition. A secret that a rollback made current again can retire once more, from
    /// `next` on.
    pub(super) fn of(&self, rotation: &Rotation, next: Option<Timestamp>) -> Self {
        let is_of = |drill: &&Drill| {
            let at = drill.scheduled_at;
            drill.secret_id == rotation.outgoing_secret.id
                && at >= rotation.rotated_at
                && next.is_none_or(|next| at < next)
        };
        Self(self.0.iter().filter(is_of).cloned().collect())
    }

    /// Returns the number of callers found, each counted once. Callers that are not listed are included through the
    /// count of their drill.
    pub(super) fn callers_found(&self) -> usize {
        let listed = self.0.iter().flat_map(|drill| &drill.callers);
        let told_apart: BTreeSet<_> =
            listed.map(|it| (&it.source_ip, &it.user_agent, &it.instance, it.gathered)).collect();
        let most = self.0.iter().filter_map(|drill| usize::try_from(drill.caller_count).ok()).max();
        told_apart.len().max(most.unwrap_or_default())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Drill> {
        self.0.iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the drill in progress. There is never more than one.
    pub(super) fn open(&self) -> Option<&Drill> {
        self.0.iter().find(|drill| !drill.state.is_over())
    }

    /// Returns a key of everything that the dialogs of this page depend on.
    pub(super) fn key(&self) -> String {
        self.open().map(|drill| drill.id.to_string()).unwrap_or_default()
    }

    /// Returns all windows of all drills, for the picture.
    pub(super) fn windows(&self) -> Vec<Window> {
        self.0.iter().rev().flat_map(|drill| drill.windows.iter().copied()).collect()
    }
}

/// Returns the window that is open at `now`, or the next one.
pub(super) fn current_or_next<'a>(drill: &'a Drill, now: &Timestamp) -> Option<&'a Window> {
    drill.windows.iter().find(|window| *now < window.to)
}

/// Returns a text such as "3 windows of 1 min".
pub(super) fn windows_in_words(drill: &Drill) -> String {
    let length = drill.windows.first().map_or(0, |window| window.to.since(window.from).as_secs());
    match drill.windows.len() {
        0 => "No windows".to_owned(),
        1 => format!("1 window of {}", moment::span(length)),
        count => format!("{count} windows of {}", moment::span(length)),
    }
}

/// Returns the state of a drill in words, with the reason if it is not obvious.
pub(super) fn state_in_words(drill: &Drill) -> &'static str {
    match (drill.state, drill.stopped_as) {
        (DrillState::Scheduled, _) => "Scheduled",
        (DrillState::Running, _) => "Running",
        (DrillState::Finished, _) => "Finished",
        (DrillState::Stopped, Some(StoppedAs::Stopped) | None) => "Stopped",
        (DrillState::Stopped, Some(StoppedAs::Revoked)) => "Stopped (secret revoked)",
        (DrillState::Stopped, Some(StoppedAs::RolledBack)) => "Stopped (rolled back)",
        (DrillState::Stopped, Some(StoppedAs::Superseded)) => "Stopped (newer rotation)",
        (DrillState::Stopped, Some(StoppedAs::Disabled)) => "Stopped (registration disabled)",
        (DrillState::Stopped, Some(StoppedAs::ClientDeleted)) => "Stopped (client deleted)",
    }
}

pub(super) fn schedule_form() -> Form {
    let fields = [
        ("starts_at", ""),
        ("length_seconds", "60"),
        ("repeat", "1"),
        ("every_seconds", ""),
        ("confirm_client_name", ""),
        ("reason", ""),
    ];
    Form::new("drill", fields.into_iter().fold(Fields::default(), |all, (name, value)| all.with(name, value)))
}

pub(super) fn stop_form() -> Form {
    Form::new("stop-drill", Fields::default().with("reason", ""))
}

/// Returns a number in the form of the API: a whole number, or the typed text; `None` if the field is empty.
fn number(fields: &Fields, name: &str) -> Option<Value> {
    let text = own(fields, name)?;
    Some(text.trim().parse::<u64>().map_or_else(|_| Value::from(text.trim()), Value::from))
}

pub(super) async fn schedule(Path(names): Path<Names>, Fresh { signed, fields }: Fresh) -> Reply {
    let secret_id = own(&fields, "secret_id").map(|id| SecretId::parse(&id)).transpose();
    let body = ScheduleDrill {
        secret_id: secret_id.map_err(|_| Problem::not_found())?,
        starts_at: own(&fields, "starts_at").map(|text| utc(&text)),
        length_seconds: number(&fields, "length_seconds"),
        repeat: number(&fields, "repeat"),
        every_seconds: number(&fields, "every_seconds"),
        confirm_client_name: Some(fields.text("confirm_client_name").to_owned()),
        reason: own(&fields, "reason"),
    };
    match signed.app.schedule_drill(&signed.request(), of(&names), Input::Value(body)).await {
        Ok(_) => Ok(to(&names, "security", "drill-scheduled")),
        Err(error) => {
            refused(&signed, &names, error, |forms, problem| {
                forms.drill = Form::new("drill", fields).refused(problem);
            })
            .await
        }
    }
}

pub(super) async fn stop(
    Path((client, environment, drill)): Path<(String, String, String)>,
    Fresh { signed, fields }: Fresh,
) -> Reply {
    let names = (client, environment);
    let body = StopDrill { reason: own(&fields, "reason") };
    match signed.app.stop_drill(&signed.request(), of(&names), &drill, Input::Value(body)).await {
        Ok(_) => Ok(to(&names, "security", "drill-stopped")),
        Err(error) => {
            refused(&signed, &names, error, |forms, problem| {
                forms.stop_drill = Form::new("stop-drill", fields).refused(problem);
            })
            .await
        }
    }
}
