//! Where the instance sends its messages from, and the place of a copy that is held.

use crate::{StoreError, Tx, catalogue::statements, db::Row};
use crossfade_core::{Timestamp, sending_place::SendingPlace};

/// The stored place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SendingPlaceRow {
    /// Place that messages are sent from.
    pub place: SendingPlace,
    /// Another place, and since when nothing is sent from there; `None` if nothing is held.
    pub held: Option<(SendingPlace, Timestamp)>,
}

statements! {
    READ = "SELECT one, place, held_place, held_since FROM sending_place";
    SET = "INSERT INTO sending_place (one, place) VALUES (1, $1)
           ON CONFLICT (one) DO UPDATE SET place = excluded.place, held_place = NULL, held_since = NULL";
    HOLD = "UPDATE sending_place SET held_place = $1, held_since = $2 WHERE one = 1";
}

fn place(row: &Row) -> Result<SendingPlaceRow, StoreError> {
    let held = row.opt_parsed("held_place", SendingPlace::parse)?;
    Ok(SendingPlaceRow {
        place: row.parsed("place", SendingPlace::parse)?,
        held: held.zip(row.opt_time("held_since")?),
    })
}

impl Tx {
    /// Returns where messages are sent from; `None` before the first start with mail.
    pub async fn sending_place(&mut self) -> Result<Option<SendingPlaceRow>, StoreError> {
        self.optional(READ, vec![]).await?.as_ref().map(place).transpose()
    }

    /// Sets where messages are sent from. Nothing is held any more.
    pub async fn set_sending_place(&mut self, place: &SendingPlace) -> Result<(), StoreError> {
        self.execute(SET, vec![place.to_text().into()]).await.map(drop)
    }

    /// Holds what would be sent from another place.
    pub async fn hold_sending(&mut self, place: &SendingPlace, since: Timestamp) -> Result<(), StoreError> {
        self.execute(HOLD, vec![place.to_text().into(), since.into()]).await.map(drop)
    }
}
