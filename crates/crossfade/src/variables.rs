//! Environment variables: an unknown one is refused, and an empty one counts as unset.

use crate::failure::Failure;
use clap::{ArgMatches, Command, builder::Resettable, parser::ValueSource};
use std::{collections::BTreeSet, path::Path};

const PREFIX: &str = "CROSSFADE_";
/// The only variable without a flag.
const TOKEN: &str = "CROSSFADE_TOKEN";
/// Prefixes of variables that Kubernetes sets in containers next to a service named `crossfade`.
const INJECTED: [&str; 2] = ["CROSSFADE_SERVICE_", "CROSSFADE_PORT"];
/// Variables that name the location of data or keys. If an empty one counted as unset, it would lead to another
/// instance.
const PLACES: [&str; 4] =
    ["CROSSFADE_CONFIG", "CROSSFADE_DATA_DIR", "CROSSFADE_DATABASE_URL", "CROSSFADE_DATABASE_DIRECT_URL"];
/// Suffix of variables that name files with keys and certificates.
const FILE: &str = "_FILE";

/// A variable that is set.
struct Variable {
    name: String,
    is_empty: bool,
}

/// Whether the variable for the settings file names this one.
#[expect(clippy::disallowed_methods, reason = "what a variable names must not run a program")]
pub(crate) fn is_config(path: &Path) -> bool {
    std::env::var_os("CROSSFADE_CONFIG").is_some_and(|named| named == path.as_os_str())
}

/// The variables for this program.
pub(crate) struct Variables(Vec<Variable>);

impl Variables {
    /// Reads the variables of this process.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the names of all variables")]
    pub(crate) fn of_process() -> Self {
        Self::new(
            std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.is_empty()))),
        )
    }

    fn new(all: impl Iterator<Item = (String, bool)>) -> Self {
        let ours = all.filter(|(name, _)| name.starts_with(PREFIX));
        let mut ours: Vec<Variable> = ours.map(|(name, is_empty)| Variable { name, is_empty }).collect();
        ours.sort_by(|one, two| one.name.cmp(&two.name));
        Self(ours)
    }

    /// Returns the command line without values from empty variables.
    pub(crate) fn without_empty(&self, command: Command) -> Command {
        let command = command.mut_args(|argument| {
            let is_empty = variable_of(&argument).is_some_and(|name| self.is_empty(&name));
            if is_empty { argument.env(Resettable::Reset) } else { argument }
        });
        command.mut_subcommands(|child| self.without_empty(child))
    }

    /// Refuses variables that the command would ignore although they are set on purpose.
    pub(crate) fn check(&self, program: &Command, matches: &ArgMatches) -> Result<(), Failure> {
        let (command, matches) = leaf(program, matches);
        if !command.get_arguments().any(|argument| variable_of(argument).is_some()) {
            return Ok(());
        }
        self.check_names(program)?;
        for argument in command.get_arguments() {
            let Some(name) = variable_of(argument) else { continue };
            let is_typed = matches.value_source(argument.get_id().as_str()) == Some(ValueSource::CommandLine);
            if !is_typed && self.is_empty(&name) && (PLACES.contains(&&*name) || name.ends_with(FILE)) {
                return Err(Failure::usage(format!(
                    "{name} is set to an empty value. Nothing was changed. Set it to a value, or unset it to \
                    use the default."
                )));
            }
        }
        Ok(())
    }

    fn check_names(&self, program: &Command) -> Result<(), Failure> {
        let mut known = BTreeSet::from([TOKEN.to_owned()]);
        collect_variables(program, &mut known);
        let is_known =
            |name: &str| known.contains(name) || INJECTED.iter().any(|injected| name.starts_with(injected));
        let Some(Variable { name, .. }) = self.0.iter().find(|variable| !is_known(&variable.name)) else {
            return Ok(());
        };
        let likeness = |known: &String| strsim::jaro_winkler(known, name);
        let nearest = known.iter().max_by(|one, two| likeness(one).total_cmp(&likeness(two)));
        let nearest = nearest.map_or("", |nearest| nearest);
        Err(Failure::usage(format!(
            "{name} is not a Crossfade setting. Nothing was changed. Set {nearest} if that is what you mean. \
            Otherwise unset {name}."
        )))
    }

    fn is_empty(&self, name: &str) -> bool {
        self.0.iter().any(|variable| variable.is_empty && variable.name == name)
    }
}

/// Returns the command that was typed, and its matches.
pub(crate) fn leaf<'a>(program: &'a Command, matches: &'a ArgMatches) -> (&'a Command, &'a ArgMatches) {
    let (mut command, mut matches) = (program, matches);
    while let Some((name, inner)) = matches.subcommand() {
        let Some(child) = command.find_subcommand(name) else { break };
        (command, matches) = (child, inner);
    }
    (command, matches)
}

/// Returns the variable that gives an argument its value.
fn variable_of(argument: &clap::Arg) -> Option<String> {
    argument.get_env().and_then(|name| name.to_str()).map(str::to_owned)
}

fn collect_variables(command: &Command, all: &mut BTreeSet<String>) {
    all.extend(command.get_arguments().filter_map(variable_of));
    command.get_subcommands().for_each(|child| collect_variables(child, all));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::CommandFactory;

    /// Returns the refusal of a command line with these variables; empty if it is accepted.
    fn refused(line: &str, variables: &[(&str, bool)]) -> String {
        let variables =
            Variables::new(variables.iter().map(|(name, is_empty)| ((*name).to_owned(), *is_empty)));
        let program = Cli::command();
        let words = std::iter::once("crossfade").chain(line.split(' '));
        let matches = variables.without_empty(program.clone()).try_get_matches_from(words).unwrap();
        variables.check(&program, &matches).err().map_or_else(String::new, |it| it.sentence().to_owned())
    }

    #[test]
    fn an_unknown_variable_is_refused_with_the_nearest_name() {
        for (name, nearest) in [
            ("CROSSFADE_DATABASE_URI", "CROSSFADE_DATABASE_URL"),
            ("CROSSFADE_DATABASE", "CROSSFADE_DATABASE_URL"),
            ("CROSSFADE_DATADIR", "CROSSFADE_DATA_DIR"),
            ("CROSSFADE_MASTER_KEY", "CROSSFADE_MASTER_KEY_FILE"),
            ("CROSSFADE_TRUSTED_PROXY", "CROSSFADE_TRUSTED_PROXIES"),
            ("CROSSFADE_TOKN", "CROSSFADE_TOKEN"),
        ] {
            for command in ["serve", "doctor", "client list", "init --owner-email a@b.c --password-stdin"] {
                let told = refused(command, &[(name, false)]);
                assert!(
                    told.starts_with(name) && told.contains(&format!("Set {nearest} if")),
                    "{command}: {told}"
                );
            }
        }
    }

    #[test]
    fn what_kubernetes_injects_is_no_setting_and_no_fault() {
        let injected = [
            "CROSSFADE_SERVICE_HOST",
            "CROSSFADE_SERVICE_PORT_HTTP",
            "CROSSFADE_PORT",
            "CROSSFADE_PORT_8080_TCP_ADDR",
            "CROSSFADE_URL",
            "CROSSFADE_TOKEN",
            "OTHER",
        ];
        assert_eq!(refused("serve", &injected.map(|name| (name, false))), "");
        assert_ne!(refused("serve", &[("CROSSFADE_SERVICES", false)]), "");
    }

    #[test]
    fn an_empty_variable_is_refused_where_it_names_a_place() {
        for name in [
            "CROSSFADE_CONFIG",
            "CROSSFADE_DATA_DIR",
            "CROSSFADE_DATABASE_URL",
            "CROSSFADE_DATABASE_URL_FILE",
            "CROSSFADE_MASTER_KEY_FILE",
        ] {
            let flag = name.trim_start_matches(PREFIX).to_lowercase().replace('_', "-");
            for command in ["serve", "doctor", "restore --from x", "token create --user u --name n"] {
                assert!(refused(command, &[(name, true)]).starts_with(name), "{command} {name}");
                assert_eq!(
                    refused(&format!("{command} --{flag} x"), &[(name, true)]),
                    "",
                    "{command} --{flag}"
                );
            }
            assert_eq!(refused("client list", &[(name, true)]), "", "a remote command has no such place");
        }
        for name in ["CROSSFADE_LISTEN", "CROSSFADE_LOG", "CROSSFADE_PUBLIC_URL", "CROSSFADE_TRUSTED_PROXIES"]
        {
            assert_eq!(refused("serve", &[(name, true)]), "", "{name}");
        }
    }

    #[test]
    fn a_command_that_reads_no_variable_is_not_stopped_by_one() {
        for command in ["demo", "man", "completions bash"] {
            assert_eq!(refused(command, &[("CROSSFADE_DATABASE_URI", false)]), "", "{command}");
        }
    }
}
