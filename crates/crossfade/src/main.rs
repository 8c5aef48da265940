//! Crossfade: a self-hosted authority for OAuth 2.0 client secrets. One binary that serves, and that speaks
//! to a server.

mod backup;
mod cli;
mod demo;
mod doctor;
mod failure;
mod local;
mod output;
#[cfg(test)]
mod reference;
mod remote;
mod serve;
mod settings;

use clap::Parser;
use cli::{Cli, Command};
use failure::Failure;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::failed(format!("The program cannot start: {error}.")).exit(),
    };
    match runtime.block_on(run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.exit(),
    }
}

async fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Serve(args) => serve::serve(args).await,
        Command::Demo(args) => demo::demo(args).await,
        Command::Init(args) => local::init(args).await,
        Command::Doctor(args) => doctor::doctor(args).await,
        Command::Backup(args) => backup::back_up(args).await,
        Command::Restore(args) => backup::restore(args).await,
        Command::Owner(cli::Owner::Recover(args)) => local::recover_owner(args).await,
        Command::Token(cli::Token::Create(args)) => local::create_token(*args).await,
        Command::Token(cli::Token::Remote(command)) => remote::token(command).await,
        Command::Client(command) => remote::client(command).await,
        Command::Env(command) => remote::environment(command).await,
        Command::Property(command) => remote::property(command).await,
        Command::Secret(command) => remote::secret(command).await,
        Command::Audit(command) => remote::audit(command).await,
        Command::Completions { shell } => {
            let mut command = <Cli as clap::CommandFactory>::command();
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command, "crossfade", &mut script);
            output::data(&String::from_utf8_lossy(&script))
        }
    }
}
