#![doc = include_str!("../README.md")]

mod connect;
mod mail;
mod provider;
mod relay;
mod webhook;

pub use connect::Resolve;
pub use mail::{
    Alone, Mailer,
    failure::Failure,
    letter::{Group, Letter, Line, Mail},
    link::LONGEST_ATTEMPT,
    server::MailServer,
};
pub use provider::{
    Authorization, Metadata, ProviderClient, ProviderFailure, ProviderLink, Providers, Redemption, Tokens,
    Verified, VerifyFailure,
};
pub use relay::{
    FormFault, Forward, Forwarded, Kept, MAX_FORM, Pass, PassedBody, Relay, RelayFailure, RelayLimits,
    Relayed, SentCredential, SentSecret, Trial, Tried, form_of_json, passed_client_id,
};
pub use webhook::{Answer, Destination, Post, PostFailure, Poster, SigningSecret};
