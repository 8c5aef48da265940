//! Passkeys (WebAuthn): adding them, and signing in and confirming with them. `ceremony` is the only file that knows the library,
//! `state` seals what a browser brings back with an answer, `adding`, `answers` and `sign_in` are the use cases.

mod adding;
mod answers;
mod ceremony;
mod sign_in;
mod state;

pub(crate) use adding::unless_full;
pub use answers::{PasskeyAnswer, PasskeyRequest, Proof};
pub(crate) use ceremony::Ceremonies;
pub use sign_in::PasskeySignIn;
pub use state::ANSWER_WITHIN;
pub(crate) use state::{PasskeyStates, Purpose};
