//! The sealed data keys in a journal: only the present seal of each may stay, because a former master key opens the
//! earlier ones.

use super::lines::{Contents, Line};
use crossfade_core::ended::{End, Hex};
use crossfade_store::DataKey;
use std::collections::BTreeMap;

impl Contents {
    /// Returns the IDs of stored data keys that the journal does not contain as they are stored.
    pub(crate) fn lacking_data_keys(&self, stored: &[DataKey]) -> Vec<String> {
        let noted = self.data_keys();
        let lacks = |key: &&DataKey| noted.get(key.id.as_str()).is_none_or(|seal| seal.0 != key.sealed);
        stored.iter().filter(lacks).map(|key| key.id.clone()).collect()
    }

    /// Returns the IDs of stored data keys that the journal contains with another seal.
    pub(crate) fn resealed_data_keys(&self, stored: &[DataKey]) -> Vec<String> {
        let noted = self.data_keys();
        let is_resealed =
            |key: &&DataKey| noted.get(key.id.as_str()).is_some_and(|seal| seal.0 != key.sealed);
        stored.iter().filter(is_resealed).map(|key| key.id.clone()).collect()
    }

    /// Whether it contains a seal that a later line supersedes.
    pub(crate) fn has_old_seals(&self) -> bool {
        self.seals().count() > self.data_keys().len()
    }

    /// Returns every seal of a data key, also superseded ones.
    pub(crate) fn seals(&self) -> impl Iterator<Item = &Hex> {
        self.ends.iter().filter_map(|(_, end)| match end {
            End::DataKey { sealed, .. } => sealed.as_ref(),
            _ => None,
        })
    }

    /// Returns the last seal of each data key by its ID, without deleted keys.
    fn data_keys(&self) -> BTreeMap<&str, &Hex> {
        let mut keys = BTreeMap::new();
        for (_, end) in &self.ends {
            match end {
                End::DataKey { id, sealed: Some(sealed), .. } => {
                    keys.insert(id.as_str(), sealed);
                }
                End::DataKeyDeleted { id } => {
                    keys.remove(id.as_str());
                }
                _ => {}
            }
        }
        keys
    }
}

/// Whether a line may supersede the seal of a data key.
pub(crate) fn is_about_data_key(line: &Line) -> bool {
    matches!(line, Line::End { end: End::DataKey { .. } | End::DataKeyDeleted { .. }, .. })
}

#[cfg(test)]
mod tests {
    use super::{super::lines::Chain, *};
    use crossfade_core::Timestamp;

    fn contents(ends: Vec<End>) -> Contents {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &[1; 32]);
        Contents {
            id: "j".into(),
            after: 0,
            last: ends.len() as i64,
            releases: Vec::new(),
            is_in_use: true,
            ends: (1..).zip(ends).collect(),
            hashes: BTreeMap::new(),
            chain: Chain::new(&key),
            length: 0,
        }
    }

    fn sealed(id: &str, seal: u8) -> End {
        let created_at = Timestamp::from_micros(1);
        End::DataKey { id: id.into(), purpose: "seal".into(), sealed: Some(Hex(vec![seal])), created_at }
    }

    fn stored(id: &str, seal: u8) -> DataKey {
        DataKey { id: id.into(), purpose: "seal".into(), sealed: vec![seal] }
    }

    #[test]
    fn a_data_key_that_is_new_or_sealed_again_is_lacking() {
        let journal = contents(vec![sealed("a", 1), sealed("b", 1), sealed("b", 2)]);
        let keys = [stored("a", 1), stored("b", 1), stored("c", 1)];
        assert_eq!(journal.lacking_data_keys(&keys), ["b", "c"]);
        assert_eq!(journal.resealed_data_keys(&keys), ["b"]);
        assert!(journal.lacking_data_keys(&[stored("a", 1), stored("b", 2)]).is_empty());
    }

    #[test]
    fn a_superseded_seal_is_an_old_one() {
        assert!(!contents(vec![sealed("a", 1), sealed("b", 1)]).has_old_seals());
        assert!(contents(vec![sealed("a", 1), sealed("a", 2)]).has_old_seals());
        let deleted = End::DataKeyDeleted { id: "a".into() };
        assert!(contents(vec![sealed("a", 1), deleted.clone()]).has_old_seals());
        assert!(!contents(vec![deleted]).has_old_seals());
    }
}
