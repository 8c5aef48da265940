//! Looks up a credential: a known one immediately, and an unknown one in its queue.

use crate::{app::App, error::Error, frame::principal::Intent};
use crossfade_core::Code;
use crossfade_store::{Purpose, Tx};
use std::net::IpAddr;

impl App {
    /// Looks up a credential by its digest: a known one with the purpose of its request, an unknown one in the queue.
    pub(crate) async fn look_up<T>(
        &self,
        digest: &[u8],
        address: Option<IpAddr>,
        intent: Intent,
        work: impl AsyncFnOnce(&mut Tx) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if self.node.strangers.is_known(digest) {
            let found = self.read_for(intent, work).await;
            if found.as_ref().is_err_and(|error| error.problem.code == Code::Unauthenticated) {
                self.node.strangers.forget(digest);
            }
            return found;
        }
        let found = self.look_up_for(address, work).await?;
        self.node.strangers.know(digest);
        Ok(found)
    }

    /// Looks something up for an unknown caller at this address.
    pub(crate) async fn look_up_for<T>(
        &self,
        address: Option<IpAddr>,
        work: impl AsyncFnOnce(&mut Tx) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let _turn = self.node.strangers.turn(address).await?;
        self.db.read_for(Purpose::LookUp, work).await
    }
}
