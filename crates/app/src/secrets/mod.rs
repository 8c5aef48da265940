//! Secrets of a registration.
//! One file for each operation that changes one: rotate, reveal, revoke, extend, roll back. `list` reads secrets,
//! rotations and use; `security` reads what the Console shows of all of them. `transition` gathers the facts about the callers of a running transition, and `change_over`
//! answers whether it is safe to end the old secret. The rules are in `core::rotation` and `core::change_over`.

pub(crate) mod change_over;
pub(crate) mod extend;
pub(crate) mod list;
pub(crate) mod reveal;
pub(crate) mod revoke;
pub(crate) mod roll_back;
pub(crate) mod rotate;
pub(crate) mod security;
pub(crate) mod seen;
pub(crate) mod self_rotate;
pub(crate) mod transition;
