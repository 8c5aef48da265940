//! `crossfade man`: the manual pages, generated from the command line definition.

use crate::{
    cli::{Manual, program},
    failure::Failure,
    output,
};
use clap_mangen::Man;
use std::path::Path;

/// Prints the page of the program, or writes one for each command.
pub(crate) fn manual(args: &Manual) -> Result<(), Failure> {
    let mut command = program().disable_help_subcommand(true);
    command.build();
    match &args.dir {
        None => output::data(&page(&command)?),
        Some(directory) => {
            std::fs::create_dir_all(directory).map_err(|error| unwritable(directory, &error))?;
            let written = write(&command, directory)?;
            output::note(&format!("Wrote {written} pages to {}.", directory.display()));
            Ok(())
        }
    }
}

fn page(command: &clap::Command) -> Result<String, Failure> {
    let mut page = Vec::new();
    let rendered = Man::new(command.clone()).render(&mut page);
    rendered.map_err(|error| Failure::failed(format!("Cannot create the manual page: {error}.")))?;
    Ok(with_examples(&String::from_utf8_lossy(&page)))
}

/// Moves the examples to the section that manual pages have for them, and prevents their lines from being joined.
fn with_examples(page: &str) -> String {
    let Some((before, after)) = page.split_once(".SH EXTRA\nExamples:\n") else { return page.to_owned() };
    let (examples, rest) = after.split_at(after.find(".SH ").unwrap_or(after.len()));
    format!("{before}.SH EXAMPLES\n.nf\n{examples}.fi\n{rest}")
}

/// Writes the page of a command and of every command below it. Returns their number.
fn write(command: &clap::Command, directory: &Path) -> Result<usize, Failure> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let path = directory.join(format!("{name}.1"));
    std::fs::write(&path, page(command)?).map_err(|error| unwritable(&path, &error))?;
    command.get_subcommands().try_fold(1, |written, child| Ok(written + write(child, directory)?))
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(format!("Cannot write {}: {error}.", path.display()))
}
