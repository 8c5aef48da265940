//! Crossfade: a self-hosted authority for OAuth 2.0 client secrets. One binary for the server and the command line.

mod backup;
mod cli;
mod connections;
mod core_dumps;
mod database;
mod demo;
mod doctor;
mod failure;
mod judge;
mod keys;
mod local;
mod log;
mod log_pace;
mod loopback;
mod mail;
mod manual;
mod output;
mod profiles;
mod progress;
mod quarantine;
#[cfg(test)]
mod reference;
mod remote;
mod serve;
mod settings;
mod signals;
mod tls;
mod usage;
mod variables;
mod verify;

use clap::{CommandFactory, FromArgMatches};
use cli::{Cli, Command};
use failure::Failure;
use std::process::ExitCode;
use variables::{Variables, leaf};

fn main() -> ExitCode {
    core_dumps::prevent();
    let line: Vec<_> = std::env::args_os().collect();
    let variables = Variables::of_process();
    let matches = match variables.without_empty(cli::program()).try_get_matches_from(&line) {
        Ok(matches) => matches,
        Err(error) => return usage::report(&error, &line),
    };
    if let Err(failure) = variables.check(&Cli::command(), &matches) {
        return failure.exit();
    }
    settings::warn_of_typed_password(&matches);
    let flags = flags(&matches);
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => return usage::report(&error, &line),
    };
    if let Err(problem) = judge::judge(&cli.command) {
        return Failure::misused(problem).with_flag(&flags).exit();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::failed(format!("Cannot start the program: {error}.")).exit(),
    };
    if cli.command.is_remote() {
        signals::clear_line_on_interrupt(&runtime);
    }
    match runtime.block_on(run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.with_flag(&flags).exit(),
    }
}

/// Returns the flags of the command that was typed.
fn flags(matches: &clap::ArgMatches) -> Vec<String> {
    let program = Cli::command();
    let (command, _) = leaf(&program, matches);
    command.get_arguments().filter_map(clap::Arg::get_long).map(str::to_owned).collect()
}

async fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Serve(args) => serve::serve(args).await,
        Command::Demo(args) => demo::demo(args).await,
        Command::Init(args) => local::init(args).await,
        Command::Doctor(args) => doctor::doctor(args).await,
        Command::Backup(args) => backup::back_up(args).await,
        Command::Restore(args) => backup::restore(args).await,
        Command::Quarantine(cli::Quarantine::Show(args)) => quarantine::show(args).await,
        Command::Quarantine(cli::Quarantine::Release(args)) => quarantine::release(args).await,
        Command::Mail(cli::Mail::Show(args)) => mail::show(args).await,
        Command::Mail(cli::Mail::Test(args)) => mail::test(args).await,
        Command::Mail(cli::Mail::Release(args)) => mail::release(args).await,
        Command::Keys(cli::Keys::List(args)) => keys::list(args).await,
        Command::Keys(cli::Keys::Secrets(args)) => keys::secrets(args).await,
        Command::Keys(cli::Keys::Rotate(args)) => keys::rotate(args).await,
        Command::Keys(cli::Keys::Create(args)) => keys::create(args).await,
        Command::Keys(cli::Keys::Delete { id, keys }) => keys::delete(&id, keys).await,
        Command::Owner(cli::Owner::Recover(args)) => local::recover_owner(args).await,
        Command::Login(args) => remote::login(args).await,
        Command::Logout(args) => remote::logout(args).await,
        Command::Profile(command) => remote::profile(command),
        Command::Token(cli::Token::Create(args)) => local::create_token(*args).await,
        Command::Token(cli::Token::Remote(command)) => remote::token(command).await,
        Command::Client(command) => remote::client(command).await,
        Command::SignInPolicy(command) => remote::sign_in_policy(command).await,
        Command::Messages(command) => remote::messages(command).await,
        Command::Registration(command) => remote::registration(command).await,
        Command::Env(command) => remote::environment(command).await,
        Command::Property(command) => remote::property(command).await,
        Command::Provider(command) => remote::provider(command).await,
        Command::Webhook(command) => remote::webhook(command).await,
        Command::Upstream(command) => remote::upstream(command).await,
        Command::Node(command) => remote::node(command).await,
        Command::User(command) => remote::user(command).await,
        Command::Access(command) => remote::access(command).await,
        Command::Grant(command) => remote::grant(command).await,
        Command::Whoami(remote) => remote::whoami(remote).await,
        Command::Secret(command) => remote::secret(command).await,
        Command::Drill(command) => remote::drill(command).await,
        Command::Audit(cli::Audit::Verify(args)) => verify::verify(*args).await,
        Command::Audit(command) => remote::audit(command).await,
        Command::Man(args) => manual::manual(&args),
        Command::Completions { shell } => {
            let mut command = cli::program();
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command, "crossfade", &mut script);
            output::data(&String::from_utf8_lossy(&script))
        }
    }
}
