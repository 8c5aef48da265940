//! One-time links in messages that are still to be sent, sealed. A row is deleted when its message was sent or abandoned,
//! and when its link has ended.

use crate::{StoreError, Tx, catalogue::statements};
use crossfade_core::Timestamp;

statements! {
    INSERT = "INSERT INTO message_links (notification_id, link_digest, sealed) VALUES ($1, $2, $3)";
    READ = "SELECT m.sealed FROM message_links m JOIN links l ON l.digest = m.link_digest
            WHERE m.notification_id = $1 AND l.used_at IS NULL AND l.expires_at > $2";
    ALL = "SELECT sealed FROM message_links";
    TIDY = "DELETE FROM message_links WHERE NOT EXISTS (
                SELECT 1 FROM links l WHERE l.digest = message_links.link_digest AND l.used_at IS NULL AND l.expires_at > $1)
            OR NOT EXISTS (
                SELECT 1 FROM deliveries d WHERE d.notification_id = message_links.notification_id AND d.sent_at IS NULL AND d.abandoned_at IS NULL)";
    DELETE = "DELETE FROM message_links WHERE notification_id IN (SELECT notification_id FROM deliveries WHERE id = $1)";
    DELETE_OLD = "DELETE FROM message_links WHERE notification_id IN (SELECT id FROM notifications WHERE created_at < $1)";
}

impl Tx {
    /// Stores the sealed link of a message.
    pub async fn insert_message_link(
        &mut self,
        notification: &str,
        link: &[u8],
        sealed: &[u8],
    ) -> Result<(), StoreError> {
        self.execute(INSERT, vec![notification.into(), link.into(), sealed.into()]).await.map(drop)
    }

    /// Returns the sealed link of a message; `None` if it has no link that can be used.
    pub async fn message_link(
        &mut self,
        notification: &str,
        now: Timestamp,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let row = self.optional(READ, vec![notification.into(), now.into()]).await?;
        row.map(|row| row.blob("sealed")).transpose()
    }

    /// Returns the sealed links of all messages that are still to be sent. They live for a day.
    pub async fn sealed_message_links(&mut self) -> Result<Vec<Vec<u8>>, StoreError> {
        self.rows(ALL, vec![]).await?.iter().map(|row| row.blob("sealed")).collect()
    }

    /// Deletes the link of a delivery that is done.
    pub(crate) async fn delete_message_link(&mut self, delivery: &str) -> Result<(), StoreError> {
        self.execute(DELETE, vec![delivery.into()]).await.map(drop)
    }

    /// Deletes links that have ended, and those of messages that wait no more.
    pub async fn tidy_message_links(&mut self, now: Timestamp) -> Result<u64, StoreError> {
        self.execute(TIDY, vec![now.into()]).await
    }

    /// Deletes the links of messages queued before `before`.
    pub(crate) async fn delete_old_message_links(&mut self, before: Timestamp) -> Result<(), StoreError> {
        self.execute(DELETE_OLD, vec![before.into()]).await.map(drop)
    }
}
