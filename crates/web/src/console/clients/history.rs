//! The history of rotations on the Security tab, with the drills of each transition.

use super::{
    drills::Drills,
    security::{MOST_CALLERS, Secrets},
};
use crate::console::{form::Fields, moment};
use crossfade_app::{HistoryQuery, ListQuery, RotationLine};
use crossfade_core::{Timestamp, api::Rotation, rotation::EndedAs};

/// Number of rotations on a page of the history.
const HISTORY_PAGE: &str = "50";

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

/// Summary of the drills of one secret.
pub(super) struct Drilled {
    pub(super) drills: Drills,
    /// Text such as "2 drills, 3 callers found".
    pub(super) summary: String,
}

impl Secrets {
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
}

/// Returns a sentence about the leaked secret that a rotation ended, and the tokens issued under it.
fn tokens_sentence(line: &RotationLine, now: Timestamp) -> Option<String> {
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
