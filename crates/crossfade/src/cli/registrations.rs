//! `crossfade registration …`

use super::{
    Place, Remote,
    times::token_ttl,
    values::{OrNone, item, one_of},
};
use clap::{Args, Subcommand};
use crossfade_core::registration::AuthMethod;

#[derive(Subcommand)]
pub(crate) enum Registration {
    /// Show a registration: its OAuth client_id and settings.
    Show {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        remote: Remote,
    },
    /// Change a registration's settings. Its secrets do not change.
    Update(UpdateRegistration),
}

#[derive(Args)]
pub(crate) struct UpdateRegistration {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) change: RegistrationChange,
    /// Client name, to confirm --disable. Prompted for on a terminal if omitted.
    #[arg(long, value_name = "NAME")]
    pub(crate) confirm: Option<String>,
    /// Number of callers that --allow-network may lock out, as the refusal says.
    #[arg(long, requires = "allow_network", value_name = "NUMBER")]
    pub(crate) acknowledge_locked_out: Option<u64>,
    /// Reason, recorded in the audit trail.
    #[arg(long)]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Args)]
#[group(required = true, multiple = true)]
pub(crate) struct RegistrationChange {
    /// Enable the registration. Does not revive secrets or access tokens that have ended.
    #[arg(long, conflicts_with = "disable")]
    pub(crate) enable: bool,
    /// Disable the registration. All its requests are refused until it is enabled again, and its access
    /// tokens end.
    #[arg(long)]
    pub(crate) disable: bool,
    /// Allowed authentication method. Repeatable or comma-separated.
    #[arg(long, value_delimiter = ',', value_name = "METHOD", value_parser = one_of(AuthMethod::ALL, AuthMethod::as_str))]
    pub(crate) auth_method: Vec<AuthMethod>,
    /// Scope the client may request. Replaces the current scopes. Repeatable or comma-separated.
    #[arg(long, value_delimiter = ',', value_parser = item)]
    pub(crate) scope: Vec<String>,
    /// Remove all scopes.
    #[arg(long, conflicts_with = "scope")]
    pub(crate) no_scopes: bool,
    /// The aud claim of its access tokens, or none to use the issuer.
    #[arg(long, value_name = "AUDIENCE|none")]
    pub(crate) audience: Option<OrNone<String>>,
    /// Access token lifetime, 1m to 24h.
    #[arg(long, value_name = "DURATION", value_parser = token_ttl)]
    pub(crate) token_ttl: Option<i64>,
    /// Allow introspection of every token in the environment, not only its own.
    #[arg(long, value_name = "true|false")]
    pub(crate) may_introspect: Option<bool>,
    /// Allow the client to rotate its own secret, with that secret as its only credential. The client must have an owner.
    #[arg(long, value_name = "true|false")]
    pub(crate) self_rotation: Option<bool>,
    /// Network or address from which the client may call. Replaces the current list. Repeatable or
    /// comma-separated.
    #[arg(long, value_delimiter = ',', value_name = "NETWORK", value_parser = item)]
    pub(crate) allow_network: Vec<String>,
    /// Allow the client to call from every address.
    #[arg(long, conflicts_with = "allow_network")]
    pub(crate) allow_all_networks: bool,
}

#[cfg(test)]
mod tests {
    use crate::cli::tests::refused;

    #[test]
    fn a_change_of_a_registration_is_read() {
        let update = |more: &str| refused(&format!("registration update X --env staging {more}"));
        assert_eq!(update("--reason quarterly"), 2, "nothing to change");
        assert_eq!(update("--enable --disable"), 2);
        assert_eq!(update("--disable --confirm X"), 0);
        assert_eq!(update("--auth-method client_secret_basic,client_secret_post"), 0);
        assert_eq!(update("--auth-method private_key_jwt"), 2);
        assert_eq!(update("--scope a --scope b --audience none --token-ttl 60s --may-introspect true"), 0);
        assert_eq!(update("--token-ttl 60"), 2, "a number has a unit");
        assert_eq!(
            [update("--token-ttl 1s"), update("--token-ttl 2d"), update("--token-ttl 24h")],
            [2, 2, 0]
        );
        assert_eq!(update("--scope a --no-scopes"), 2);
        assert_eq!(update("--scope a,,b"), 2);
        assert_eq!(update("--may-introspect yes"), 2);
        assert_eq!(update("--allow-network 10.0.0.0/8,2001:db8::/32 --acknowledge-locked-out 2"), 0);
        assert_eq!(update("--allow-network 10.0.0.0/8 --acknowledge-locked-out"), 2, "its number");
        assert_eq!(update("--allow-network 10.0.0.0/8 --allow-all-networks"), 2);
        assert_eq!(update("--enable --acknowledge-locked-out 2"), 2);
    }
}
