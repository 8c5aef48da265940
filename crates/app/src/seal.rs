//! Envelope encryption. Values are sealed under data keys, data keys under the master key: AES-256-GCM, with
//! the key's id in the clear and the place of the value bound as associated data, so that a sealed value
//! that is copied to another row does not open.

use crate::{error::Error, master_key::MasterKey};
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    hmac,
};
use crossfade_core::{Code, Problem, Random};
use crossfade_store::DataKey;
use zeroize::{Zeroize, Zeroizing};

const VERSION: u8 = 1;
const ID: usize = 8;
const HEADER: usize = 1 + ID + NONCE_LEN;

/// What data keys are for.
pub(crate) const PURPOSE_SEAL: &str = "seal";
/// The key of the hash that secrets are verified by.
pub(crate) const PURPOSE_VERIFY: &str = "verify";

/// One AES-256-GCM key and its id.
pub(crate) struct SealKey {
    id: [u8; ID],
    key: Option<RandomizedNonceKey>,
}

impl SealKey {
    pub(crate) fn new(id: [u8; ID], bytes: &[u8; 32]) -> Self {
        Self { id, key: RandomizedNonceKey::new(&AES_256_GCM, bytes).ok() }
    }

    fn associated(&self, place: &str) -> Vec<u8> {
        let mut data = vec![VERSION];
        data.extend_from_slice(&self.id);
        data.extend_from_slice(place.as_bytes());
        data
    }

    /// Seals `plain` for `place`: version, key id, nonce, ciphertext and tag.
    pub(crate) fn seal(&self, place: &str, plain: &[u8]) -> Result<Vec<u8>, Error> {
        let key = self.key.as_ref().ok_or_else(|| Error::internal("no sealing key"))?;
        let mut body = plain.to_vec();
        let nonce = key
            .seal_in_place_append_tag(Aad::from(self.associated(place)), &mut body)
            .map_err(|_| Error::internal("sealing failed"))?;
        let mut sealed = vec![VERSION];
        sealed.extend_from_slice(&self.id);
        sealed.extend_from_slice(nonce.as_ref());
        sealed.append(&mut body);
        Ok(sealed)
    }

    /// Opens what was sealed for `place`. `None` when it was not, or not with this key.
    pub(crate) fn open(&self, place: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        if sealed.len() < HEADER || sealed[0] != VERSION || sealed[1..=ID] != self.id {
            return None;
        }
        let nonce = Nonce::try_assume_unique_for_key(&sealed[1 + ID..HEADER]).ok()?;
        let mut body = sealed[HEADER..].to_vec();
        let length =
            self.key.as_ref()?.open_in_place(nonce, Aad::from(self.associated(place)), &mut body).ok()?.len();
        let plain = Zeroizing::new(body[..length].to_vec());
        body.zeroize();
        Some(plain)
    }
}

/// The data keys, opened.
pub(crate) struct Vault {
    keys: Vec<SealKey>,
}

impl Vault {
    /// Seals with the newest key.
    pub(crate) fn seal(&self, place: &str, plain: &[u8]) -> Result<Vec<u8>, Error> {
        self.keys.last().ok_or_else(|| Error::internal("no data key"))?.seal(place, plain)
    }

    /// Opens with whichever key sealed.
    pub(crate) fn open(&self, place: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.keys.iter().find_map(|key| key.open(place, sealed)).ok_or_else(|| {
            Error::internal(format!("{place} does not open: it was sealed elsewhere or changed"))
        })
    }
}

/// A key made from `root` for one use alone, which `label` names.
pub(crate) fn derived(root: &[u8], label: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    key.copy_from_slice(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, root), label).as_ref());
    key
}

/// A new data key, sealed.
pub(crate) fn new_data_key(master: &MasterKey, purpose: &str, random: &dyn Random) -> Result<DataKey, Error> {
    let (mut id, mut bytes) = ([0; ID], Zeroizing::new([0; 32]));
    random.fill(&mut id);
    random.fill(bytes.as_mut_slice());
    let id = hex(&id);
    let sealed = master.sealing().seal(&place(purpose, &id), bytes.as_slice())?;
    Ok(DataKey { id, purpose: purpose.to_owned(), sealed })
}

/// Opened verifier keys: ids and bytes, oldest first.
pub(crate) type VerifierKeyBytes = Vec<(String, [u8; 32])>;

/// Opens the stored data keys. Fails, and so does the start of the server, when the master key is another
/// than the one that sealed them: a server that cannot open its keys must not make new ones.
pub(crate) fn open_data_keys(
    master: &MasterKey,
    stored: &[DataKey],
) -> Result<(Vault, VerifierKeyBytes), Error> {
    let (mut keys, mut verifier) = (Vec::new(), Vec::new());
    for key in stored {
        let bytes = master
            .sealing()
            .open(&place(&key.purpose, &key.id), &key.sealed)
            .and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok())
            .ok_or_else(|| {
                Problem::new(Code::Unavailable, "The master key does not open this database. It is another key than the one that the database was made with; nothing was changed.")
            })?;
        match key.purpose.as_str() {
            PURPOSE_VERIFY => verifier.push((key.id.clone(), bytes)),
            _ => keys.push(SealKey::new(
                unhex(&key.id).ok_or_else(|| Error::internal("a data key's id is corrupt"))?,
                &bytes,
            )),
        }
    }
    Ok((Vault { keys }, verifier))
}

fn place(purpose: &str, id: &str) -> String {
    format!("data_keys/{purpose}/{id}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; ID]> {
    let number = u64::from_str_radix(text, 16).ok()?;
    (text.len() == 2 * ID).then(|| number.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossfade_authority::SystemRandom;

    #[test]
    fn a_sealed_value_opens_only_in_its_place_and_unchanged() {
        let key = SealKey::new([7; ID], &[1; 32]);
        let sealed = key.seal("secrets/sec_1", b"value").unwrap();
        assert_eq!(key.open("secrets/sec_1", &sealed).unwrap().as_slice(), b"value");
        assert!(key.open("secrets/sec_2", &sealed).is_none(), "another row");
        assert!(SealKey::new([7; ID], &[2; 32]).open("secrets/sec_1", &sealed).is_none(), "another key");
        assert!(SealKey::new([8; ID], &[1; 32]).open("secrets/sec_1", &sealed).is_none(), "another key id");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key.open("secrets/sec_1", &changed).is_none(), "byte {at}");
        }
        assert!(key.open("secrets/sec_1", &sealed[..HEADER - 1]).is_none());
        assert_ne!(sealed, key.seal("secrets/sec_1", b"value").unwrap(), "a fresh nonce each time");
        assert!(!sealed.windows(5).any(|window| window == b"value"));
    }

    #[test]
    fn another_master_key_opens_nothing() {
        let dir = std::env::temp_dir().join(format!("crossfade-master-key-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (one, two) = (dir.join("one"), dir.join("two"));
        let _ = (std::fs::remove_file(&one), std::fs::remove_file(&two));
        let master = MasterKey::create(&one, &SystemRandom).unwrap();
        let other = MasterKey::create(&two, &SystemRandom).unwrap();
        let stored = [PURPOSE_SEAL, PURPOSE_VERIFY]
            .map(|purpose| new_data_key(&master, purpose, &SystemRandom).unwrap());
        let again = MasterKey::read(&one).unwrap().unwrap();
        let (vault, verifier) = open_data_keys(&again, &stored).unwrap();
        assert_eq!(verifier.len(), 1);
        assert!(vault.seal("x", b"y").is_ok());
        assert!(open_data_keys(&other, &stored).is_err());
        assert!(MasterKey::create(&one, &SystemRandom).is_err(), "an existing key is never overwritten");
        assert!(MasterKey::read(&dir.join("none")).unwrap().is_none());
        std::fs::write(&two, "not a key").unwrap();
        assert!(MasterKey::read(&two).is_err());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
