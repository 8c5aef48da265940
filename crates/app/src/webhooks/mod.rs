//! Webhooks: `webhook` reads and deletes them, `create` and `update` make and change them, from what `fields` parses.
//! `choices` has the clients that one can be for. `subject` is what one gets messages about and decides who manages it,
//! `shown` how it is shown. `signing` rotates signing secrets, and `deliveries` lists, tests and replays. `disabling` disables
//! a webhook whose receiver is gone, and tells its people. `owners` checks the webhooks among the owners of a client, and
//! `telling` tells its other owners that one of them was moved or disabled.

pub(crate) mod choices;
mod create;
mod deliveries;
pub(crate) mod disabling;
mod fields;
pub(crate) mod owners;
mod shown;
mod signing;
pub(crate) mod subject;
pub(crate) mod telling;
mod update;
pub(crate) mod webhook;
