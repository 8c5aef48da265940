//! Shared parts of the client pages: the colours of environments, and the state of a registration.

use crate::console::{
    crossfade::{Callers, Rest, Segment, Transition},
    environment::EnvironmentBadge,
};
use crossfade_app::{RegistrationLine, SharedHour};
use crossfade_core::{Timestamp, api, rotation::due_at};
use std::{collections::HashMap, time::Duration};

const HOUR: Duration = Duration::from_secs(3600);

/// An environment, for lists.
#[derive(Clone, Debug)]
pub(in crate::console) struct Known {
    pub(in crate::console) badge: EnvironmentBadge,
    max_age_days: Option<u16>,
}

/// All environments by slug.
pub(in crate::console) type Badges = HashMap<String, Known>;

pub(in crate::console) fn badges(environments: &[api::Environment]) -> Badges {
    let known = |(position, it): (usize, &api::Environment)| {
        let badge = EnvironmentBadge::new(&it.name, it.kind, position);
        (it.slug.clone(), Known { badge, max_age_days: it.max_age_days })
    };
    environments.iter().enumerate().map(known).collect()
}

/// State of a registration's secrets.
#[derive(Clone, Debug)]
pub(in crate::console) enum State {
    Moving(Transition),
    Rest(Rest),
    /// It has no valid secret.
    Nothing,
}

/// A registration in a list.
#[derive(Clone, Debug)]
pub(in crate::console) struct Standing {
    pub(in crate::console) slug: String,
    pub(in crate::console) badge: EnvironmentBadge,
    pub(in crate::console) client_id: String,
    pub(in crate::console) disabled: bool,
    pub(in crate::console) state: State,
    pub(in crate::console) last_used_at: Option<Timestamp>,
}

impl Standing {
    /// Whether its secret is older than the environment's policy allows.
    pub(in crate::console) fn is_overdue(&self) -> bool {
        matches!(&self.state, State::Rest(rest) if rest.is_overdue())
    }

    /// Returns the sort key by urgency: transitions by their deadline, overdue secrets, then production, then the oldest
    /// secrets.
    fn urgency(&self) -> (u8, Timestamp) {
        match &self.state {
            State::Moving(transition) => (0, transition.deadline),
            State::Rest(rest) if rest.is_overdue() => (1, rest.created),
            State::Rest(rest) if self.badge.is_live() => (2, rest.created),
            State::Rest(rest) => (3, rest.created),
            State::Nothing => (4, Timestamp::from_seconds(0)),
        }
    }
}

/// Returns the state of a registration at `now`; `None` if its environment has been deleted since then.
pub(in crate::console) fn registration_state(
    line: &RegistrationLine,
    environments: &Badges,
    now: Timestamp,
) -> Option<Standing> {
    let slug = line.environment.to_string();
    let known = environments.get(&slug)?;
    let old_used_at =
        line.retiring_used_at.filter(|used| line.current_since.is_none_or(|since| *used >= since));
    let state = match (line.current_since, line.retiring_until) {
        (Some(from), Some(deadline)) => State::Moving(Transition {
            from,
            now,
            deadline,
            segments: line.hours.iter().map(|it| segment(it, from, now)).collect(),
            callers: Callers::LastUse(old_used_at),
            quiet: false,
            windows: Vec::new(),
            gaps: Vec::new(),
        }),
        (Some(created), None) => {
            State::Rest(Rest { created, now, due: due_at(created, known.max_age_days.map(i64::from)) })
        }
        (None, _) => State::Nothing,
    };
    Some(Standing {
        slug,
        badge: known.badge.clone(),
        client_id: line.oauth_client_id.to_string(),
        disabled: line.disabled,
        state,
        last_used_at: line.current_used_at.max(line.retiring_used_at),
    })
}

/// Returns the part of an hour between the start of a transition and now.
fn segment(hour: &SharedHour, from: Timestamp, now: Timestamp) -> Segment {
    Segment {
        from: hour.from.max(from),
        to: hour.from.after(HOUR).min(now),
        old: hour.old.unsigned_abs(),
        new: hour.new.unsigned_abs(),
    }
}

/// Returns the registration of a client that a line of a list is about.
pub(in crate::console) fn needs_attention(standings: &[Standing]) -> Option<&Standing> {
    standings.iter().min_by_key(|standing| standing.urgency())
}

#[cfg(test)]
pub(in crate::console) mod samples {
    use super::*;
    use crate::console::crossfade::samples as pictures;
    use crossfade_core::environment::EnvironmentKind;

    fn standing(slug: &str, state: State) -> Standing {
        let kind = if slug == "production" { EnvironmentKind::Live } else { EnvironmentKind::Test };
        Standing {
            slug: slug.to_owned(),
            badge: EnvironmentBadge::new(slug, kind, 0),
            client_id: "01JZX3".into(),
            disabled: false,
            state,
            last_used_at: Some(pictures::now()),
        }
    }

    pub(in crate::console) fn rest(slug: &str) -> Standing {
        standing(slug, State::Rest(pictures::rest(40)))
    }

    pub(in crate::console) fn moving(slug: &str) -> Standing {
        standing(slug, State::Moving(pictures::moving(13)))
    }
}
