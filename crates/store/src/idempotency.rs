//! Remembered responses, so that a repeated request changes nothing.

use crate::{StoreError, Tx, catalogue::statements};
use crossfade_core::Timestamp;

/// A response that is remembered for a repeated `Idempotency-Key`.
#[derive(Clone, Debug)]
pub struct Remembered {
    /// The fingerprint of the request.
    pub request: Vec<u8>,
    /// Time of the response.
    pub created_at: Timestamp,
    /// The response, as JSON without secret values.
    pub reply: String,
    /// The secret values of the response, sealed.
    pub sealed: Option<Vec<u8>>,
}

statements! {
    REMEMBERED = "SELECT request, created_at, reply, sealed FROM idempotency WHERE actor = $1 AND key = $2";
    REMEMBER = "INSERT INTO idempotency (actor, key, request, created_at, reply, sealed) VALUES ($1, $2, $3, $4, $5, $6)";
    WIPE_REMEMBERED = "UPDATE idempotency SET sealed = NULL WHERE sealed IS NOT NULL AND created_at <= $1";
    FORGET_REMEMBERED = "DELETE FROM idempotency WHERE created_at <= $1";
}

impl Tx {
    /// Returns the remembered response to this actor's request with this key.
    pub async fn remembered(&mut self, actor: &str, key: &str) -> Result<Option<Remembered>, StoreError> {
        let row = self.optional(REMEMBERED, vec![actor.into(), key.into()]).await?;
        row.map(|row| {
            Ok(Remembered {
                request: row.blob("request")?,
                created_at: row.time("created_at")?,
                reply: row.text("reply")?,
                sealed: row.opt_blob("sealed")?,
            })
        })
        .transpose()
    }

    /// Remembers a response.
    pub async fn remember(&mut self, actor: &str, key: &str, answer: &Remembered) -> Result<(), StoreError> {
        let args = vec![
            actor.into(),
            key.into(),
            answer.request.as_slice().into(),
            answer.created_at.into(),
            answer.reply.as_str().into(),
            answer.sealed.clone().into(),
        ];
        self.execute(REMEMBER, args).await.map(drop)
    }

    /// Wipes the values of responses from `values_before` or earlier, and forgets responses from `answers_before` or
    /// earlier.
    pub async fn tidy_remembered(
        &mut self,
        values_before: Timestamp,
        answers_before: Timestamp,
    ) -> Result<(), StoreError> {
        self.execute(WIPE_REMEMBERED, vec![values_before.into()]).await?;
        self.execute(FORGET_REMEMBERED, vec![answers_before.into()]).await.map(drop)
    }
}
