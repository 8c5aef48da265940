//! Commands that speak to a server through its API.

mod access;
mod audit;
mod change_over;
mod clients;
mod confirm;
mod drills;
mod environments;
mod find;
mod grants;
mod http;
mod leaks;
mod login;
mod loopback_code;
mod messages;
mod names;
mod nodes;
mod properties;
mod providers;
mod registrations;
mod secrets;
mod sign_in_policy;
mod tokens;
mod upstream;
mod users;
mod webhooks;

pub(crate) use self::{
    access::access,
    audit::audit,
    clients::client,
    drills::drill,
    environments::environment,
    grants::grant,
    http::{Api, form_encode},
    login::{login, logout, profile},
    messages::messages,
    nodes::node,
    properties::property,
    providers::provider,
    registrations::registration,
    secrets::secret,
    sign_in_policy::sign_in_policy,
    tokens::token,
    upstream::upstream,
    users::{user, whoami},
    webhooks::webhook,
};
