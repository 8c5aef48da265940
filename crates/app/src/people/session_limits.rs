//! How long a session lasts.

use crossfade_core::Timestamp;
use crossfade_store::SessionRow;
use std::time::Duration;

/// How long an unused session lasts.
pub const IDLE_LIMIT: Duration = Duration::from_secs(60 * 60);
/// How long a session lasts at most.
pub const ABSOLUTE_LIMIT: Duration = Duration::from_secs(12 * 60 * 60);

/// Returns when a session ends without further requests.
pub(crate) fn ends_at(session: &SessionRow) -> Timestamp {
    session.last_seen_at.after(IDLE_LIMIT).min(session.created_at.after(ABSOLUTE_LIMIT))
}
