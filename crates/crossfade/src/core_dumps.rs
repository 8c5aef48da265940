//! Core dumps, which would contain keys and secrets. Every command prevents them for itself, because a limit that the
//! service manager sets does not apply to commands on a terminal.

use crossfade_app::doctor::Check;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, dumpable_behavior, getrlimit, set_dumpable_behavior, setrlimit,
};

/// Prevents core dumps of this process, and other processes of its user from reading its memory and environment.
/// [`check`] tells if it fails.
pub(crate) fn prevent() {
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// Checks whether core dumps of this process are prevented.
pub(crate) fn check() -> Check {
    const NAME: &str = "core_dumps";
    let has_limit = getrlimit(Resource::Core).current == Some(0);
    match (has_limit, dumpable_behavior()) {
        (true, Ok(DumpableBehavior::NotDumpable)) => {
            Check::ok(NAME, "No core dump of this program is written.")
        }
        (has_limit, dumpable) => {
            let limit = if has_limit { "" } else { "the limit of their size is not 0" };
            let dumpable = match dumpable {
                Ok(DumpableBehavior::NotDumpable) => String::new(),
                Ok(_) => "the process is dumpable".to_owned(),
                Err(error) => format!("the system does not say whether the process is dumpable: {error}"),
            };
            let and = if !limit.is_empty() && !dumpable.is_empty() { ", and " } else { "" };
            let sentence = format!("A core dump of this program would contain keys: {limit}{and}{dumpable}.");
            Check::warn(
                NAME,
                sentence,
                "Turn core dumps off in the system: ulimit -c 0, or LimitCORE=0 in the unit.",
            )
        }
    }
}
