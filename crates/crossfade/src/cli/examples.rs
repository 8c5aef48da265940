//! Examples of commands: in the help, the manual pages and the reference, and in the answer to wrong usage.

use super::Cli;
use clap::{Command, CommandFactory};

/// Two examples for each command.
const EXAMPLES: &[(&str, [&str; 2])] = &[
    (
        "serve",
        ["crossfade serve", "crossfade serve --listen 0.0.0.0:8080 --public-url https://auth.example.com"],
    ),
    ("demo", ["crossfade demo", "crossfade demo --quick"]),
    (
        "init",
        [
            "crossfade init --owner-email ada@example.com --password-stdin",
            "crossfade init --owner-email ada@example.com --password-stdin --data-dir /var/lib/crossfade",
        ],
    ),
    ("doctor", ["crossfade doctor", "crossfade doctor --data-dir /var/lib/crossfade --json"]),
    (
        "backup",
        [
            "crossfade backup --output crossfade.backup",
            "crossfade backup --data-dir /var/lib/crossfade --output /backup/crossfade.backup --json",
        ],
    ),
    (
        "restore",
        [
            "crossfade restore --from crossfade.backup",
            "crossfade restore --from crossfade.backup --data-dir /var/lib/crossfade",
        ],
    ),
    (
        "quarantine show",
        ["crossfade quarantine show", "crossfade quarantine show --data-dir /var/lib/crossfade --json"],
    ),
    (
        "quarantine release",
        [
            "crossfade quarantine release --reason 'restored the backup of this night'",
            "crossfade quarantine release --reason 'restored' --except cl_0123456789abcdefghijkl,tok_0123456789abcdefghijkl",
        ],
    ),
    ("mail show", ["crossfade mail show", "crossfade mail show --data-dir /var/lib/crossfade --json"]),
    (
        "mail test",
        [
            "crossfade mail test --to ada@example.com",
            "crossfade mail test --to ada@example.com --data-dir /var/lib/crossfade --json",
        ],
    ),
    (
        "mail release",
        [
            "crossfade mail release --reason 'moved to another machine'",
            "crossfade mail release --reason 'moved' --data-dir /var/lib/crossfade --json",
        ],
    ),
    ("keys list", ["crossfade keys list", "crossfade keys list --data-dir /var/lib/crossfade --json"]),
    (
        "keys secrets",
        ["crossfade keys secrets", "crossfade keys secrets --data-dir /var/lib/crossfade --json"],
    ),
    ("keys create", ["crossfade keys create", "crossfade keys create --data-dir /var/lib/crossfade --json"]),
    (
        "keys delete",
        [
            "crossfade keys delete 5f0c9a1be24d7736",
            "crossfade keys delete 5f0c9a1be24d7736 --data-dir /var/lib/crossfade",
        ],
    ),
    ("keys rotate", ["crossfade keys rotate", "crossfade keys rotate --data-dir /var/lib/crossfade --json"]),
    (
        "owner recover",
        [
            "crossfade owner recover --email ada@example.com",
            "crossfade owner recover --email ada@example.com --remove-factors --data-dir /var/lib/crossfade",
        ],
    ),
    (
        "token create",
        [
            "crossfade token create --user ada@example.com --name laptop --expires-days 90",
            "crossfade token create --user usr_0123456789abcdefghijkl --name nightly --client \"Billing API\" --env production --output nightly.token",
        ],
    ),
    ("token list", ["crossfade token list", "crossfade token list --json"]),
    (
        "token delete",
        [
            "crossfade token delete tok_0123456789abcdefghijkl",
            "crossfade token delete tok_0123456789abcdefghijkl --url https://auth.example.com",
        ],
    ),
    (
        "client list",
        ["crossfade client list --overdue --env production", "crossfade client list --ownerless"],
    ),
    (
        "client messages show",
        [
            "crossfade client messages show \"Billing API\"",
            "crossfade client messages show \"Billing API\" --json",
        ],
    ),
    (
        "client messages set",
        [
            "crossfade client messages set \"Billing API\" --off drill.scheduled,drill.stopped --confirm \"Billing API\"",
            "crossfade client messages set \"Billing API\" --all-on",
        ],
    ),
    (
        "user remove-factors",
        [
            "crossfade user remove-factors bob@example.com --reason 'the phone was lost'",
            "crossfade user remove-factors usr_0123456789abcdefghijkl --json",
        ],
    ),
    ("sign-in-policy show", ["crossfade sign-in-policy show", "crossfade sign-in-policy show --json"]),
    (
        "sign-in-policy update",
        [
            "crossfade sign-in-policy update --second-factor everyone --reason 'required by the security team'",
            "crossfade sign-in-policy update --passwords break_glass --break-glass ada@example.com",
        ],
    ),
    ("messages show", ["crossfade messages show", "crossfade messages show --json"]),
    (
        "messages set",
        ["crossfade messages set --time-zone Europe/Berlin", "crossfade messages set --off secret.expired"],
    ),
    (
        "secret seen",
        [
            "crossfade secret seen \"Billing API\" --env production",
            "crossfade secret seen \"Billing API\" --env production --json",
        ],
    ),
    (
        "client show",
        ["crossfade client show \"Billing API\"", "crossfade client show \"Billing API\" --json"],
    ),
    (
        "client create",
        [
            "crossfade client create \"Billing API\" --property Payments --env production --output billing.secret",
            "crossfade client create Reports --property Payments --env development,staging --owner ada@example.com --show",
        ],
    ),
    (
        "client update",
        [
            "crossfade client update \"Billing API\" --name Billing",
            "crossfade client update \"Billing API\" --owner ada@example.com --owner grace@example.com --confirm \"Billing API\"",
        ],
    ),
    (
        "client delete",
        [
            "crossfade client delete \"Billing API\" --reason \"replaced by Invoices\"",
            "crossfade client delete \"Billing API\" --reason \"replaced by Invoices\" --confirm \"Billing API\"",
        ],
    ),
    (
        "client register",
        [
            "crossfade client register \"Billing API\" --env staging --output staging.secret",
            "crossfade client register \"Billing API\" --env staging --no-value",
        ],
    ),
    (
        "registration show",
        [
            "crossfade registration show \"Billing API\" --env production",
            "crossfade registration show \"Billing API\" --env production --json",
        ],
    ),
    (
        "registration update",
        [
            "crossfade registration update \"Billing API\" --env production --scope invoices:read,invoices:write --token-ttl 10m",
            "crossfade registration update \"Billing API\" --env production --disable --reason \"leaked\" --confirm \"Billing API\"",
        ],
    ),
    ("env list", ["crossfade env list", "crossfade env list --json"]),
    ("env show", ["crossfade env show production", "crossfade env show production --json"]),
    (
        "env create",
        [
            "crossfade env create qa --kind test",
            "crossfade env create production-eu --name \"Production EU\" --kind live --signing-alg EdDSA",
        ],
    ),
    (
        "env update",
        [
            "crossfade env update production --max-age-days 90",
            "crossfade env update production --show-once true --confirm production",
        ],
    ),
    ("env delete", ["crossfade env delete qa", "crossfade env delete qa --confirm qa"]),
    (
        "env rotate-key",
        [
            "crossfade env rotate-key production --reason \"yearly rotation\"",
            "crossfade env rotate-key production --immediate --compromised --reason \"key leaked\" --confirm production",
        ],
    ),
    ("env keys", ["crossfade env keys production", "crossfade env keys production --json"]),
    ("property list", ["crossfade property list", "crossfade property list --json"]),
    ("property show", ["crossfade property show Payments", "crossfade property show Payments --json"]),
    ("property create", ["crossfade property create Payments", "crossfade property create Payments --json"]),
    (
        "property update",
        [
            "crossfade property update Payments --name Billing",
            "crossfade property update prop_0123456789abcdefghijkl --name Billing",
        ],
    ),
    (
        "property delete",
        ["crossfade property delete Payments", "crossfade property delete prop_0123456789abcdefghijkl"],
    ),
    (
        "property limits show",
        [
            "crossfade property limits show Payments --env production",
            "crossfade property limits show Payments --env production --json",
        ],
    ),
    (
        "property limits set",
        [
            "crossfade property limits set Payments --env production --audience https://invoices.example.com --scope invoices:read,invoices:write",
            "crossfade property limits set Payments --env staging --issuer-only --any-scope",
        ],
    ),
    (
        "upstream show",
        [
            "crossfade upstream show \"Billing API\" --env production",
            "crossfade upstream show \"Billing API\" --env production --json",
        ],
    ),
    (
        "upstream unregistered",
        ["crossfade upstream unregistered production", "crossfade upstream unregistered production --json"],
    ),
    (
        "upstream set",
        [
            "crossfade upstream set \"Billing API\" --env production --secret-file issuer.secret",
            "crossfade upstream set \"Billing API\" --env production --next-file next.secret",
        ],
    ),
    (
        "upstream test",
        [
            "crossfade upstream test \"Billing API\" --env production",
            "crossfade upstream test \"Billing API\" --env production --json",
        ],
    ),
    (
        "upstream release",
        [
            "crossfade upstream release \"Billing API\" --env production",
            "crossfade upstream release \"Billing API\" --env production --json",
        ],
    ),
    ("node list", ["crossfade node list", "crossfade node list --json"]),
    ("provider list", ["crossfade provider list", "crossfade provider list --json"]),
    (
        "provider show",
        ["crossfade provider show Example", "crossfade provider show idp_0123456789abcdefghijkl --json"],
    ),
    (
        "provider create",
        [
            "crossfade provider create Example --issuer https://id.example.com --client-id crossfade --client-secret-file secret --domain example.com",
            "crossfade provider create Example --issuer https://id.example.com --client-id crossfade --client-authentication none --group-role engineers=viewer",
        ],
    ),
    (
        "provider update",
        [
            "crossfade provider update Example --group-role engineers=viewer --group-role admins=owner",
            "crossfade provider update Example --disable",
        ],
    ),
    (
        "provider delete",
        [
            "crossfade provider delete Example",
            "crossfade provider delete idp_0123456789abcdefghijkl --confirm Example",
        ],
    ),
    (
        "provider token list",
        ["crossfade provider token list Example", "crossfade provider token list Example --json"],
    ),
    (
        "provider token create",
        [
            "crossfade provider token create Example",
            "crossfade provider token create Example --expires-days 90 --network 192.0.2.0/24",
        ],
    ),
    (
        "provider token delete",
        [
            "crossfade provider token delete Example prov_0123456789abcdefghijkl",
            "crossfade provider token delete idp_0123456789abcdefghijkl prov_0123456789abcdefghijkl",
        ],
    ),
    ("webhook list", ["crossfade webhook list", "crossfade webhook list --json"]),
    (
        "webhook show",
        ["crossfade webhook show Rotations", "crossfade webhook show wh_0123456789abcdefghijkl --json"],
    ),
    (
        "webhook create",
        [
            "crossfade webhook create Rotations --client \"Billing API\" --to https://hooks.example.com/crossfade --output signing.secret",
            "crossfade webhook create On-call --format pagerduty --routing-key-file pagerduty.key --confirm platform --show",
        ],
    ),
    (
        "webhook update",
        [
            "crossfade webhook update Rotations --event secret.rotated,secret.expired",
            "crossfade webhook update Rotations --to https://hooks.example.com/new --confirm \"Billing API\"",
        ],
    ),
    (
        "webhook delete",
        [
            "crossfade webhook delete Rotations",
            "crossfade webhook delete wh_0123456789abcdefghijkl --confirm Rotations",
        ],
    ),
    (
        "webhook rotate-secret",
        [
            "crossfade webhook rotate-secret Rotations --overlap 24h --output signing.secret",
            "crossfade webhook rotate-secret Rotations --overlap 0 --show",
        ],
    ),
    (
        "webhook deliveries",
        [
            "crossfade webhook deliveries Rotations",
            "crossfade webhook deliveries Rotations --limit 20 --json",
        ],
    ),
    (
        "webhook replay",
        [
            "crossfade webhook replay Rotations del_0123456789abcdefghijkl",
            "crossfade webhook replay Rotations del_0123456789abcdefghijkl --json",
        ],
    ),
    ("webhook test", ["crossfade webhook test Rotations", "crossfade webhook test Rotations --json"]),
    ("user list", ["crossfade user list", "crossfade user list --q grace"]),
    ("user show", ["crossfade user show grace@example.com", "crossfade user show grace@example.com --json"]),
    (
        "user create",
        [
            "crossfade user create --email grace@example.com --name \"Grace Hopper\" --output grace.link",
            "crossfade user create --program --name \"deploy job\"",
        ],
    ),
    (
        "user update",
        [
            "crossfade user update grace@example.com --name \"Grace Hopper\"",
            "crossfade user update grace@example.com --email hopper@example.com",
        ],
    ),
    (
        "user delete",
        [
            "crossfade user delete grace@example.com --confirm \"Grace Hopper\"",
            "crossfade user delete grace@example.com --hand-over-to payments@example.com --confirm \"Grace Hopper\"",
        ],
    ),
    (
        "user hand-over",
        ["crossfade user hand-over grace@example.com", "crossfade user hand-over grace@example.com --json"],
    ),
    (
        "user link",
        [
            "crossfade user link grace@example.com --output grace.link",
            "crossfade user link grace@example.com --show",
        ],
    ),
    (
        "grant list",
        ["crossfade grant list grace@example.com", "crossfade grant list grace@example.com --json"],
    ),
    (
        "grant create",
        [
            "crossfade grant create grace@example.com --role secret_rotator --property Payments --env staging,production --output grace.link",
            "crossfade grant create usr_0123456789abcdefghijkl --role secret_rotator --client \"Billing API\"",
        ],
    ),
    (
        "grant delete",
        [
            "crossfade grant delete grace@example.com grant_0123456789abcdefghijkl",
            "crossfade grant delete usr_0123456789abcdefghijkl grant_0123456789abcdefghijkl",
        ],
    ),
    (
        "secret list",
        [
            "crossfade secret list \"Billing API\" --env production",
            "crossfade secret list \"Billing API\" --env production --json",
        ],
    ),
    (
        "secret history",
        [
            "crossfade secret history \"Billing API\" --env production",
            "crossfade secret history \"Billing API\" --env production --json",
        ],
    ),
    (
        "secret usage",
        [
            "crossfade secret usage \"Billing API\" --env production",
            "crossfade secret usage \"Billing API\" --env production --json",
        ],
    ),
    (
        "secret series",
        [
            "crossfade secret series \"Billing API\" --env production --since 24h",
            "crossfade secret series \"Billing API\" --env production --grain day --since 7d --json",
        ],
    ),
    (
        "secret change-over",
        [
            "crossfade secret change-over \"Billing API\" --env production",
            "crossfade secret change-over \"Billing API\" --env production --json",
        ],
    ),
    (
        "secret watch",
        [
            "crossfade secret watch \"Billing API\" --env production",
            "crossfade secret watch \"Billing API\" --env production --until quiet=30m --every 10s",
        ],
    ),
    (
        "secret rotate",
        [
            "crossfade secret rotate \"Billing API\" --env production --transition 24h --confirm \"Billing API\" --if-older-than 80d --output billing.secret",
            "crossfade secret rotate \"Billing API\" --env production --transition 0 --compromised --revoke-tokens --confirm \"Billing API\" --output new.secret",
        ],
    ),
    (
        "secret reveal",
        [
            "crossfade secret reveal \"Billing API\" --env production --output current.secret",
            "crossfade secret reveal \"Billing API\" --env production --show --reason \"new deployment\"",
        ],
    ),
    ("secret identify", ["crossfade secret identify", "crossfade secret identify --json --exit-code"]),
    (
        "secret revoke",
        [
            "crossfade secret revoke \"Billing API\" --env production --only-if safe --reason \"all callers have moved\"",
            "crossfade secret revoke \"Billing API\" --env production --compromised --revoke-tokens --reason leaked --confirm \"Billing API\"",
        ],
    ),
    (
        "secret extend",
        [
            "crossfade secret extend \"Billing API\" --env production --until +24h --reason \"the nightly job is late\"",
            "crossfade secret extend \"Billing API\" --env production --until 2030-01-31T08:00:00Z --reason \"release is late\"",
        ],
    ),
    (
        "secret rollback",
        [
            "crossfade secret rollback \"Billing API\" --env production --reason \"the new secret was lost\"",
            "crossfade secret rollback \"Billing API\" --env production --acknowledge-in-use --reason \"wrong secret delivered\"",
        ],
    ),
    (
        "drill schedule",
        [
            "crossfade drill schedule \"Billing API\" --env staging --length 60s --reason \"find forgotten callers\"",
            "crossfade drill schedule \"Billing API\" --env production --length 60s --start +10m --repeat 3 --every 10m --reason \"find forgotten callers\"",
        ],
    ),
    (
        "drill list",
        [
            "crossfade drill list \"Billing API\" --env production",
            "crossfade drill list \"Billing API\" --env production --json",
        ],
    ),
    (
        "drill stop",
        [
            "crossfade drill stop \"Billing API\" --env production --running",
            "crossfade drill stop \"Billing API\" --env production drill_0123456789abcdefghijkl --reason \"invoices fail\"",
        ],
    ),
    (
        "audit list",
        [
            "crossfade audit list --client \"Billing API\" --since 7d",
            "crossfade audit list --actor ada@example.com --action secret.rotated --outcome done",
        ],
    ),
    (
        "audit checkpoint",
        ["crossfade audit checkpoint", "crossfade audit checkpoint --url https://auth.example.com"],
    ),
    (
        "audit verify",
        [
            "crossfade audit verify --checkpoint checkpoint.json",
            "crossfade audit verify trail.jsonl --checkpoint checkpoint.json",
        ],
    ),
    (
        "audit export",
        [
            "crossfade audit export --since 2026-01-01T00:00:00Z",
            "crossfade audit export --outcome refused --since 24h --env production",
        ],
    ),
    (
        "audit failures",
        [
            "crossfade audit failures --client \"Billing API\" --since 24h",
            "crossfade audit failures --reason expired --env production",
        ],
    ),
    (
        "login",
        [
            "crossfade login --url https://auth.example.com",
            "crossfade login --url https://auth.example.com --profile work --expires-days 7 --no-browser",
        ],
    ),
    ("logout", ["crossfade logout", "crossfade logout --profile work --forget"]),
    ("profile list", ["crossfade profile list", "crossfade profile list --json"]),
    ("profile use", ["crossfade profile use work", "crossfade profile use auth.example.com"]),
    (
        "access list",
        [
            "crossfade access list --user ada@example.com",
            "crossfade access list --client 'Billing API' --env production --permission secret:rotate --json",
        ],
    ),
    ("whoami", ["crossfade whoami", "crossfade whoami --json"]),
    ("man", ["crossfade man", "crossfade man --dir /usr/local/share/man/man1"]),
    ("completions", ["crossfade completions bash", "crossfade completions zsh"]),
];

/// Returns the examples of a command, by its words after `crossfade`.
pub(crate) fn examples(words: &str) -> &'static [&'static str] {
    let found = EXAMPLES.iter().find(|(command, _)| *command == words);
    found.map(|(_, examples)| examples.as_slice()).unwrap_or_default()
}

/// Returns the whole command line, with its examples.
pub(crate) fn program() -> Command {
    with_examples(Cli::command(), "")
}

fn with_examples(command: Command, words: &str) -> Command {
    let lines: String = examples(words).iter().map(|example| format!("\n  {example}")).collect();
    let command = match lines.as_str() {
        "" => command,
        lines => command.after_help(format!("Examples:{lines}")),
    };
    let words = words.to_owned();
    command.mut_subcommands(move |child| {
        let words = format!("{words} {}", child.get_name());
        with_examples(child, words.trim_start())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, path::Path};

    /// Splits a line into words at spaces. Quotes work as in a shell; nothing else of a shell does.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
        for letter in line.chars() {
            match (quote, letter) {
                (Some(open), letter) if open == letter => quote = None,
                (None, '"' | '\'') => {
                    quote = Some(letter);
                    word.get_or_insert_default();
                }
                (None, ' ') => words.extend(word.take()),
                (_, letter) => word.get_or_insert_default().push(letter),
            }
        }
        words.extend(word);
        words
    }

    #[track_caller]
    fn parses(line: &str) {
        if let Err(error) = program().try_get_matches_from(words(line)) {
            panic!("{line}: {error}");
        }
    }

    fn leaves(command: &Command, words: &str, found: &mut Vec<String>) {
        let children: Vec<_> = command.get_subcommands().filter(|child| child.get_name() != "help").collect();
        if children.is_empty() {
            found.push(words.to_owned());
        }
        for child in children {
            leaves(child, format!("{words} {}", child.get_name()).trim_start(), found);
        }
    }

    #[test]
    fn every_command_has_two_examples_of_its_own_that_parse() {
        let mut commands = Vec::new();
        leaves(&program(), "", &mut commands);
        for command in &commands {
            assert_eq!(examples(command).len(), 2, "{command} has no examples");
            for example in examples(command) {
                assert!(example.starts_with(&format!("crossfade {command}")), "{command}: {example}");
                parses(example);
            }
        }
        assert_eq!(commands.len(), EXAMPLES.len(), "an example is of no command");
    }

    #[test]
    fn the_help_of_every_command_shows_its_examples() {
        fn check(command: &mut Command, words: &str) {
            let help = command.render_long_help().to_string();
            for example in examples(words) {
                assert!(help.contains(&format!("\n  {example}")), "{words}: {help}");
            }
            for child in command.get_subcommands_mut() {
                check(child, format!("{words} {}", child.get_name()).trim_start());
            }
        }
        check(&mut program().term_width(0), "");
    }

    /// The commands in the sh blocks of a page, with continued lines joined.
    fn commands(page: &str) -> Vec<String> {
        let mut in_block = false;
        let mut found = Vec::new();
        let joined = page.replace("\\\n", " ");
        for line in joined.lines().map(str::trim) {
            match line {
                line if line.starts_with("```") => in_block = line == "```sh",
                line if in_block && line.starts_with("crossfade ") => found.push(line.to_owned()),
                _ => {}
            }
        }
        found
    }

    #[test]
    fn the_commands_in_the_guides_parse() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut pages = vec![root.join("README.md")];
        for directory in ["docs/guide", "docs/concepts"] {
            let entries = fs::read_dir(root.join(directory)).unwrap();
            pages
                .extend(entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some()));
        }
        let mut count = 0;
        for page in pages {
            for line in commands(&fs::read_to_string(&page).unwrap()) {
                // What the shell does with it is not the program's.
                let line = line.split(" >").next().unwrap_or_default().split(" |").next().unwrap_or_default();
                let line = line.split(" #").next().unwrap_or_default().trim_end();
                let line = line.replace("$(date +%F)", "2030-01-31");
                if let Err(error) = program().try_get_matches_from(words(&line)) {
                    panic!("{}: {line}: {error}", page.display());
                }
                count += 1;
            }
        }
        assert!(count > 40, "{count} commands were found");
    }
}
