//! Signals: those that stop this process in an orderly way, and those that must not end it.

use crate::output;
use std::{
    convert::Infallible,
    future::poll_fn,
    io::{IsTerminal, Write},
    task::Poll,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Requests to stop this process. No request is lost once this exists.
pub(crate) struct Stop {
    /// Sent by service managers, which wait.
    drain: [Option<Signal>; 1],
    /// Sent by people at a terminal.
    soon: [Option<Signal>; 2],
}

/// How the process is asked to stop.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// After load balancers had time to send requests elsewhere.
    Drain,
    /// As soon as open requests are answered.
    Soon,
}

impl Stop {
    pub(crate) fn new() -> Self {
        let drain = signals([SignalKind::terminate()]);
        Self { drain, soon: signals([SignalKind::interrupt(), SignalKind::quit()]) }
    }

    /// Returns when the process is asked to stop.
    pub(crate) async fn asked(&mut self) -> Asked {
        tokio::select! {
            () = first_of(&mut self.soon) => Asked::Soon,
            () = first_of(&mut self.drain) => Asked::Drain,
        }
    }
}

/// Returns when the process is asked to stop, or when its terminal is closed.
pub(crate) async fn stop_or_hang_up() {
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::quit(), SignalKind::hangup()];
    first_of(&mut signals(kinds)).await;
}

/// Signals that would end the process and lose the evidence that is not stored yet. They do nothing once this exists.
pub(crate) struct Ignored([Option<Signal>; 4]);

impl Ignored {
    pub(crate) fn new() -> Self {
        let (user_1, user_2) = (SignalKind::user_defined1(), SignalKind::user_defined2());
        Self(signals([SignalKind::hangup(), user_1, user_2, SignalKind::alarm()]))
    }

    /// Logs a line for each of these signals. HUP also runs `reread`.
    pub(crate) async fn log(&mut self, reread: impl Fn()) -> Infallible {
        let Self([hang_up, user_1, user_2, alarm]) = self;
        loop {
            let name = tokio::select! {
                () = next(hang_up) => {
                    tracing::info!(signal = "HUP", "examining the TLS certificate, if there is one");
                    reread();
                    continue;
                }
                () = next(user_1) => "USR1",
                () = next(user_2) => "USR2",
                () = next(alarm) => "ALRM",
            };
            tracing::info!(signal = name, "ignored a signal");
        }
    }
}

/// Exit status of an interrupted program, as in shells.
const INTERRUPTED: i32 = 130;

/// Makes Ctrl-C on a terminal remove a spinner or a bar before it ends the process. Uses a separate thread, because a
/// command that waits for input does not run.
pub(crate) fn clear_line_on_interrupt(runtime: &tokio::runtime::Runtime) {
    if !std::io::stderr().is_terminal() {
        return;
    }
    let _entered = runtime.enter();
    let Ok(mut interrupt) = signal(SignalKind::interrupt()) else { return };
    let handle = runtime.handle().clone();
    std::thread::spawn(move || {
        if handle.block_on(interrupt.recv()).is_none() {
            return;
        }
        let _ = std::io::stderr().write_all(b"\r\x1b[Kcrossfade: Interrupted.\n");
        let _until_exit = output::abandon();
        std::process::exit(INTERRUPTED)
    });
}

/// Runs `last` when a signal is to end this process, and then ends it with the status that shells give such a process.
/// Ctrl-C on a terminal is left to [`clear_line_on_interrupt`].
pub(crate) fn end_after(last: fn()) {
    let Ok(handle) = tokio::runtime::Handle::try_current() else { return };
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let is_ours = |kind: &SignalKind| {
        let is_cleared = *kind == SignalKind::interrupt() && std::io::stderr().is_terminal();
        !is_cleared && !is_ignored(*kind)
    };
    for kind in kinds.into_iter().filter(is_ours) {
        let Ok(mut signal) = signal(kind) else { continue };
        let handle = handle.clone();
        std::thread::spawn(move || {
            if handle.block_on(signal.recv()).is_some() {
                last();
                std::process::exit(128 + kind.as_raw_value());
            }
        });
    }
}

/// Whether this process was started to outlive this signal, as with `nohup`.
fn is_ignored(kind: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (kind.as_raw_value() - 1) & 1 == 1
}

fn signals<const N: usize>(kinds: [SignalKind; N]) -> [Option<Signal>; N] {
    kinds.map(|kind| signal(kind).ok())
}

/// Returns at the first of these signals. Without any signal it never returns.
async fn first_of(signals: &mut [Option<Signal>]) {
    poll_fn(|context| {
        let is_asked = signals.iter_mut().flatten().any(|signal| signal.poll_recv(context).is_ready());
        if is_asked { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

async fn next(signal: &mut Option<Signal>) {
    let received = match signal {
        Some(signal) => signal.recv().await,
        None => None,
    };
    if received.is_none() {
        std::future::pending::<()>().await;
    }
}
