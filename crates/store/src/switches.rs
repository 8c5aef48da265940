//! Messages that are switched off, and the time zones of people.

use crate::{StoreError, Tx, catalogue::statements};
use crossfade_core::{ClientId, Timestamp, UserId, messages::Switch};
use std::collections::HashMap;

statements! {
    OFF = "SELECT word FROM messages_off WHERE subject = $1";
    OFF_OF = "SELECT u.email, m.word FROM users u JOIN (VALUES {rows:1}) AS v ON u.email = v.column1
              JOIN messages_off m ON m.subject = u.id WHERE u.deleted_at IS NULL";
    SET = "INSERT INTO messages_off (subject, word, since) VALUES ($1, $2, $3)";
    CLEAR = "DELETE FROM messages_off WHERE subject = $1";
    ZONE = "SELECT time_zone FROM users WHERE id = $1";
    ZONES_OF = "SELECT u.email, u.time_zone FROM users u JOIN (VALUES {rows:1}) AS v ON u.email = v.column1
                WHERE u.deleted_at IS NULL AND u.time_zone IS NOT NULL";
    ZONES = "SELECT DISTINCT time_zone FROM users WHERE time_zone IS NOT NULL AND deleted_at IS NULL ORDER BY time_zone";
    SET_ZONE = "UPDATE users SET time_zone = $2, version = version + 1 WHERE id = $1";
    TOUCH_CLIENT = "UPDATE clients SET version = version + 1 WHERE id = $1";
}

/// What messages can be switched off for.
#[derive(Clone, Copy, Debug)]
pub enum SwitchedFor<'a> {
    /// A person.
    Person(&'a UserId),
    /// A client.
    Client(&'a ClientId),
}

impl SwitchedFor<'_> {
    fn id(&self) -> &str {
        match self {
            Self::Person(id) => id.as_str(),
            Self::Client(id) => id.as_str(),
        }
    }
}

impl Tx {
    /// Returns what is switched off for a person or a client. Words of another version are left out.
    pub async fn switches(&mut self, of: SwitchedFor<'_>) -> Result<Vec<Switch>, StoreError> {
        let rows = self.rows(OFF, vec![of.id().into()]).await?;
        let words = rows.iter().map(|row| row.text("word")).collect::<Result<Vec<_>, _>>()?;
        let mut switches: Vec<Switch> = words.iter().filter_map(|word| Switch::parse(word)).collect();
        switches.sort();
        Ok(switches)
    }

    /// Returns what the people at these addresses have switched off, in one statement.
    pub async fn switches_at(
        &mut self,
        addresses: &[&str],
    ) -> Result<HashMap<String, Vec<Switch>>, StoreError> {
        let keys: Vec<_> = addresses.iter().map(|address| vec![(*address).into()]).collect();
        let mut switches: HashMap<_, Vec<_>> = HashMap::new();
        for row in self.look_up(OFF_OF, &keys).await? {
            if let Some(switch) = Switch::parse(&row.text("word")?) {
                switches.entry(row.text("email")?).or_default().push(switch);
            }
        }
        Ok(switches)
    }

    /// Sets what is switched off for a person or a client, and increases the version of the client.
    pub async fn set_switches(
        &mut self,
        of: SwitchedFor<'_>,
        off: &[Switch],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.execute(CLEAR, vec![of.id().into()]).await?;
        for switch in off {
            self.execute(SET, vec![of.id().into(), switch.as_str().into(), now.into()]).await?;
        }
        match of {
            SwitchedFor::Client(id) => self.execute(TOUCH_CLIENT, vec![id.as_str().into()]).await.map(drop),
            SwitchedFor::Person(_) => Ok(()),
        }
    }

    /// Returns the name of a person's time zone; `None` if none is set.
    pub async fn time_zone(&mut self, user: &UserId) -> Result<Option<String>, StoreError> {
        let row = self.optional(ZONE, vec![user.as_str().into()]).await?;
        Ok(row.map(|row| row.opt_text("time_zone")).transpose()?.flatten())
    }

    /// Returns the names of the time zones that people at these addresses have set, in one statement.
    pub async fn time_zones_at(&mut self, addresses: &[&str]) -> Result<HashMap<String, String>, StoreError> {
        let keys: Vec<_> = addresses.iter().map(|address| vec![(*address).into()]).collect();
        let rows = self.look_up(ZONES_OF, &keys).await?;
        rows.iter().map(|row| Ok((row.text("email")?, row.text("time_zone")?))).collect()
    }

    /// Returns the names of the time zones that anybody has set.
    pub async fn time_zones(&mut self) -> Result<Vec<String>, StoreError> {
        self.rows(ZONES, vec![]).await?.iter().map(|row| row.text("time_zone")).collect()
    }

    /// Sets a person's time zone, and increases the version of the account.
    pub async fn set_time_zone(&mut self, user: &UserId, zone: Option<&str>) -> Result<(), StoreError> {
        self.execute(SET_ZONE, vec![user.as_str().into(), zone.map(str::to_owned).into()]).await.map(drop)
    }
}
