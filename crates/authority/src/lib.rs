#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod attempts;
mod authority;
mod clock;
mod evidence;
mod given;
mod lease;
mod mint;
mod random;
mod seen;
mod signing;
mod upstream;
mod verifier;

pub use authority::{ActiveToken, Authority, Client, Credentials, Issued, Tables};
pub use clock::{Asked, Clock, MAX_OFFSET, MAX_UNCERTAINTY, Moment};
pub use evidence::{Counter, Evidence, Failure, FailureCount, RefusedBy, Source, SourceCount};
pub use lease::{Lease, LeaseAsked, MARGIN};
pub use mint::Claims;
pub use random::SystemRandom;
pub use signing::{Environment, InvalidKey, SigningKey};
pub use upstream::{SealedSlot, UpstreamCredential};
pub use verifier::{DrillSlot, Redigest, Registration, SecretSlot, VerifierKeys, bound_name};
