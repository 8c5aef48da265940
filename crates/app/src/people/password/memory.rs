//! Argon2id in memory that is returned to the operating system after each hash.

use argon2::{
    Algorithm, Argon2, Block, Params, PasswordHash, Version,
    password_hash::phc::{Output, ParamsString, Salt},
};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// Number of blocks (KiB) reserved for a hash, which uses 19,456 of them. The allocator of glibc keeps memory of up to
/// 32 MiB in its arenas after a release; larger memory is always returned to the operating system.
const RESERVED_BLOCKS: usize = 33 * 1024;
/// Length of a hash in bytes.
const HASH_BYTES: usize = 32;
/// Length of a salt in bytes.
pub(super) const SALT_BYTES: usize = 16;

/// What a new hash costs: Argon2id with one lane.
#[derive(Clone, Copy, Debug)]
pub struct PasswordCost {
    /// Memory in KiB.
    pub memory: u32,
    /// Number of passes over the memory.
    pub passes: u32,
}

impl PasswordCost {
    /// 19 MiB and two passes, as OWASP recommends for Argon2id. Instances with less are for tests.
    pub const RECOMMENDED: Self = Self { memory: 19 * 1024, passes: 2 };
}

/// Hashes a password with a new salt; the result is a PHC string.
pub(super) fn hash(cost: PasswordCost, password: &[u8], salt: [u8; SALT_BYTES]) -> Result<String, String> {
    let params = Params::new(cost.memory, cost.passes, 1, None).map_err(|error| error.to_string())?;
    let mut bytes = [0; HASH_BYTES];
    compute(Algorithm::Argon2id, Version::V0x13, &params, password, &salt, &mut bytes)?;
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.into(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params).map_err(|error| error.to_string())?,
        salt: Some(Salt::new(&salt).map_err(|error| error.to_string())?),
        hash: Some(Output::new(&bytes).map_err(|error| error.to_string())?),
    };
    Ok(hash.to_string())
}

/// Whether `password` matches `stored`, with its stored parameters; `Err` if they cannot be read.
pub(super) fn verify(password: &[u8], stored: &str) -> Result<bool, String> {
    let parsed = PasswordHash::new(stored).map_err(|error| error.to_string())?;
    let (Some(salt), Some(expected)) = (&parsed.salt, &parsed.hash) else {
        return Err("it has no salt or no hash".to_owned());
    };
    let algorithm = Algorithm::try_from(parsed.algorithm.as_str()).map_err(|error| error.to_string())?;
    let version = parsed.version.map_or(Ok(Version::default()), Version::try_from);
    let version = version.map_err(|error| error.to_string())?;
    let params = Params::try_from(&parsed).map_err(|error| error.to_string())?;
    let mut bytes = vec![0; expected.len()];
    compute(algorithm, version, &params, password, salt.as_ref(), &mut bytes)?;
    let same: bool = bytes.ct_eq(expected.as_bytes()).into();
    bytes.zeroize();
    Ok(same)
}

fn compute(
    algorithm: Algorithm,
    version: Version,
    params: &Params,
    password: &[u8],
    salt: &[u8],
    out: &mut [u8],
) -> Result<(), String> {
    let argon2 = Argon2::new(algorithm, version, params.clone());
    let mut memory: Vec<Block> = Vec::with_capacity(params.block_count().max(RESERVED_BLOCKS));
    memory.resize(params.block_count(), Block::new());
    let done = argon2.hash_password_into_with_memory(password, salt, out, &mut memory[..]);
    // The blocks are derived from the password.
    for block in &mut memory {
        block.zeroize();
    }
    done.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use argon2::{PasswordHasher, PasswordVerifier};

    const PASSWORD: &[u8] = b"a sentence that nobody guesses";

    #[test]
    fn a_hash_is_the_phc_string_that_argon2_itself_reads() {
        let hash = hash(PasswordCost::RECOMMENDED, PASSWORD, [7; SALT_BYTES]).unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$BwcHBwcHBwcHBwcHBwcHBw$"), "{hash}");
        let argon2 = Argon2::default();
        let parsed = PasswordHash::new(&hash).unwrap();
        assert!(argon2.verify_password(PASSWORD, &parsed).is_ok());
        assert!(argon2.verify_password(b"another", &parsed).is_err());
    }

    #[test]
    fn a_hash_of_an_earlier_version_verifies() {
        let argon2 = Argon2::default();
        let earlier = argon2.hash_password(PASSWORD).unwrap().to_string();
        assert_eq!(verify(PASSWORD, &earlier), Ok(true));
        assert_eq!(verify(b"another", &earlier), Ok(false));
        let cheaper = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(64, 1, 1, None).unwrap());
        let cheaper = cheaper.hash_password(PASSWORD).unwrap().to_string();
        assert_eq!(verify(PASSWORD, &cheaper), Ok(true), "with the parameters that it was made with");
        assert!(verify(PASSWORD, "$argon2id$v=19$m=19456,t=2,p=1").is_err());
        assert!(verify(PASSWORD, "").is_err());
    }
}
