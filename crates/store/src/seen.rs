//! People who have said that they know of a transition.

use crate::{StoreError, Tx, catalogue::statements, db::Row};
use crossfade_core::{RotationId, SecretId, Timestamp, UserId};
use std::collections::HashMap;

/// A person who knows of a transition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SeenRow {
    /// Account.
    pub user_id: UserId,
    /// Display name, even of a deleted account.
    pub name: String,
    /// Email address of the account; `None` if it has none or was deleted.
    pub email: Option<String>,
    /// When they said so.
    pub seen_at: Timestamp,
}

statements! {
    INSERT = "INSERT INTO seen (rotation_id, user_id, seen_at) VALUES ($1, $2, $3) ON CONFLICT (rotation_id, user_id) DO NOTHING";
    OF = "SELECT s.rotation_id, s.user_id, u.name, CASE WHEN u.deleted_at IS NULL THEN u.email END AS email, s.seen_at FROM seen s
          JOIN (VALUES {rows:1}) AS v ON s.rotation_id = v.column1 JOIN users u ON u.id = s.user_id ORDER BY s.seen_at, s.user_id";
    // A deleted account no longer looks after the transition.
    BY = "SELECT u.email FROM seen s JOIN users u ON u.id = s.user_id AND u.deleted_at IS NULL WHERE s.rotation_id = $1 AND u.email IS NOT NULL";
    FORGET = "DELETE FROM seen WHERE rotation_id IN (SELECT id FROM rotations WHERE outgoing_secret_id = $1)";
}

impl Tx {
    /// Records that a person knows of a transition. Returns whether that is new.
    pub async fn insert_seen(
        &mut self,
        rotation: &RotationId,
        user: &UserId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let args = vec![rotation.as_str().into(), user.as_str().into(), now.into()];
        Ok(self.execute(INSERT, args).await? == 1)
    }

    /// Returns who knows of each of these transitions, the first one first, in one statement.
    pub async fn seen_by(
        &mut self,
        rotations: &[&RotationId],
    ) -> Result<HashMap<RotationId, Vec<SeenRow>>, StoreError> {
        let keys: Vec<_> = rotations.iter().map(|id| vec![id.as_str().into()]).collect();
        let mut seen: HashMap<_, Vec<_>> = HashMap::new();
        for row in self.look_up(OF, &keys).await? {
            let rotation = row.parsed("rotation_id", |text| RotationId::parse(text).ok())?;
            seen.entry(rotation).or_default().push(seen_row(&row)?);
        }
        Ok(seen)
    }

    /// Whether one of the owners of a client knows of a transition.
    pub async fn is_seen_by(&mut self, rotation: &RotationId, owners: &[String]) -> Result<bool, StoreError> {
        for row in self.rows(BY, vec![rotation.as_str().into()]).await? {
            if owners.contains(&row.text("email")?) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Forgets who knows of the transition of an old secret, because its deadline has changed.
    pub async fn forget_seen(&mut self, outgoing: &SecretId) -> Result<u64, StoreError> {
        self.execute(FORGET, vec![outgoing.as_str().into()]).await
    }
}

fn seen_row(row: &Row) -> Result<SeenRow, StoreError> {
    Ok(SeenRow {
        user_id: row.parsed("user_id", |text| UserId::parse(text).ok())?,
        name: row.text("name")?,
        email: row.opt_text("email")?,
        seen_at: row.time("seen_at")?,
    })
}
