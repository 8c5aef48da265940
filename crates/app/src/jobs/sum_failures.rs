//! Records the totals of failed authentications.

use crate::{
    app::App,
    error::Error,
    frame::entry::{About, Author},
};
use crossfade_core::audit::{Actor, Event};
use std::time::Duration;

/// How long after its end an hour of failed authentications is totalled: by then its last flush is stored.
const SUMMED_AFTER: Duration = Duration::from_secs(60);

impl App {
    /// Records the totals of failed authentications for hours that have ended.
    pub(crate) async fn sum_failures(&self) -> Result<(), Error> {
        self.change_as(Actor::machine("serve"), async |act| {
            for sum in act.tx.sum_failures(act.now.before(SUMMED_AFTER)).await? {
                let place = match &sum.registration_id {
                    Some(id) => act.tx.place_of_registration(id).await?,
                    None => None,
                };
                let event = Event::AuthenticationFailures {
                    reason: sum.reason,
                    since: sum.hour,
                    count: sum.count,
                    sources: sum.sources,
                };
                let client = Author::client(place.as_ref());
                act.on_behalf_of(client).audit(&event, About::place(place.as_ref())).await?;
            }
            Ok(())
        })
        .await
    }
}
