//! The forms of the dialogs on the Security tab, as they open.

use super::security::{HOUR, Old, Secrets};
use crate::console::form::{Fields, Form};
use crossfade_core::{Timestamp, change_over::Verdict};

impl Secrets {
    /// Whether revoking the old secret requires the client's name, because ending it is not known to be safe.
    pub(super) fn must_confirm_revoke(&self) -> bool {
        self.old.as_ref().is_none_or(|old| old.change.verdict != Verdict::SafeToEnd)
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
}

/// Returns a time in the format of a time field, in UTC.
fn to_the_minute(at: Timestamp) -> String {
    at.to_string().chars().take(16).collect()
}
