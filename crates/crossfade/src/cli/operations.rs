//! Which command does which operation of the API: a new operation without a command does not compile.

use crossfade_core::Operation;

/// The words to type for an operation.
pub(crate) fn command(operation: Operation) -> &'static str {
    use Operation::*;
    match operation {
        ReadMe => "whoami",
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
        ListClients => "client list",
        CreateClient => "client create",
        ReadClient => "client show",
        UpdateClient => "client update",
        DeleteClient => "client delete",
        CreateRegistration => "client register",
        ReadRegistration => "registration show",
        UpdateRegistration => "registration update",
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
        ListUsers => "user list",
        CreateUser => "user create",
        ReadUser => "user show",
        UpdateUser => "user update",
        DeleteUser => "user delete",
        CreateLink => "user link",
        ListGrants => "grant list",
        CreateGrant => "grant create",
        DeleteGrant => "grant delete",
        ListTokens => "token list",
        DeleteToken => "token delete",
        ListAuditEvents => "audit list",
        ExportAuditEvents => "audit export",
        ListAuthenticationFailures => "audit failures",
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
            assert!(flags.contains(&"json") && flags.contains(&"url"), "{words}: {flags:?}");
        }
    }
}
