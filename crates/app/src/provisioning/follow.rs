//! What a change of a provider does to its provisioning.

use crate::{app::App, error::Error, frame::act::Act};
use crossfade_store::Provider;

impl App {
    /// Ends the provisioning tokens of a provider that is disabled, deleted or moved to another issuer.
    pub(crate) async fn end_provisioning_tokens(
        &self,
        act: &mut Act<'_>,
        provider: &Provider,
    ) -> Result<(), Error> {
        for row in act.tx.provisioning_tokens(&provider.id).await? {
            self.end_provisioning_token(act, provider, &row.id).await?;
        }
        Ok(())
    }

    /// Gives everyone the roles of their provisioned groups, because the provider gives other roles by them from now on.
    pub(crate) async fn settle_provisioned(
        &self,
        act: &mut Act<'_>,
        provider: &Provider,
    ) -> Result<(), Error> {
        for account in act.tx.accounts_in_scim_groups(&provider.id).await? {
            self.settle_account(act, provider, &account).await?;
        }
        Ok(())
    }
}
