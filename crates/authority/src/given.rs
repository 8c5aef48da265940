//! Which client_ids were ever given in environments in front of other issuers.

use crossfade_core::environment::Slug;
use foldhash::fast::RandomState;
use std::{
    collections::HashSet,
    hash::{BuildHasher, Hash, Hasher},
};

/// Marks of client_ids. If two collide, both count as given, and one of them is refused without need. Without the random state,
/// nobody can search for a collision.
#[derive(Default)]
pub(crate) struct GivenIds {
    state: RandomState,
    marks: papaya::HashSet<u64, RandomState>,
}

/// Replaces the marks. Marks that stay are never missing in between.
pub(crate) struct Replacing<'a> {
    ids: &'a GivenIds,
    kept: HashSet<u64>,
}

impl GivenIds {
    pub(crate) fn add(&self, environment: &Slug, client_id: &str) {
        for mark in self.marks(environment, client_id) {
            self.marks.pin().insert(mark);
        }
    }

    pub(crate) fn contains(&self, environment: &Slug, client_id: &str) -> bool {
        let number = number_at_start(client_id).map(|(number, _)| self.mark_of_number(environment, number));
        let marks = self.marks.pin();
        marks.contains(&self.mark(environment, client_id)) || number.is_some_and(|mark| marks.contains(&mark))
    }

    pub(crate) fn replacing(&self) -> Replacing<'_> {
        Replacing { ids: self, kept: HashSet::new() }
    }

    /// Returns the marks of a client_id that is given. Some databases take whatever begins with a number for that number.
    fn marks(&self, environment: &Slug, client_id: &str) -> impl Iterator<Item = u64> {
        let number = number_at_start(client_id).filter(|(_, is_all)| *is_all);
        let number = number.map(|(number, _)| self.mark_of_number(environment, number));
        std::iter::once(self.mark(environment, client_id)).chain(number)
    }

    fn mark_of_number(&self, environment: &Slug, number: &str) -> u64 {
        self.state.hash_one((environment.as_str(), "number", number))
    }

    fn mark(&self, environment: &Slug, client_id: &str) -> u64 {
        let mut hasher = self.state.build_hasher();
        environment.as_str().hash(&mut hasher);
        match uuid(client_id) {
            Some(digits) => digits.hash(&mut hasher),
            None => client_id.trim().to_ascii_lowercase().hash(&mut hasher),
        }
        hasher.finish()
    }
}

/// Returns the digits of a `client_id` that is a UUID in any of its forms: a URN, with and without hyphens, in braces or
/// parentheses, or of several numbers.
fn uuid(client_id: &str) -> Option<String> {
    let text = client_id.trim().to_ascii_lowercase();
    let text = text.strip_prefix("urn:uuid:").unwrap_or(&text).replace("0x", "");
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let is_uuid = text.chars().all(|letter| letter.is_ascii_hexdigit() || "-{}(),".contains(letter));
    (is_uuid && digits.len() == 32).then_some(digits)
}

/// Returns the number that a `client_id` begins with, without leading zeros, and whether it is all of it.
fn number_at_start(client_id: &str) -> Option<(&str, bool)> {
    let text = client_id.trim().trim_start_matches('+');
    let length = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(length);
    (length > 0).then_some((number.trim_start_matches('0'), rest.is_empty()))
}

impl Replacing<'_> {
    pub(crate) fn add(&mut self, environment: &Slug, client_id: &str) {
        self.kept.extend(self.ids.marks(environment, client_id));
    }

    pub(crate) fn finish(self) {
        let marks = self.ids.marks.pin();
        for mark in &self.kept {
            marks.insert(*mark);
        }
        marks.retain(|mark| self.kept.contains(mark));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_space_around_a_client_id_do_not_matter_and_the_environment_does() {
        let ids = GivenIds::default();
        let (here, there) = (Slug::from_stored("here".into()), Slug::from_stored("there".into()));
        ids.add(&here, "Billing App");
        for given in ["Billing App", "billing app", " BILLING APP  "] {
            assert!(ids.contains(&here, given), "{given}");
            assert!(!ids.contains(&there, given), "{given}");
        }
        for other in ["", "Billing", "BillingApp", "Billing App 2"] {
            assert!(!ids.contains(&here, other), "{other}");
        }
    }

    #[test]
    fn all_forms_of_a_uuid_are_one_client_id() {
        let (ids, here) = (GivenIds::default(), Slug::from_stored("here".into()));
        ids.add(&here, "6E74172B-BE56-4843-9ff4-e66a39bb12e3");
        let plain = "6e74172bbe5648439ff4e66a39bb12e3";
        for given in [
            plain,
            &format!("{{{plain}}}"),
            "(6e74172b-be56-4843-9ff4-e66a39bb12e3) ",
            &format!("URN:UUID:{plain}"),
            "{0x6e74172b,0xbe56,0x4843,{0x9f,0xf4,0xe6,0x6a,0x39,0xbb,0x12,0xe3}}",
        ] {
            assert!(ids.contains(&here, given), "{given}");
        }
        for other in [&plain[1..], &format!("{plain}0"), &format!("x{plain}")] {
            assert!(!ids.contains(&here, other), "{other}");
        }
        // Other hyphens belong to the name.
        ids.add(&here, "my-app");
        assert!(!ids.contains(&here, "myapp"));
    }

    #[test]
    fn whatever_begins_with_a_given_number_is_that_number() {
        let (ids, here) = (GivenIds::default(), Slug::from_stored("here".into()));
        ids.add(&here, "30");
        ids.add(&here, "7a");
        for given in ["30", "030", "+30", "30.0", "30x", " 30 "] {
            assert!(ids.contains(&here, given), "{given}");
        }
        for other in ["3", "300", "x30", "7", "7b", ""] {
            assert!(!ids.contains(&here, other), "{other}");
        }
    }

    #[test]
    fn replaced_client_ids_are_forgotten_unless_they_stay() {
        let (ids, here) = (GivenIds::default(), Slug::from_stored("here".into()));
        ids.add(&here, "a");
        ids.add(&here, "b");
        let mut replacing = ids.replacing();
        replacing.add(&here, "b");
        replacing.add(&here, "c");
        replacing.finish();
        assert_eq!(["a", "b", "c"].map(|id| ids.contains(&here, id)), [false, true, true]);
    }
}
