//! Which client_ids were ever given in environments in front of other issuers.

use crossfade_core::environment::Slug;
use foldhash::fast::RandomState;
use std::{
    collections::HashSet,
    hash::{BuildHasher, Hash, Hasher},
};

/// Marks of client_ids. Two that collide are both taken for given, so that one of them is refused; nobody who does not know the
/// random state can look for one.
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
        self.marks.pin().insert(self.mark(environment, client_id));
    }

    pub(crate) fn contains(&self, environment: &Slug, client_id: &str) -> bool {
        self.marks.pin().contains(&self.mark(environment, client_id))
    }

    pub(crate) fn replacing(&self) -> Replacing<'_> {
        Replacing { ids: self, kept: HashSet::new() }
    }

    fn mark(&self, environment: &Slug, client_id: &str) -> u64 {
        let mut hasher = self.state.build_hasher();
        environment.as_str().hash(&mut hasher);
        let id = client_id.trim().bytes();
        let is_uuid = is_uuid(client_id);
        for byte in id.filter(|byte| !is_uuid || byte.is_ascii_hexdigit()) {
            hasher.write_u8(byte.to_ascii_lowercase());
        }
        hasher.finish()
    }
}

/// Whether a `client_id` is a UUID in any of its forms: with and without hyphens, in braces or parentheses.
fn is_uuid(client_id: &str) -> bool {
    let is_digit = |letter: &char| letter.is_ascii_hexdigit();
    client_id.trim().chars().all(|letter| is_digit(&letter) || "-{}()".contains(letter))
        && client_id.chars().filter(is_digit).count() == 32
}

impl Replacing<'_> {
    pub(crate) fn add(&mut self, environment: &Slug, client_id: &str) {
        self.kept.insert(self.ids.mark(environment, client_id));
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
        for given in [plain, &format!("{{{plain}}}"), "(6e74172b-be56-4843-9ff4-e66a39bb12e3) "] {
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
