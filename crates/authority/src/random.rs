//! The only source of randomness: the operating system's generator, through AWS-LC.

use crossfade_core::{Random, base62};
use std::cell::RefCell;

/// The operating system's generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        #[expect(clippy::disallowed_methods, reason = "this is the injected source itself")]
        let filled = aws_lc_rs::rand::fill(bytes);
        if filled.is_err() {
            // A secret generated without randomness is worse than no server, and there is no caller to report to.
            std::process::abort();
        }
    }
}

thread_local! {
    /// Random bytes generated in advance, so that issuing a token needs no system call.
    static AHEAD: RefCell<([u8; 1024], usize)> = const { RefCell::new(([0; 1024], 1024)) };
}

/// Returns a new `jti` (RFC 7519 §4.1.7): 128 random bits.
pub(crate) fn jti() -> [u8; 22] {
    let mut bytes = [0; 16];
    AHEAD.with_borrow_mut(|(ahead, used)| {
        if *used == ahead.len() {
            SystemRandom.fill(ahead);
            *used = 0;
        }
        bytes.copy_from_slice(&ahead[*used..*used + 16]);
        *used += 16;
    });
    base62::encode_128_bits(bytes)
}
