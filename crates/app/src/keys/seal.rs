//! Envelope encryption. Values are sealed under data keys, and data keys under the master key, with AES-256-GCM and the
//! key's id in the clear. The key's id and the place of the value are bound as associated data, so that a sealed value
//! that is copied to another row, or whose row is moved, cannot be opened.

use crate::{
    error::Error,
    keys::{
        master_key::MasterKeys,
        place::{SealPlace, hex},
    },
};
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    hmac,
};
use crossfade_core::{Code, Problem, Random};
use crossfade_store::{DataKey, InstanceRow};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use zeroize::{Zeroize, Zeroizing};

/// Format that is written and read.
const VERSION: u8 = 2;
/// Format of older versions, which bound fewer properties. Read only until a database is converted.
const OLD_VERSION: u8 = 1;
const ID: usize = 8;
const HEADER: usize = 1 + ID + NONCE_LEN;

/// Purpose of data keys that seal values.
pub(crate) const PURPOSE_SEAL: &str = "seal";
/// Purpose of the key of the hash that verifies secrets.
pub(crate) const PURPOSE_VERIFY: &str = "verify";
/// Purpose of the key that other keys are derived from. Before the first verifier key is replaced, that key is the root.
pub(crate) const PURPOSE_ROOT: &str = "root";
/// Purpose of a key that seals nothing and records that a conversion has begun.
pub(crate) const PURPOSE_CARRY_OVER: &str = "carry_over";

/// Whether a sealed value has the format of older versions.
pub(crate) fn is_old_seal(sealed: &[u8]) -> bool {
    sealed.first() == Some(&OLD_VERSION)
}

/// Returns the id of the key that sealed a value; `None` if it is too short to name one.
pub(crate) fn sealed_by(sealed: &[u8]) -> Option<String> {
    sealed.get(1..=ID).map(hex)
}

/// One AES-256-GCM key and its id.
pub(crate) struct SealKey {
    id: [u8; ID],
    key: Option<RandomizedNonceKey>,
}

impl SealKey {
    pub(crate) fn new(id: [u8; ID], bytes: &[u8; 32]) -> Self {
        Self { id, key: RandomizedNonceKey::new(&AES_256_GCM, bytes).ok() }
    }

    /// Returns the id, as it is shown.
    pub(crate) fn id(&self) -> String {
        hex(&self.id)
    }

    fn associated(&self, version: u8, place: &[u8]) -> Vec<u8> {
        let mut data = vec![version];
        data.extend_from_slice(&self.id);
        data.extend_from_slice(place);
        data
    }

    /// Seals `plain` for `place`: version, key id, nonce, ciphertext and tag.
    pub(crate) fn seal(&self, place: &SealPlace<'_>, plain: &[u8]) -> Result<Vec<u8>, Error> {
        let key = self.key.as_ref().ok_or_else(|| Error::internal("no sealing key"))?;
        let mut body = plain.to_vec();
        let nonce = key
            .seal_in_place_append_tag(Aad::from(self.associated(VERSION, &place.bound())), &mut body)
            .map_err(|_| Error::internal("sealing failed"))?;
        let mut sealed = vec![VERSION];
        sealed.extend_from_slice(&self.id);
        sealed.extend_from_slice(nonce.as_ref());
        sealed.append(&mut body);
        Ok(sealed)
    }

    /// Opens a value sealed for `place`; `None` if it was sealed for another place or with another key.
    pub(crate) fn open(&self, place: &SealPlace<'_>, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        self.open_version(VERSION, &place.bound(), sealed)
    }

    /// Opens a value that an older version sealed for `place`.
    pub(crate) fn open_old(&self, place: &SealPlace<'_>, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        self.open_version(OLD_VERSION, place.to_string().as_bytes(), sealed)
    }

    fn open_version(&self, version: u8, place: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        if sealed.len() < HEADER || sealed[0] != version || sealed[1..=ID] != self.id {
            return None;
        }
        let nonce = Nonce::try_assume_unique_for_key(&sealed[1 + ID..HEADER]).ok()?;
        let mut body = sealed[HEADER..].to_vec();
        let associated = Aad::from(self.associated(version, place));
        let length = self.key.as_ref()?.open_in_place(nonce, associated, &mut body).ok()?.len();
        let plain = Zeroizing::new(body[..length].to_vec());
        body.zeroize();
        Some(plain)
    }
}

/// The data keys that seal values, opened.
pub(crate) struct Vault {
    /// Oldest first.
    keys: RwLock<Vec<Arc<SealKey>>>,
    /// Whether the data keys have the format of older versions. Only then are values of that format opened. Creating
    /// such data keys requires the master key, so nobody else can bring that format back.
    pub(crate) is_old: bool,
    /// Whether a conversion to the present format has begun.
    pub(crate) is_being_carried_over: bool,
}

impl Vault {
    /// Seals with the newest key.
    pub(crate) fn seal(&self, place: &SealPlace<'_>, plain: &[u8]) -> Result<Vec<u8>, Error> {
        let newest = self.keys().last().cloned();
        newest.ok_or_else(|| Error::internal("no data key"))?.seal(place, plain)
    }

    fn keys(&self) -> RwLockReadGuard<'_, Vec<Arc<SealKey>>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the ids of the keys, oldest first.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.keys().iter().map(|key| key.id()).collect()
    }

    /// Takes the keys of another vault.
    pub(crate) fn replace(&self, with: &Vault) {
        let keys = with.keys().clone();
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// Opens a value with the key that sealed it.
    pub(crate) fn open(&self, place: &SealPlace<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        let open = |key: &SealKey| {
            let old = || self.is_old.then(|| key.open_old(place, sealed)).flatten();
            key.open(place, sealed).or_else(old)
        };
        self.keys().iter().find_map(|key| open(key)).ok_or_else(|| {
            Error::internal(format!("{place} does not open: it was sealed elsewhere or changed"))
        })
    }
}

/// Returns a key derived from `root` for the single purpose named by `label`.
pub(crate) fn derived(root: &[u8], label: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    key.copy_from_slice(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, root), label).as_ref());
    key
}

/// Returns a new data key, sealed.
pub(crate) fn new_data_key(
    master: &MasterKeys,
    purpose: &str,
    random: &dyn Random,
) -> Result<DataKey, Error> {
    let mut bytes = Zeroizing::new([0; 32]);
    random.fill(bytes.as_mut_slice());
    data_key_of(&bytes, master, purpose, random)
}

/// Returns a data key of these bytes, sealed.
pub(crate) fn data_key_of(
    bytes: &[u8; 32],
    master: &MasterKeys,
    purpose: &str,
    random: &dyn Random,
) -> Result<DataKey, Error> {
    let mut id = [0; ID];
    random.fill(&mut id);
    let id = hex(&id);
    let sealed = master.seal(&SealPlace::DataKey { purpose, id: &id }, bytes.as_slice())?;
    Ok(DataKey { id, purpose: purpose.to_owned(), sealed })
}

/// The data keys that seal no values, opened.
pub(crate) struct VerifierKeyBytes {
    /// IDs and bytes of the keys that verify secrets, oldest first.
    pub(crate) keys: Vec<(String, [u8; 32])>,
    /// The root of derived keys, if it is a key of its own.
    root: Option<[u8; 32]>,
}

/// Opens the stored data keys. Fails, and with it the start of the server, if another master key sealed them: a server
/// that cannot open its keys must not create new ones.
pub(crate) fn open_data_keys(
    master: &MasterKeys,
    stored: &[DataKey],
) -> Result<(Vault, VerifierKeyBytes), Error> {
    let (mut keys, mut verifier) = (Vec::new(), VerifierKeyBytes { keys: Vec::new(), root: None });
    let (mut is_old, mut is_being_carried_over) = (false, false);
    for key in stored {
        let place = SealPlace::DataKey { purpose: &key.purpose, id: &key.id };
        is_old |= is_old_seal(&key.sealed);
        let bytes = master
            .open(&place, &key.sealed)
            .or_else(|| master.open_old(&place, &key.sealed))
            .and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok())
            .ok_or_else(|| Problem::new(Code::Unavailable, why_closed(master, key)))?;
        match key.purpose.as_str() {
            PURPOSE_VERIFY => verifier.keys.push((key.id.clone(), bytes)),
            PURPOSE_ROOT => verifier.root = Some(bytes),
            PURPOSE_CARRY_OVER => is_being_carried_over |= !is_old_seal(&key.sealed),
            _ => keys.push(Arc::new(SealKey::new(
                unhex(&key.id).ok_or_else(|| Error::internal("a data key's id is corrupt"))?,
                &bytes,
            ))),
        }
    }
    Ok((Vault { keys: RwLock::new(keys), is_old, is_being_carried_over }, verifier))
}

/// Returns why a data key does not open.
fn why_closed(master: &MasterKeys, key: &DataKey) -> String {
    if master.holds_key_of(&key.sealed) {
        return format!(
            "Data key {} of this database was changed, so its master key does not open it. Nothing was changed. \
            Restore the last backup into an empty database.",
            key.id
        );
    }
    let needed = sealed_by(&key.sealed).unwrap_or_default();
    let held = master.ids().join(" and ");
    format!(
        "The master key does not match this database, which needs master key {needed}, not {held}. Nothing was \
        changed. Put key {needed} back into the master key file."
    )
}

/// Returns a data key of an older version with a new seal; `None` if it is not one.
pub(crate) fn resealed_data_key(master: &MasterKeys, key: &DataKey) -> Result<Option<Vec<u8>>, Error> {
    if !is_old_seal(&key.sealed) {
        return Ok(None);
    }
    let place = SealPlace::DataKey { purpose: &key.purpose, id: &key.id };
    let bytes =
        master.open_old(&place, &key.sealed).ok_or_else(|| Error::internal("a data key is corrupt"))?;
    master.seal(&place, &bytes).map(Some)
}

/// Returns a data key that another master key sealed with the seal of the first one; `None` if that one sealed it.
pub(crate) fn reseal_data_key(master: &MasterKeys, key: &DataKey) -> Result<Option<Vec<u8>>, Error> {
    if sealed_by(&key.sealed).is_some_and(|id| id == master.first_id()) {
        return Ok(None);
    }
    let place = SealPlace::DataKey { purpose: &key.purpose, id: &key.id };
    let bytes = master.open(&place, &key.sealed).ok_or_else(|| Error::internal("a data key is corrupt"))?;
    master.seal(&place, &bytes).map(Some)
}

fn unhex(text: &str) -> Option<[u8; ID]> {
    let number = u64::from_str_radix(text, 16).ok()?;
    (text.len() == 2 * ID).then(|| number.to_be_bytes())
}

/// Whether the row of an instance was written with this master key.
pub(crate) fn is_bound(master: &MasterKeys, instance: &InstanceRow) -> bool {
    master.open(&SealPlace::Instance { id: &instance.id }, &instance.binding).is_some()
}

/// Returns the root key for deriving keys that only need to be the same in each process.
pub(crate) fn root(verifier_keys: &VerifierKeyBytes) -> [u8; 32] {
    let first = || verifier_keys.keys.first().map(|(_, bytes)| *bytes);
    verifier_keys.root.or_else(first).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossfade_authority::SystemRandom;
    use crossfade_core::{RegistrationId, SecretId};

    fn registration(n: u8) -> RegistrationId {
        RegistrationId::parse(&format!("reg_{n:022}")).unwrap()
    }

    fn secret(n: u8) -> SecretId {
        SecretId::parse(&format!("sec_{n:022}")).unwrap()
    }

    #[test]
    fn a_sealed_value_opens_only_in_its_place_and_unchanged() {
        let key = SealKey::new([7; ID], &[1; 32]);
        let (one, two) = ((registration(1), secret(1)), (registration(2), secret(2)));
        let place = SealPlace::Secret { registration: &one.0, secret: &one.1 };
        let sealed = key.seal(&place, b"value").unwrap();
        assert_eq!(key.open(&place, &sealed).unwrap().as_slice(), b"value");
        for other in [
            SealPlace::Secret { registration: &one.0, secret: &two.1 },
            SealPlace::Secret { registration: &two.0, secret: &one.1 },
            SealPlace::Answer { actor: one.0.as_str(), key: one.1.as_str() },
            SealPlace::DataKey { purpose: one.0.as_str(), id: one.1.as_str() },
            SealPlace::Cursor { list: "clients" },
        ] {
            assert!(key.open(&other, &sealed).is_none(), "{other}");
        }
        assert!(SealKey::new([7; ID], &[2; 32]).open(&place, &sealed).is_none(), "another key");
        assert!(SealKey::new([8; ID], &[1; 32]).open(&place, &sealed).is_none(), "another key id");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key.open(&place, &changed).is_none(), "byte {at}");
        }
        assert!(key.open(&place, &sealed[..HEADER - 1]).is_none());
        assert_ne!(sealed, key.seal(&place, b"value").unwrap(), "a fresh nonce each time");
        assert!(!sealed.windows(5).any(|window| window == b"value"));
    }

    /// Returns what an older version wrote.
    fn old_seal(key: &SealKey, place: &SealPlace<'_>, plain: &[u8]) -> Vec<u8> {
        let associated = Aad::from(key.associated(OLD_VERSION, place.to_string().as_bytes()));
        let mut body = plain.to_vec();
        let nonce = key.key.as_ref().unwrap().seal_in_place_append_tag(associated, &mut body).unwrap();
        [&[OLD_VERSION][..], &key.id, nonce.as_ref(), &body].concat()
    }

    #[test]
    fn the_old_format_opens_only_before_a_database_is_being_carried_over() {
        let vault = |is_old| Vault {
            keys: RwLock::new(vec![Arc::new(SealKey::new([7; ID], &[1; 32]))]),
            is_old,
            is_being_carried_over: false,
        };
        let (registration, secret) = (registration(1), secret(1));
        let place = SealPlace::Secret { registration: &registration, secret: &secret };
        let mut sealed = old_seal(&vault(true).keys()[0], &place, b"value");
        assert!(is_old_seal(&sealed));
        assert_eq!(vault(true).open(&place, &sealed).unwrap().as_slice(), b"value");
        assert!(vault(false).open(&place, &sealed).is_err());
        sealed[0] = VERSION;
        assert!(vault(true).open(&place, &sealed).is_err(), "the format is bound, too");
        let new = vault(true).seal(&place, b"value").unwrap();
        assert!(!is_old_seal(&new) && vault(false).open(&place, &new).is_ok());
    }

    #[test]
    fn data_keys_of_an_older_version_are_known_and_sealed_anew() {
        let directory = std::env::temp_dir().join(format!("crossfade-old-keys-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let master = MasterKeys::create(&directory.join("key"), &SystemRandom).unwrap();
        std::fs::remove_dir_all(&directory).unwrap();
        let place = SealPlace::DataKey { purpose: PURPOSE_SEAL, id: "0000000000000007" };
        let sealed = old_seal(master.first(), &place, &[9; 32]);
        let old = DataKey { id: "0000000000000007".into(), purpose: PURPOSE_SEAL.into(), sealed };
        assert!(open_data_keys(&master, std::slice::from_ref(&old)).unwrap().0.is_old);
        let sealed = resealed_data_key(&master, &old).unwrap().unwrap();
        let new = DataKey { sealed, ..old };
        assert!(!open_data_keys(&master, std::slice::from_ref(&new)).unwrap().0.is_old);
        assert!(resealed_data_key(&master, &new).unwrap().is_none());
    }

    #[test]
    fn another_master_key_opens_nothing() {
        let dir = std::env::temp_dir().join(format!("crossfade-master-key-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (one, two) = (dir.join("one"), dir.join("two"));
        let _ = (std::fs::remove_file(&one), std::fs::remove_file(&two));
        let master = MasterKeys::create(&one, &SystemRandom).unwrap();
        let other = MasterKeys::create(&two, &SystemRandom).unwrap();
        let stored = [PURPOSE_SEAL, PURPOSE_VERIFY]
            .map(|purpose| new_data_key(&master, purpose, &SystemRandom).unwrap());
        let again = MasterKeys::read(&one).unwrap().unwrap();
        let (vault, verifier) = open_data_keys(&again, &stored).unwrap();
        assert_eq!(verifier.keys.len(), 1);
        assert!(vault.seal(&SealPlace::Cursor { list: "clients" }, b"y").is_ok() && !vault.is_old);
        assert!(open_data_keys(&other, &stored).is_err());
        assert!(MasterKeys::create(&one, &SystemRandom).is_err(), "an existing key is never overwritten");
        assert!(MasterKeys::read(&dir.join("none")).unwrap().is_none());
        std::fs::write(&two, "not a key").unwrap();
        assert!(MasterKeys::read(&two).is_err());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
