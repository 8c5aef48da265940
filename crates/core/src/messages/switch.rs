//! Messages that are switched off, for a person or for a client.

use super::{Class, Kind, OffFor};
use crate::Problem;
use schemars::{Schema, SchemaGenerator, json_schema};

/// What can be switched off: a kind of message, or a class with all its kinds, also those of later versions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Switch {
    /// A class.
    Class(Class),
    /// A kind.
    Kind(Kind),
}

impl Switch {
    /// Returns everything that a person can switch off.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::among(|kind| kind.off_for() != OffFor::Nobody)
    }

    /// Returns everything that can be switched off for a client.
    pub fn of_client() -> impl Iterator<Item = Self> {
        Self::among(|kind| kind.off_for() == OffFor::PersonOrClient)
    }

    fn among(is_among: fn(&Kind) -> bool) -> impl Iterator<Item = Self> {
        let kinds = move || Kind::ALL.iter().copied().filter(is_among);
        let has_kinds = move |class: &Class| kinds().any(|kind| kind.class() == *class);
        Class::ALL.into_iter().filter(has_kinds).map(Self::Class).chain(kinds().map(Self::Kind))
    }

    /// Returns the word that is stored and sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Class(class) => class.as_str(),
            Self::Kind(kind) => kind.as_str(),
        }
    }

    /// Reads a stored word; `None` for one of another version.
    pub fn parse(word: &str) -> Option<Self> {
        Self::all().find(|switch| switch.as_str() == word)
    }

    /// Reads a list of words for a person, each kept once.
    pub fn parse_all(field: &'static str, words: &[String]) -> Result<Vec<Self>, Problem> {
        Self::parse_among(field, words, Self::all)
    }

    /// Reads a list of words for a client, each kept once.
    pub fn parse_all_of_client(field: &'static str, words: &[String]) -> Result<Vec<Self>, Problem> {
        Self::parse_among(field, words, Self::of_client)
    }

    fn parse_among<I: Iterator<Item = Self>>(
        field: &'static str,
        words: &[String],
        among: impl Fn() -> I,
    ) -> Result<Vec<Self>, Problem> {
        let mut parsed = Vec::new();
        for word in words {
            let Some(switch) = among().find(|switch| switch.as_str() == word) else {
                let words: Vec<&str> = among().map(Self::as_str).collect();
                return Err(Problem::invalid(field, &format!("must contain only {}", words.join(", "))));
            };
            parsed.push(switch);
        }
        parsed.sort();
        parsed.dedup();
        Ok(parsed)
    }

    /// Whether this switch stops messages of a kind.
    pub fn stops(self, kind: Kind) -> bool {
        kind.off_for() != OffFor::Nobody
            && match self {
                Self::Class(class) => kind.class() == class,
                Self::Kind(own) => kind == own,
            }
    }
}

/// Whether messages of a kind are switched off.
pub fn is_off(kind: Kind, off: &[Switch]) -> bool {
    off.iter().any(|switch| switch.stops(kind))
}

/// Whether `after` stops messages that `before` does not.
pub fn stops_more(before: &[Switch], after: &[Switch]) -> bool {
    Kind::ALL.iter().any(|kind| is_off(*kind, after) && !is_off(*kind, before))
}

/// Returns the schema of a list of switches of a person.
pub fn switches_schema(_: &mut SchemaGenerator) -> Schema {
    schema_of(Switch::all())
}

/// Returns the schema of a list of switches of a client.
pub fn client_switches_schema(_: &mut SchemaGenerator) -> Schema {
    schema_of(Switch::of_client())
}

fn schema_of(switches: impl Iterator<Item = Switch>) -> Schema {
    let words: Vec<&str> = switches.map(Switch::as_str).collect();
    json_schema!({"type": "array", "maxItems": 100, "items": {"type": "string", "enum": words}})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn a_class_stops_its_kinds_and_a_kind_itself() {
        let off = Switch::parse_all("off", &words(&["wake", "secret.rotated", "wake"])).unwrap();
        assert_eq!(off.len(), 2);
        assert!(is_off(Kind::DeadlineImminent, &off) && is_off(Kind::SecretRotated, &off));
        assert!(!is_off(Kind::DeadlineNear, &off) && !is_off(Kind::SecretRotated, &[]));
    }

    #[test]
    fn what_nobody_can_switch_off_is_sent_whatever_is_off() {
        let all: Vec<Switch> = Switch::all().collect();
        for kind in Kind::ALL {
            assert_eq!(is_off(*kind, &all), kind.off_for() != OffFor::Nobody, "{kind:?}");
            let words = words(&[kind.as_str()]);
            let is_accepted = Switch::parse_all("off", &words).is_ok();
            assert_eq!(is_accepted, kind.off_for() != OffFor::Nobody, "{kind:?}");
            let is_of_client = Switch::parse_all_of_client("off", &words).is_ok();
            assert_eq!(is_of_client, kind.off_for() == OffFor::PersonOrClient, "{kind:?}");
        }
    }

    #[test]
    fn a_digest_is_switched_off_by_a_person_and_not_for_a_client() {
        let digest = words(&["digest"]);
        let off = Switch::parse_all("off", &digest).unwrap();
        assert!(is_off(Kind::WeeklyDigest, &off) && !is_off(Kind::EvidenceUnwritten, &off));
        assert!(Switch::parse_all_of_client("off", &digest).is_err());
        assert!(Switch::parse_all_of_client("off", &words(&["wake", "today"])).is_ok());
    }

    #[test]
    fn unknown_words_are_refused_when_set_and_ignored_when_stored() {
        assert_eq!(
            Switch::parse_all("off", &words(&["nonsense"])).unwrap_err().field.as_deref(),
            Some("off")
        );
        assert_eq!(Switch::parse("nonsense"), None);
    }

    #[test]
    fn more_is_off_only_if_a_message_stops_that_came_before() {
        let [wake, imminent] = [Switch::Class(Class::Wake), Switch::Kind(Kind::DeadlineImminent)];
        assert!(stops_more(&[], &[imminent]) && stops_more(&[imminent], &[Switch::Class(Class::Today)]));
        assert!(!stops_more(&[wake], &[imminent]) && !stops_more(&[imminent], &[]));
    }
}
