//! Messages to the owners of clients. Changes queue them in their own transaction (`frame/act`). `letter` says what each
//! kind of message means and what to do next; `sending` sends mail from its rows, at least once, and `place` holds it where the
//! database was copied or moved to. `posting` sends to webhooks, whose bodies are written by `body`. `switches` sets what is
//! switched off, and `personal` queues messages to a person about their own account, `handed_over` those about clients with another owner.
//! `test_mail` sends a test message.

pub(crate) mod body;
pub(crate) mod handed_over;
pub(crate) mod letter;
pub(crate) mod personal;
pub(crate) mod place;
pub(crate) mod posting;
pub(crate) mod sending;
pub(crate) mod switches;
pub(crate) mod test_mail;
