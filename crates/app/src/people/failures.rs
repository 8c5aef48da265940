//! Failed sign-ins, as every node counts them. The rows have keyed digests instead of addresses and accounts, and are forgotten
//! when the failures are forgiven.

use crate::{app::App, error::Error, node::throttle::Subject};
use crossfade_core::Timestamp;
use crossfade_store::Tx;

impl App {
    /// Returns when the stored failures of each subject are forgiven.
    pub(super) async fn stored_failures(
        &self,
        tx: &mut Tx,
        subjects: &[Subject],
    ) -> Result<Vec<Option<Timestamp>>, Error> {
        let digests = self.digests_of(subjects);
        let found = tx.sign_in_failures(&digests).await?;
        Ok(digests.iter().map(|digest| found.get(digest).copied()).collect())
    }

    /// Stores a failure of each subject.
    pub(super) async fn store_failure(&self, subjects: &[Subject]) -> Result<(), Error> {
        let _turn = self.node.background_turn().await;
        let digests = self.digests_of(subjects);
        self.node
            .write(async |tx, now| {
                let found = tx.sign_in_failures(&digests).await?;
                for (subject, digest) in subjects.iter().zip(&digests) {
                    let forgiven_at = subject.after_failure(found.get(digest).copied(), now);
                    tx.set_sign_in_failures(digest, forgiven_at).await?;
                }
                Ok(())
            })
            .await
            .map(drop)
    }

    /// Counts a failure of a subject, whose failures so far are forgiven at `forgiven`.
    pub(super) async fn count_failure(
        &self,
        tx: &mut Tx,
        subject: &Subject,
        forgiven: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let digest = self.digests.failures(&subject.name);
        Ok(tx.set_sign_in_failures(&digest, subject.after_failure(forgiven, now)).await?)
    }

    /// Forgives the stored failures of a subject.
    pub(super) async fn forgive_stored(&self, tx: &mut Tx, subject: &Subject) -> Result<(), Error> {
        Ok(tx.forgive_sign_in_failures(&self.digests.failures(&subject.name)).await?)
    }

    fn digests_of(&self, subjects: &[Subject]) -> Vec<String> {
        subjects.iter().map(|subject| self.digests.failures(&subject.name)).collect()
    }
}
