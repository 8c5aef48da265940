//! Which command does which operation of the API: a new operation without a command does not compile. And what a token
//! lacks for the commands that its scope is about.

use crossfade_core::{Operation, roles::Permission};
use std::{collections::BTreeMap, fmt};

/// What a token lacks for some commands.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Lacking {
    /// The commands, such as `secret rotate`.
    pub(crate) commands: Vec<&'static str>,
    /// The permissions that each of them needs and the scope does not have.
    pub(crate) permissions: Vec<&'static str>,
    /// The permissions that they need with `--no-value`; `None` where that makes no difference.
    pub(crate) without_value: Option<Vec<&'static str>>,
}

impl fmt::Display for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let commands: Vec<String> = self.commands.iter().map(|words| format!("crossfade {words}")).collect();
        let verb = if commands.len() == 1 { "needs" } else { "need" };
        write!(f, "{} also {verb} {}", commands.join(" and "), self.permissions.join(" and "))?;
        match self.without_value.as_deref() {
            None => write!(f, ".")?,
            Some([]) => write!(f, ", unless --no-value is set.")?,
            Some(rest) => write!(f, "; with --no-value only {}.", rest.join(" and "))?,
        }
        write!(f, " This token does not have {}.", if self.permissions.len() == 1 { "it" } else { "them" })
    }
}

/// Returns what a token with this scope lacks for the commands that the scope is about.
pub(crate) fn lacking(scope: &[String]) -> Vec<Lacking> {
    let has = |permission: &Permission| scope.iter().any(|word| word == permission.as_str());
    let mut lacking: BTreeMap<(Vec<Permission>, bool), Vec<&'static str>> = BTreeMap::new();
    // A limited token is for a program, which sees nothing.
    let is_about = |it: &Operation| *it != Operation::MarkSeen && it.permission().as_ref().is_some_and(has);
    for operation in Operation::ALL.iter().copied().filter(is_about) {
        let needs = needs(operation);
        let missing: Vec<Permission> = needs.into_iter().filter(|permission| !has(permission)).collect();
        if !missing.is_empty() {
            lacking.entry((missing, makes_secrets(operation))).or_default().push(command(operation));
        }
    }
    let words = |permissions: &[Permission]| permissions.iter().map(|it| it.as_str()).collect::<Vec<_>>();
    let told = |((missing, makes_secrets), commands): ((Vec<Permission>, bool), Vec<&'static str>)| {
        let rest: Vec<Permission> =
            missing.iter().copied().filter(|permission| *permission != Permission::SecretReveal).collect();
        let without_value = (makes_secrets && rest.len() < missing.len()).then(|| words(&rest));
        Lacking { commands, permissions: words(&missing), without_value }
    };
    lacking.into_iter().map(told).collect()
}

fn makes_secrets(operation: Operation) -> bool {
    matches!(operation, Operation::RotateSecret | Operation::CreateClient | Operation::CreateRegistration)
}

/// Returns the permissions that the command of an operation needs: of the operation, of what it looks for by name, and
/// of the value that it receives.
fn needs(operation: Operation) -> Vec<Permission> {
    let names = |parameter: &str| operation.parameters().any(|it| it == parameter);
    let finds_client = names("client") || names("property") || operation == Operation::CreateClient;
    let mut needs: Vec<Permission> = operation.permission().into_iter().collect();
    needs.extend(finds_client.then_some(Permission::ClientRead));
    needs.extend(names("user").then_some(Permission::UserRead));
    needs.extend(makes_secrets(operation).then_some(Permission::SecretReveal));
    needs.sort();
    needs.dedup();
    needs
}

/// The words to type for an operation.
pub(crate) fn command(operation: Operation) -> &'static str {
    use Operation::*;
    match operation {
        ReadMe => "whoami",
        ReadOwnMessages => "messages show",
        UpdateOwnMessages => "messages set",
        ReadClientMessages => "client messages show",
        UpdateClientMessages => "client messages set",
        MarkSeen => "secret seen",
        ListProperties => "property list",
        CreateProperty => "property create",
        ReadProperty => "property show",
        UpdateProperty => "property update",
        DeleteProperty => "property delete",
        ReadLimits => "property limits show",
        UpdateLimits => "property limits set",
        ListEnvironments => "env list",
        CreateEnvironment => "env create",
        ReadEnvironment => "env show",
        UpdateEnvironment => "env update",
        DeleteEnvironment => "env delete",
        ListSigningKeys => "env keys",
        RotateSigningKey => "env rotate-key",
        ListUnregisteredClients => "upstream unregistered",
        ListClients => "client list",
        CreateClient => "client create",
        ReadClient => "client show",
        UpdateClient => "client update",
        DeleteClient => "client delete",
        CreateRegistration => "client register",
        ReadRegistration => "registration show",
        UpdateRegistration => "registration update",
        ReadUpstreamCredential => "upstream show",
        UpdateUpstreamCredential => "upstream set",
        TestUpstreamCredential => "upstream test",
        ReleaseUpstreamCredential => "upstream release",
        ListSecrets => "secret list",
        RotateSecret => "secret rotate",
        RevealSecret => "secret reveal",
        RevokeSecret => "secret revoke",
        ExtendSecret => "secret extend",
        ListRotations => "secret history",
        RollbackSecret => "secret rollback",
        ScheduleDrill => "drill schedule",
        ListDrills => "drill list",
        StopDrill => "drill stop",
        ListUsage => "secret usage",
        ListUsageSeries => "secret series",
        ReadChangeOver => "secret change-over",
        IdentifySecrets => "secret identify",
        ListWebhooks => "webhook list",
        CreateWebhook => "webhook create",
        ReadWebhook => "webhook show",
        UpdateWebhook => "webhook update",
        DeleteWebhook => "webhook delete",
        RotateWebhookSecret => "webhook rotate-secret",
        TestWebhook => "webhook test",
        ListDeliveries => "webhook deliveries",
        ReplayDelivery => "webhook replay",
        ListUsers => "user list",
        ListAccess => "access list",
        CreateUser => "user create",
        ReadUser => "user show",
        UpdateUser => "user update",
        DeleteUser => "user delete",
        RemoveFactors => "user remove-factors",
        ReadSignInPolicy => "sign-in-policy show",
        UpdateSignInPolicy => "sign-in-policy update",
        ReadHandOver => "user hand-over",
        CreateLink => "user link",
        ListGrants => "grant list",
        CreateGrant => "grant create",
        DeleteGrant => "grant delete",
        ListProviders => "provider list",
        CreateProvider => "provider create",
        ReadProvider => "provider show",
        UpdateProvider => "provider update",
        DeleteProvider => "provider delete",
        ListProvisioningTokens => "provider token list",
        CreateProvisioningToken => "provider token create",
        DeleteProvisioningToken => "provider token delete",
        ListTokens => "token list",
        DeleteToken => "token delete",
        ListAuditEvents => "audit list",
        ExportAuditEvents => "audit export",
        ReadAuditCheckpoint => "audit checkpoint",
        ListAuthenticationFailures => "audit failures",
        ListNodes => "node list",
        ReadQuarantine => "quarantine show",
        ReleaseQuarantine => "quarantine release",
        ReadMail => "mail show",
        ReleaseMail => "mail release",
        TestMail => "mail test",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::CommandFactory;
    use std::collections::HashSet;

    #[test]
    fn every_operation_has_a_command_of_its_own_with_json() {
        let (program, mut seen) = (Cli::command(), HashSet::new());
        for operation in Operation::ALL {
            let words = command(*operation);
            assert!(seen.insert(words), "{words} stands twice");
            let mut there = &program;
            for word in words.split(' ') {
                there =
                    there.find_subcommand(word).unwrap_or_else(|| panic!("there is no crossfade {words}"));
            }
            let flags: Vec<_> = there.get_arguments().filter_map(clap::Arg::get_long).collect();
            // The quarantine is for the machine, because nobody else can be known for sure then. A move is made there, too.
            let is_local = words.starts_with("quarantine ") || words.starts_with("mail ");
            let has_url = flags.contains(&"url") || is_local;
            assert!(flags.contains(&"json") && has_url, "{words}: {flags:?}");
        }
    }

    fn lacks(scope: &[&str]) -> Vec<Lacking> {
        lacking(&scope.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_token_that_only_rotates_lacks_reading_and_revealing() {
        let found = lacks(&["secret:rotate"]);
        let [upstream, found] = &found[..] else { panic!("{found:?}") };
        assert_eq!(
            (&*upstream.commands, &*upstream.permissions),
            (&["upstream set", "upstream test"][..], &["client:read"][..])
        );
        assert_eq!(found.commands, ["secret rotate"]);
        assert_eq!(found.permissions, ["client:read", "secret:reveal"]);
        assert_eq!(found.without_value, Some(vec!["client:read"]));
        assert_eq!(
            found.to_string(),
            "crossfade secret rotate also needs client:read and secret:reveal; with --no-value only client:read. This token does not have them."
        );
    }

    #[test]
    fn the_scope_of_a_pipeline_lacks_nothing() {
        assert_eq!(lacks(&["client:read", "secret:rotate", "secret:reveal", "secret:revoke"]), []);
        assert_eq!(lacks(&["client:read"]), []);
        assert_eq!(lacks(&["audit:read"]), []);
    }

    #[test]
    fn a_token_that_manages_roles_lacks_finding_users() {
        let found = lacks(&["grant:manage"]);
        assert_eq!(found[0].permissions, ["user:read"], "{found:?}");
        assert_eq!(found[0].commands, ["grant create", "grant delete"]);
    }
}
