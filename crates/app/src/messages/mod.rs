//! Messages to the owners of clients. Changes queue them in their own transaction (`frame/act`). `letter` says what each
//! kind of message means and what to do next; `sending` sends them from their rows, at least once; `place` holds them
//! where the database was copied or moved to. `personal` queues messages to a person about their own account.

pub(crate) mod letter;
pub(crate) mod personal;
pub(crate) mod place;
pub(crate) mod sending;
