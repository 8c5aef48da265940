#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

pub mod account;
pub mod address;
pub mod api;
pub mod audit;
pub mod base62;
pub mod change_over;
pub mod drill;
pub mod ended;
pub mod environment;
pub mod forget;
pub mod giving;
pub mod guard;
pub mod ids;
pub mod limits;
pub mod login;
pub mod messages;
pub mod networks;
pub mod oauth;
pub mod operations;
pub mod owners;
pub mod problem;
pub mod provider;
pub mod registration;
pub mod roles;
pub mod rotation;
pub mod scim;
pub mod second_factor;
pub mod secret;
pub mod self_rotation;
pub mod sending_place;
pub mod signing_key;
pub mod text;
pub mod time;
pub mod time_zone;
pub mod typed_code;
pub mod unregistered;
pub mod upstream;
pub mod webhook;

pub use ids::{
    ClientId, DeliveryId, DrillId, FactorId, GrantId, NodeId, OauthClientId, PropertyId, ProviderId,
    ProvisioningTokenId, RegistrationId, RotationId, ScimGroupId, ScimUserId, SecretId, SessionId, TokenId,
    UserId, WebhookId,
};
pub use operations::Operation;
pub use problem::{Code, Problem};
pub use time::{Timestamp, TransitionHours};
pub use time_zone::TimeZone;

/// Source of unpredictable bytes. Passed to everything that generates an id or a secret, so that a test can be
/// repeated. The only production implementation is the operating system's generator.
pub trait Random: Send + Sync {
    /// Fills `bytes` with unpredictable bytes.
    fn fill(&self, bytes: &mut [u8]);
}
