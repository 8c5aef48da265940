//! Declared proxies that send unreadable addresses.

use crate::{StoreError, Tx, catalogue::statements};
use crossfade_core::Timestamp;

statements! {
    NOTE = "INSERT INTO unreadable_proxies (address, noted_at) VALUES ($1, $2)
            ON CONFLICT (address) DO UPDATE SET noted_at = excluded.noted_at";
    FORGET = "DELETE FROM unreadable_proxies WHERE noted_at < $1";
    NOTED = "SELECT address FROM unreadable_proxies WHERE noted_at >= $1 ORDER BY address LIMIT $2";
}

impl Tx {
    /// Records a proxy.
    pub async fn note_unreadable_proxy(&mut self, address: &str, at: Timestamp) -> Result<(), StoreError> {
        self.execute(NOTE, vec![address.into(), at.into()]).await.map(drop)
    }

    /// Forgets the proxies last recorded before this time.
    pub async fn forget_unreadable_proxies(&mut self, before: Timestamp) -> Result<(), StoreError> {
        self.execute(FORGET, vec![before.into()]).await.map(drop)
    }

    /// Returns at most `most` addresses of proxies recorded since then.
    pub async fn unreadable_proxies(
        &mut self,
        since: Timestamp,
        most: i64,
    ) -> Result<Vec<String>, StoreError> {
        self.rows(NOTED, vec![since.into(), most.into()])
            .await?
            .iter()
            .map(|row| row.text("address"))
            .collect()
    }
}
