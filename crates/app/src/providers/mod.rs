//! OpenID Connect providers: `provider` lists, makes, changes and deletes them, from what `fields` parses, and `ending` ends
//! what a provider has begun. `sign_in` leads a person to a provider and takes them back, with what `state` keeps in their
//! browser; `people` decides whose account it is, and `groups` gives and takes roles. `identities` links and unlinks, `logout`
//! ends sessions at the word of a provider. `refusal` says why a sign-in failed.

mod ending;
mod fields;
mod groups;
pub(crate) mod identities;
pub(crate) mod logout;
mod people;
pub(crate) mod provider;
pub(crate) mod refusal;
pub(crate) mod sign_in;
pub(crate) mod state;
