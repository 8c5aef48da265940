//! Webhooks: `webhook` creates, reads, changes and deletes them, `signing` rotates their signing secrets, and `deliveries`
//! lists, tests and replays. `disabling` disables one whose receiver is gone, and tells its people. `owners` checks the
//! webhooks among the owners of a client.

mod deliveries;
pub(crate) mod disabling;
pub(crate) mod owners;
mod signing;
pub(crate) mod webhook;
