//! What the fuzzers run: each parser that meets a stranger, in this process and without a socket.

pub mod api;
pub mod backup;
pub mod console;
pub mod instance;
pub mod journal;
pub mod oauth;
pub mod pem;
pub mod scim;
pub mod token;
pub mod trail;
pub mod words;
