//! Where an instance sends its messages from. A copy of its database is in another place.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A place that messages are sent from: the public URL, and the database behind it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SendingPlace {
    /// Base of issuers and links.
    pub public_url: String,
    /// Path of the database file, or `host:port/name` of a PostgreSQL database.
    pub database: String,
    /// Inode of the file, or system identifier of the PostgreSQL server; `None` if it is unknown.
    pub number: Option<String>,
    /// When the file was created, in seconds since 1970; `None` on PostgreSQL, and where the file system does not know.
    pub created: Option<u64>,
    /// The timeline of the PostgreSQL server, which each promotion of a standby increases; `None` if it is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeline: Option<u32>,
    /// When the PostgreSQL server was started, in microseconds since 1970; `None` if it is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<i64>,
}

impl SendingPlace {
    /// Reads a stored place; `None` if it cannot be read.
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Returns the place as it is stored.
    pub fn to_text(&self) -> String {
        serde_json::json!(self).to_string()
    }

    /// Whether `now` is the place that this one was before. What one of them does not know does not tell them apart.
    pub fn is_same(&self, now: &Self) -> bool {
        fn agrees<T: PartialEq>(one: &Option<T>, other: &Option<T>) -> bool {
            one.is_none() || other.is_none() || one == other
        }
        let is_same_database = match self.database == now.database {
            true => agrees(&self.number, &now.number) && agrees(&self.created, &now.created),
            false => self.is_renamed_to(now),
        };
        self.public_url == now.public_url && is_same_database
    }

    /// Whether a PostgreSQL database has only another address: it is on the same running server. A copy of the data
    /// directory, a standby and a recovery to a point in time have its system identifier, but another time of the start.
    fn is_renamed_to(&self, now: &Self) -> bool {
        fn name(place: &SendingPlace) -> Option<&str> {
            place.database.rsplit_once('/').map(|(_, name)| name)
        }
        let is_same_run = self.started.is_some() && self.started == now.started;
        let is_same_system = self.number.is_some() && self.number == now.number;
        is_same_run && is_same_system && name(self) == name(now)
    }
}

/// Writes the place for people.
impl fmt::Display for SendingPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, database {}", self.public_url, self.database)?;
        match &self.number {
            Some(number) if self.database.starts_with('/') && self.timeline.is_none() => {
                write!(f, " (file {number})")
            }
            Some(number) => write!(f, " (system {number})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> SendingPlace {
        SendingPlace {
            public_url: "https://auth.example.com".into(),
            database: "/var/lib/crossfade/crossfade.db".into(),
            number: Some("12".into()),
            created: Some(1_795_525_500),
            timeline: None,
            started: None,
        }
    }

    fn on_postgres() -> SendingPlace {
        SendingPlace {
            database: "db.example.com:5432/crossfade".into(),
            created: None,
            timeline: Some(1),
            started: Some(5),
            ..place()
        }
    }

    #[test]
    fn a_place_is_read_as_it_was_stored() {
        assert_eq!(SendingPlace::parse(&place().to_text()), Some(place()));
        assert_eq!(SendingPlace::parse(&on_postgres().to_text()), Some(on_postgres()));
        assert_eq!(SendingPlace::parse("{}"), None);
        let earlier = r#"{"public_url":"https://auth.example.com","database":"db:5432/crossfade","number":"12","created":null}"#;
        assert_eq!(SendingPlace::parse(earlier).unwrap().started, None, "of an earlier version");
    }

    #[test]
    fn each_part_tells_places_apart_and_an_unknown_part_does_not() {
        let changed: [fn(&mut SendingPlace); 4] = [
            |it| it.public_url.push('2'),
            |it| it.database.push('2'),
            |it| it.number = Some("13".into()),
            |it| it.created = Some(1),
        ];
        for change in changed {
            let mut other = place();
            change(&mut other);
            assert!(!place().is_same(&other) && !other.is_same(&place()), "{other:?}");
        }
        let vague = SendingPlace { number: None, created: None, ..place() };
        assert!(place().is_same(&vague) && vague.is_same(&place()) && place().is_same(&place()));
    }

    #[test]
    fn another_address_of_the_same_server_is_the_same_place() {
        let before = on_postgres();
        let renamed = SendingPlace { database: "192.0.2.1:5432/crossfade".into(), ..before.clone() };
        assert!(before.is_same(&renamed));
        let promoted = SendingPlace { timeline: Some(2), started: Some(9), ..before.clone() };
        assert!(before.is_same(&promoted), "a restart or a failover at the same address");
    }

    #[test]
    fn a_copy_of_a_server_at_another_address_is_another_place() {
        let before = on_postgres();
        let renamed = SendingPlace { database: "192.0.2.1:5432/crossfade".into(), ..before.clone() };
        let changed: [fn(&mut SendingPlace); 7] = [
            |it| it.started = Some(9),
            // A standby that was promoted, or a recovery to a point in time.
            |it| (it.timeline, it.started) = (Some(2), Some(9)),
            |it| it.started = None,
            |it| it.number = Some("13".into()),
            |it| it.number = None,
            |it| it.database.push('2'),
            |it| it.public_url.push('2'),
        ];
        for change in changed {
            let mut copy = renamed.clone();
            change(&mut copy);
            assert!(!before.is_same(&copy), "{copy:?}");
        }
        let unknown = SendingPlace { timeline: None, started: None, ..before };
        assert!(!unknown.is_same(&renamed), "of an earlier version");
    }

    #[test]
    fn a_place_is_shown_without_what_only_machines_read() {
        let shown = "https://auth.example.com, database /var/lib/crossfade/crossfade.db (file 12)";
        assert_eq!(place().to_string(), shown);
        let shown = "https://auth.example.com, database db.example.com:5432/crossfade (system 12)";
        assert_eq!(on_postgres().to_string(), shown);
    }
}
