//! The command that returns the master keys, as a secret manager's client does. There is no shell, and nothing of this
//! process's environment reaches the command, so only the settings file decides what runs.

use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    fmt,
    fs::Metadata,
    io::Read,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};
use zeroize::Zeroizing;

/// How long the command may take.
const LIMIT: Duration = Duration::from_secs(30);
/// Maximum size of its output, and the logged part of its messages, in bytes.
const MAX_OUTPUT: u64 = 64 * 1024;
const MAX_MESSAGES: u64 = 16 * 1024;
/// Maximum length of a logged line, in characters.
const MAX_LINE: usize = 500;
/// The whole environment of the command.
const PATH: (&str, &str) = ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
/// Permission bits that let others than the owner write.
const WRITE_OF_OTHERS: u32 = 0o022;

/// A program that returns the master keys, and its arguments.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyCommand {
    program: PathBuf,
    arguments: Vec<String>,
}

/// Leaves out the arguments, which can contain a credential.
impl fmt::Debug for KeyCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyCommand({:?})", self.program)
    }
}

impl KeyCommand {
    /// Creates a command. Returns what is wrong with its words.
    pub fn new(words: Vec<String>) -> Result<Self, &'static str> {
        let mut words = words.into_iter();
        let program = PathBuf::from(words.next().unwrap_or_default());
        match program.is_absolute() {
            true => Ok(Self { program, arguments: words.collect() }),
            false => Err("must begin with the absolute path of a program"),
        }
    }

    /// Path of the program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Runs the command and returns its output, or what went wrong. Logs its messages.
    pub(crate) fn output(&self) -> Result<Zeroizing<String>, String> {
        let found = std::fs::metadata(&self.program).map_err(|error| format!("cannot be found: {error}"))?;
        if let Some(who) = other_writer(&found) {
            return Err(format!("was not run, because {who} can change the program"));
        }
        let run = self.run(LIMIT)?;
        for line in run.messages() {
            tracing::warn!(program = %self.program.display(), "message of the master key command: {line}");
        }
        match run.status {
            status if !status.success() => Err(format!("failed ({status})")),
            _ if run.output.len() as u64 > MAX_OUTPUT => {
                Err(format!("returned more than {MAX_OUTPUT} bytes"))
            }
            _ => String::from_utf8(run.output.to_vec())
                .map(Zeroizing::new)
                .map_err(|_| "returned an output that is not text".to_owned()),
        }
    }

    /// Runs the command for at most this long.
    fn run(&self, limit: Duration) -> Result<Run, String> {
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .env_clear()
            .env(PATH.0, PATH.1)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own, so that what it started is stopped with it.
            .process_group(0)
            .spawn()
            .map_err(|error| format!("cannot be started: {error}"))?;
        let group = Pid::from_child(&child);
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || sender.send(collect(child)));
        match receiver.recv_timeout(limit) {
            Ok(run) => run.map_err(|error| format!("cannot be read: {error}")),
            Err(_) => {
                let _ = kill_process_group(group, Signal::KILL);
                Err(format!("did not end within {} s and was stopped", limit.as_secs()))
            }
        }
    }
}

/// Returns who can change a file besides root and the user of this process.
pub fn other_writer(found: &Metadata) -> Option<String> {
    let (mode, uid) = (found.mode() & 0o7777, found.uid());
    if uid != 0 && uid != rustix::process::geteuid().as_raw() {
        return Some(format!("user {uid}"));
    }
    (mode & WRITE_OF_OTHERS != 0).then(|| format!("its group or every user (mode {mode:o})"))
}

/// What a command wrote, and how it ended.
struct Run {
    output: Zeroizing<Vec<u8>>,
    messages: Zeroizing<Vec<u8>>,
    status: ExitStatus,
}

impl Run {
    /// Returns the lines of its messages, without those that contain a part of the output.
    fn messages(&self) -> Vec<String> {
        let (output, messages) =
            (String::from_utf8_lossy(&self.output), String::from_utf8_lossy(&self.messages));
        let parts: Vec<&str> =
            output.split(|it: char| it.is_whitespace() || it == ':').filter(|part| part.len() >= 8).collect();
        let shown = |line: &str| match parts.iter().any(|part| line.contains(part))
            || line.contains("master-key-1:")
        {
            true => "(a line with a key was left out)".to_owned(),
            false => line.chars().filter(|it| !it.is_control()).take(MAX_LINE).collect(),
        };
        messages.lines().filter(|line| !line.trim().is_empty()).map(shown).collect()
    }
}

/// Reads everything that a child writes, and waits for its end.
fn collect(mut child: Child) -> std::io::Result<Run> {
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let messages = thread::spawn(move || {
        let mut messages = Zeroizing::new(Vec::new());
        if let Some(mut err) = err {
            let _ = err.by_ref().take(MAX_MESSAGES).read_to_end(&mut messages);
            // Read to the end, because a command that cannot write its messages waits for ever.
            let _ = std::io::copy(&mut err, &mut std::io::sink());
        }
        messages
    });
    // Room for all of it, because a buffer that grows leaves copies in freed memory.
    let mut output = Zeroizing::new(Vec::with_capacity(MAX_OUTPUT as usize + 1));
    if let Some(out) = out {
        out.take(MAX_OUTPUT + 1).read_to_end(&mut output)?;
    }
    let messages = messages.join().unwrap_or_default();
    Ok(Run { output, messages, status: child.wait()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> KeyCommand {
        KeyCommand::new(vec!["/bin/sh".to_owned(), "-c".to_owned(), script.to_owned()]).unwrap()
    }

    #[test]
    fn a_command_gets_no_environment_and_no_input() {
        let run = shell("env; cat; pwd").run(LIMIT).unwrap();
        let output = String::from_utf8(run.output.to_vec()).unwrap();
        let names: Vec<&str> =
            output.lines().filter_map(|line| line.split_once('=')).map(|it| it.0).collect();
        // The shell itself sets the last two.
        assert!(names.iter().all(|name| ["PATH", "PWD", "_", "SHLVL", "OLDPWD"].contains(name)), "{output}");
        assert!(output.ends_with("\n/\n"), "{output}");
    }

    #[test]
    fn a_command_that_does_not_end_is_stopped_with_everything_it_started() {
        let directory = std::env::temp_dir().join(format!("crossfade-key-command-{}", std::process::id()));
        let script = format!("(sleep 1; touch {}) & sleep 60", directory.display());
        let told = shell(&script).run(Duration::from_millis(200)).err().unwrap();
        assert_eq!(told, "did not end within 0 s and was stopped");
        thread::sleep(Duration::from_millis(1500));
        assert!(!directory.exists());
    }

    #[test]
    fn messages_are_told_without_the_output() {
        let run =
            shell("echo crossfade-master-key-1:c2VjcmV0; echo used c2VjcmV0 >&2; echo good >&2").run(LIMIT);
        assert_eq!(run.unwrap().messages(), ["(a line with a key was left out)", "good"]);
    }

    #[test]
    fn an_output_of_any_size_ends() {
        let told = shell("head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2").output().err().unwrap();
        assert!(told.contains("65536") || told.contains("signal"), "{told}");
        assert_eq!(shell("exit 3").output().err().unwrap(), "failed (exit status: 3)");
    }

    #[test]
    fn only_an_absolute_path_is_a_program() {
        for words in [vec![], vec![String::new()], vec!["cat".to_owned()], vec!["./cat".to_owned()]] {
            assert!(KeyCommand::new(words).is_err());
        }
        assert!(KeyCommand::new(vec!["/none".to_owned()]).unwrap().output().is_err());
    }
}
