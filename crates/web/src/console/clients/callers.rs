//! The callers of a registration on the Security tab.

use super::security::{Old, Secrets};
use crossfade_core::{
    api::{RefusedCaller, Usage},
    change_over::CallerState,
};

impl Secrets {
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

    /// Returns the use of every secret, grouped by caller, that of the latest use first.
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

/// Returns the refused callers without those that have used the current secret since.
pub(super) fn still_refused(refused: Vec<RefusedCaller>, uses: &[&Usage]) -> Vec<RefusedCaller> {
    let has_moved = |it: &RefusedCaller| {
        let who = (&it.source_ip, &it.user_agent, &it.instance);
        let same = |usage: &&&Usage| (&usage.source_ip, &usage.user_agent, &usage.instance) == who;
        !it.gathered && uses.iter().filter(same).any(|usage| usage.last_used_at > it.last_at)
    };
    refused.into_iter().filter(|it| !has_moved(it)).collect()
}
