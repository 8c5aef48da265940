//! Accounts of people and programs, and every way into them.
//! `users`, `grants` and `giving` say who an account is and what it can do, `abilities` what a page offers it. `owners`
//! has one-time links and the commands for Owners, `hand_over` the clients of an account that goes. `sign_in`,
//! `password`, `factors`, `passkeys`, `devices`, `failures` and `sessions` lead into the Console, `tokens` into the API, and
//! `login` from the Console to the command line. `sign_in_policy` says who must have a second factor, and who can use a
//! password.

pub(crate) mod abilities;
pub(crate) mod access;
pub(crate) mod devices;
pub(crate) mod factors;
mod failures;
pub(crate) mod giving;
pub(crate) mod grants;
pub(crate) mod hand_over;
pub(crate) mod login;
pub(crate) mod look_up;
pub(crate) mod owners;
pub(crate) mod passkeys;
pub(crate) mod password;
pub(crate) mod session_limits;
pub(crate) mod sessions;
pub(crate) mod sign_in;
pub(crate) mod sign_in_policy;
pub(crate) mod tokens;
pub(crate) mod users;
