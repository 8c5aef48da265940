//! What decides a secret and mints a token. Everything it needs is in memory, fed from the change log;
//! a request touches neither a database nor a slow hash.
//!
//! [`Authority`] holds deadlines, not verdicts: each decision compares the deadline with the [`Clock`] at
//! the moment of the request, so no sweeper and no cache can make a secret live longer.

#![warn(missing_docs)]

mod authority;
mod clock;
mod evidence;
mod mint;
mod random;
mod signing;
mod verifier;

pub use authority::{ActiveToken, Authority, Client, Credentials, Issued};
pub use clock::Clock;
pub use evidence::{Counter, Evidence, Failure, FailureCount, SourceCount};
pub use mint::Claims;
pub use random::SystemRandom;
pub use signing::{Environment, InvalidKey, SigningKey};
pub use verifier::{Registration, SecretSlot, VerifierKeys};
