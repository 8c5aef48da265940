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

    /// Whether both are one place. What one of them does not know does not tell them apart.
    pub fn is_same(&self, other: &Self) -> bool {
        fn agrees<T: PartialEq>(one: &Option<T>, other: &Option<T>) -> bool {
            one.is_none() || other.is_none() || one == other
        }
        self.public_url == other.public_url
            && self.database == other.database
            && agrees(&self.number, &other.number)
            && agrees(&self.created, &other.created)
    }
}

/// Writes the place for people.
impl fmt::Display for SendingPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, database {}", self.public_url, self.database)?;
        match &self.number {
            Some(number) if self.database.starts_with('/') => write!(f, " (file {number})"),
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
        }
    }

    #[test]
    fn a_place_is_read_as_it_was_stored() {
        assert_eq!(SendingPlace::parse(&place().to_text()), Some(place()));
        assert_eq!(SendingPlace::parse("{}"), None);
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
    fn a_place_is_shown_without_what_only_machines_read() {
        let shown = "https://auth.example.com, database /var/lib/crossfade/crossfade.db (file 12)";
        assert_eq!(place().to_string(), shown);
    }
}
