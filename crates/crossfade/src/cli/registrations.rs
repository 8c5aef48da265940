//! `crossfade registration …`

use super::{
    Place, Remote,
    times::seconds,
    values::{OrNone, item, one_of},
};
use clap::{Args, Subcommand};
use crossfade_core::registration::AuthMethod;

#[derive(Subcommand)]
pub(crate) enum Registration {
    /// Show a client in an environment: its OAuth client_id and its settings.
    Show {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        remote: Remote,
    },
    /// Change the settings of a client in an environment. Its secrets stay as they are.
    Update(UpdateRegistration),
}

#[derive(Args)]
pub(crate) struct UpdateRegistration {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) change: RegistrationChange,
    /// The client's name, typed; needed to disable. Asked for on a terminal when absent.
    #[arg(long, value_name = "NAME")]
    pub(crate) confirm: Option<String>,
    /// Why.
    #[arg(long)]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Args)]
#[group(required = true, multiple = true)]
pub(crate) struct RegistrationChange {
    /// Allow the registration to authenticate again. Access tokens from before it was disabled stay ended.
    #[arg(long, conflicts_with = "disable")]
    pub(crate) enable: bool,
    /// Refuse everything until the registration is enabled again. Its access tokens end.
    #[arg(long)]
    pub(crate) disable: bool,
    /// How it may present its secret. Can be repeated.
    #[arg(long, value_delimiter = ',', value_name = "METHOD", value_parser = one_of(AuthMethod::ALL, AuthMethod::as_str))]
    pub(crate) auth_method: Vec<AuthMethod>,
    /// A scope that it may ask for, in place of those so far. Can be repeated.
    #[arg(long, value_delimiter = ',', value_parser = item)]
    pub(crate) scope: Vec<String>,
    /// It may ask for no scope.
    #[arg(long, conflicts_with = "scope")]
    pub(crate) no_scopes: bool,
    /// The aud of its access tokens, or none for the issuer.
    #[arg(long, value_name = "AUDIENCE|none")]
    pub(crate) audience: Option<OrNone<String>>,
    /// Lifetime of access tokens, 1m to 24h.
    #[arg(long, value_name = "DURATION", value_parser = seconds)]
    pub(crate) token_ttl: Option<i64>,
    /// Whether it may introspect every token of its environment, not only its own.
    #[arg(long, value_name = "true|false")]
    pub(crate) may_introspect: Option<bool>,
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
        assert_eq!(update("--scope a --no-scopes"), 2);
        assert_eq!(update("--scope a,,b"), 2);
        assert_eq!(update("--may-introspect yes"), 2);
    }
}
