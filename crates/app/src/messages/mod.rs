//! Messages to the owners of clients. Changes queue them in their own transaction (`frame/act`). `letter` says what each
//! kind of message means and what to do next; `sending` sends mail from its rows, at least once. `posting` does the same for
//! webhooks, whose bodies are written by `body`. `switches` sets what is switched off, and `personal` queues messages to a
//! person about their own account.

pub(crate) mod body;
pub(crate) mod letter;
pub(crate) mod personal;
pub(crate) mod posting;
pub(crate) mod sending;
pub(crate) mod switches;
