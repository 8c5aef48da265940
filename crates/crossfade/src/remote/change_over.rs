//! `crossfade secret change-over`, `series` and `watch`.

use super::{
    http::{Api, form_encode},
    secrets::Site,
};
use crate::{
    cli::{Place, Remote, Series, Watch},
    failure::Failure,
    output::{self, fixed, text, time},
};
use crossfade_authority::Clock;
use crossfade_core::{
    Code, Timestamp,
    api::{Caller, CallerUse, ChangeOver, RefusedCaller, UsagePoint, VerdictReason},
    change_over::{Verdict, Why},
};
use indicatif::{ProgressBar, ProgressStyle};
use std::{io::IsTerminal, time::Duration};
use tokio::time::{Instant, sleep, timeout};

/// How long a watch without a timeout continues while the server does not answer.
const UNANSWERED_FOR: Duration = Duration::from_secs(15 * 60);
/// A little longer than the server keeps a reading.
const KEPT_FOR: Duration = Duration::from_millis(1100);
/// Interval at which a watch without a terminal repeats that the server does not answer.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// Shows the change-over.
pub(crate) async fn change_over(place: &Place, remote: &Remote) -> Result<(), Failure> {
    let site = Site::find(Api::new(remote)?, place).await?;
    let now = read_now(&site).await?;
    if remote.json {
        return output::json(&now);
    }
    output::data(&told(&now))?;
    shown_callers(&now.callers)?;
    if !now.refused_since_end.is_empty() {
        output::data("\nCallers refused since the old secret ended:\n")?;
        shown_refused(&now.refused_since_end)?;
    }
    if now.refused_earlier.is_empty() {
        return Ok(());
    }
    output::data("\nCallers refused with an earlier secret in the last 7 days:\n")?;
    shown_refused(&now.refused_earlier)
}

fn shown_refused(refused: &[RefusedCaller]) -> Result<(), Failure> {
    let row = |it: &RefusedCaller| {
        let [from, agent, instance] =
            source(it.source_ip.as_ref(), it.gathered, it.user_agent.as_ref(), it.instance.as_ref());
        vec![from, agent, instance, time(Some(it.last_at)), it.refusal_count.to_string()]
    };
    let columns = [fixed("from"), text("agent"), text("instance"), fixed("last refused"), fixed("refusals")];
    output::table(&columns, refused.iter().map(row).collect())
}

/// Returns the source of a caller in three cells.
pub(super) fn source(
    ip: Option<&String>,
    gathered: bool,
    user_agent: Option<&String>,
    instance: Option<&String>,
) -> [String; 3] {
    let agent = match gathered {
        true => "(several)".to_owned(),
        false => user_agent.cloned().unwrap_or_else(|| "-".to_owned()),
    };
    [
        ip.cloned().unwrap_or_else(|| "others".to_owned()),
        agent,
        instance.cloned().unwrap_or_else(|| "-".to_owned()),
    ]
}

/// Lists uses over time.
pub(crate) async fn series(args: Series) -> Result<(), Failure> {
    let site = Site::find(Api::new(&args.remote)?, &args.place).await?;
    let mut query = vec![form_encode("grain", args.grain.as_str())];
    let now = Clock::system().now();
    query.extend(args.since.map(|since| form_encode("since", &since.resolve(now).to_string())));
    query.extend(args.until.map(|until| form_encode("until", &until.resolve(now).to_string())));
    let path = format!("{}/usage/series?{}", site.path, query.join("&"));
    let points: Vec<UsagePoint> = site.api.list(&path, usize::MAX).await?;
    if args.remote.json {
        return output::json(&points);
    }
    let row = |it: UsagePoint| vec![time(Some(it.from)), it.secret_id.to_string(), it.use_count.to_string()];
    output::table(&[fixed("from"), fixed("secret"), fixed("uses")], points.into_iter().map(row).collect())
}

/// Waits until it is safe to end the old secret. Fails if the old secret ends before that, or at the timeout.
pub(crate) async fn watch(args: Watch) -> Result<(), Failure> {
    let api = Api::new(&args.remote)?.without_spinner();
    let mut sign = Sign::new();
    let watched = look_until_done(&args, api, &mut sign);
    let done = match args.timeout {
        None => watched.await,
        Some(limit) => match timeout(limit, watched).await {
            Ok(done) => done,
            Err(_) => {
                sign.end();
                return Err(not_reached(&sign, limit, args.remote.json)?);
            }
        },
    };
    sign.end();
    let last = done?;
    print(&last, args.remote.json)?;
    match last.verdict {
        Verdict::SafeToEnd => Ok(()),
        _ => Err(Failure::failed(match last.old_secret.state.is_valid() {
            true => {
                "The rotation was rolled back before the condition was met. The old secret is current again."
            }
            false => "The old secret ended before the condition was met.",
        })
        .with_code(Code::NotRetiring)),
    }
}

fn print(now: &ChangeOver, json: bool) -> Result<(), Failure> {
    if json { output::json(now) } else { output::data(&told(now)) }
}

/// Prints the last reading, and returns the failure of a watch whose time has passed.
fn not_reached(sign: &Sign, limit: Duration, json: bool) -> Result<Failure, Failure> {
    if let Some(last) = &sign.seen {
        print(last, json)?;
    }
    let why = match (&sign.unanswered, &sign.seen) {
        (Some(why), _) => why,
        (None, Some(last)) => &last.summary,
        (None, None) => "The server has not answered.",
    };
    let limit = span(limit);
    Ok(Failure::timed_out(format!("The condition was not met within {limit}. {why} Nothing was changed.")))
}

/// Reads the change-over in a loop until the goal is reached or can no longer be reached. Returns the last one.
async fn look_until_done(args: &Watch, api: Api, sign: &mut Sign) -> Result<ChangeOver, Failure> {
    let every = args.every;
    let mut patience = Patience::new(every, args.timeout.is_none().then_some(UNANSWERED_FOR));
    let site = loop {
        match Site::find(api.clone(), &args.place).await {
            Ok(site) => break site,
            Err(failure) => patience.wait(failure, sign).await?,
        }
    };
    let mut rotation = None;
    loop {
        let now = match read(&site, args.until.0).await {
            Ok(now) => now,
            Err(failure) => {
                patience.wait(failure, sign).await?;
                continue;
            }
        };
        patience.answered(sign);
        if rotation.get_or_insert_with(|| now.rotation_id.clone()) != &now.rotation_id {
            return Err(Failure::failed(
                "The secret was rotated again. This command watched the earlier rotation.",
            ));
        }
        sign.show(&now);
        if matches!(now.verdict, Verdict::SafeToEnd | Verdict::Ended) {
            return Ok(now);
        }
        sleep(every).await;
    }
}

/// Tolerance for passing failures: a server that is starting or restarting does not end a watch.
struct Patience {
    every: Duration,
    /// How long the server can be silent; `None` for the complete watch.
    limit: Option<Duration>,
    silent_since: Option<Instant>,
    said: Option<(String, Instant)>,
}

impl Patience {
    fn new(every: Duration, limit: Option<Duration>) -> Self {
        Self { every, limit, silent_since: None, said: None }
    }

    /// Reports why there is no answer, and waits for the next check. Fails on errors that do not go away on their own.
    async fn wait(&mut self, failure: Failure, sign: &mut Sign) -> Result<(), Failure> {
        let now = Instant::now();
        let silent = now - *self.silent_since.get_or_insert(now);
        if !failure.is_passing() || self.limit.is_some_and(|limit| silent >= limit) {
            return Err(failure);
        }
        let is_said = self
            .said
            .as_ref()
            .is_some_and(|(said, at)| said == failure.sentence() && (sign.draws() || now - *at < SAID_EVERY));
        sign.unanswered = Some(failure.sentence().to_owned());
        if !is_said {
            sign.note(&format!("{} Retrying every {}.", failure.sentence(), span(self.every)));
            self.said = Some((failure.sentence().to_owned(), now));
        }
        sign.wait_for_answer(silent);
        sleep(self.every).await;
        Ok(())
    }

    fn answered(&mut self, sign: &mut Sign) {
        if self.silent_since.take().is_some() {
            self.said = None;
            sign.note("The server responds again.");
        }
    }
}

async fn read(site: &Site, quiet: Option<Duration>) -> Result<ChangeOver, Failure> {
    let query = quiet.map(|quiet| format!("?quiet_seconds={}", quiet.as_secs())).unwrap_or_default();
    site.api.get(&format!("{}/change-over{query}", site.path)).await
}

/// Reads the change-over of now. The server keeps an answer for a second, so an answer from before this command is asked
/// for once more.
pub(super) async fn read_now(site: &Site) -> Result<ChangeOver, Failure> {
    let begun = Clock::system().now();
    let answer = read(site, None).await?;
    if answer.at >= begun {
        return Ok(answer);
    }
    sleep(KEPT_FOR).await;
    read(site, None).await
}

/// Progress of a watch on stderr: a bar on a terminal, elsewhere a line whenever the verdict changes.
struct Sign {
    bar: Option<ProgressBar>,
    last: Option<String>,
    /// The last reading.
    seen: Option<ChangeOver>,
    /// Why there has been no answer since then; `None` if there was one.
    unanswered: Option<String>,
}

impl Sign {
    fn new() -> Self {
        // A message that is too long for the terminal is cut off: a line that wraps cannot be drawn again.
        let style = ProgressStyle::with_template("{bar:8} {wide_msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = || ProgressBar::new(100).with_style(style);
        let bar = std::io::stderr().is_terminal().then(bar);
        Self { bar, last: None, seen: None, unanswered: None }
    }

    fn draws(&self) -> bool {
        self.bar.is_some()
    }

    fn show(&mut self, now: &ChangeOver) {
        (self.seen, self.unanswered) = (Some(now.clone()), None);
        match &self.bar {
            Some(bar) => {
                bar.set_position(progress(now));
                bar.set_message(short_line(now));
            }
            None => {
                let codes: Vec<Why> = now.reasons.iter().map(|reason| reason.code).collect();
                let said = format!("{} {} {codes:?}", now.verdict.as_str(), now.callers_left);
                if self.last.as_ref() != Some(&said) {
                    output::note(&format!("{} {}", time(Some(now.at)), line(now)));
                    self.last = Some(said);
                }
            }
        }
    }

    /// Writes a line that starts with the time and stays above the progress bar.
    fn note(&self, text: &str) {
        let text = format!("{} {text}", time(Some(Clock::system().now())));
        match &self.bar {
            Some(bar) => bar.suspend(|| output::note(&text)),
            None => output::note(&text),
        }
    }

    fn wait_for_answer(&self, silent: Duration) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("no response for {}", span(silent)));
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Returns the progress in percent: the share of callers that have moved, and then, when none is left, the share of the
/// quiet time.
fn progress(now: &ChangeOver) -> u64 {
    const MOVED: u64 = 50;
    let counts = now.caller_counts;
    let (moved, left) = (counts.moved + counts.on_new + counts.silent, now.callers_left);
    match now.verdict {
        Verdict::NotStarted => 0,
        Verdict::Moving | Verdict::CallersLeft => MOVED * moved / (moved + left).max(1),
        Verdict::Quiet => {
            let quiet = now.quiet_seconds.min(now.quiet_needed_seconds);
            MOVED + (100 - MOVED) * quiet / now.quiet_needed_seconds.max(1)
        }
        Verdict::SafeToEnd | Verdict::Ended => 100,
    }
}

/// Returns how many of the callers still use the old secret: "1 of 3 callers", or "1 caller" where it is the only one.
fn callers(now: &ChangeOver) -> String {
    let left = now.callers_left;
    match left + now.caller_counts.moved + now.caller_counts.on_new {
        1 => "1 caller".to_owned(),
        all => format!("{left} of {all} callers"),
    }
}

fn line(now: &ChangeOver) -> String {
    let ends = format!("ends in {}", rounded(now.ends_at.since(now.at)));
    let counts = match now.verdict {
        Verdict::NotStarted => format!("the new secret has not been used; the old secret {ends}"),
        Verdict::Moving | Verdict::CallersLeft => {
            format!("{} left on the old secret, which {ends}", callers(now))
        }
        Verdict::Quiet => {
            let quiet = Duration::from_secs(now.quiet_seconds);
            let needed = Duration::from_secs(now.quiet_needed_seconds);
            format!("quiet for {} of {}; the old secret {ends}", span(quiet), span(needed))
        }
        Verdict::SafeToEnd => return "safe to end".to_owned(),
        Verdict::Ended => return "ended".to_owned(),
    };
    let further: Vec<&str> = further_obstacles(now).map(|reason| reason.text.as_str()).collect();
    if further.is_empty() { counts } else { format!("{counts}. {}", further.join(" ")) }
}

/// Returns the reasons against ending the old secret that the numbers of a progress line do not show.
fn further_obstacles(now: &ChangeOver) -> impl Iterator<Item = &VerdictReason> {
    now.reasons.iter().filter(|reason| short_reason(reason.code).is_some())
}

/// Returns such a reason in a few words.
fn short_reason(why: Why) -> Option<&'static str> {
    match why {
        Why::NewSilent => Some("new secret not in use"),
        Why::Disabled => Some("registration disabled"),
        Why::EarlierTokens => Some("earlier tokens still valid"),
        Why::Gap => Some("gap in the evidence"),
        _ => None,
    }
}

/// Returns a text like [`line`], short enough for a terminal of 60 columns beside a bar.
fn short_line(now: &ChangeOver) -> String {
    let ends = format!("old ends in {}", rounded(now.ends_at.since(now.at)));
    let further = further_obstacles(now).next().and_then(|reason| short_reason(reason.code));
    match now.verdict {
        Verdict::NotStarted => format!("new secret not used yet, {ends}"),
        Verdict::Moving | Verdict::CallersLeft => {
            format!("{} left, {ends}", callers(now))
        }
        Verdict::Quiet if further.is_some() => format!("{}, {ends}", further.unwrap_or_default()),
        Verdict::Quiet => {
            let quiet = Duration::from_secs(now.quiet_seconds);
            let needed = Duration::from_secs(now.quiet_needed_seconds);
            format!("quiet for {} of {}, {ends}", span(quiet), span(needed))
        }
        Verdict::SafeToEnd | Verdict::Ended => line(now),
    }
}

/// Returns a duration to the second, such as "2 h 5 min".
fn span(length: Duration) -> String {
    let (hours, minutes, seconds) =
        (length.as_secs() / 3600, length.as_secs() / 60 % 60, length.as_secs() % 60);
    let parts = [(hours, "h"), (minutes, "min"), (seconds, "s")];
    let parts = parts.iter().filter(|(number, _)| *number > 0);
    let text = parts.map(|(number, unit)| format!("{number} {unit}")).collect::<Vec<_>>().join(" ");
    if text.is_empty() { "0 s".to_owned() } else { text }
}

/// Returns a remaining time, to the minute from one hour on.
fn rounded(length: Duration) -> String {
    let seconds = length.as_secs();
    span(Duration::from_secs(if seconds < 3600 { seconds } else { seconds - seconds % 60 }))
}

/// Returns the verdict with its reasons, for people.
fn told(now: &ChangeOver) -> String {
    let mut text = format!("{}\n", now.summary);
    for reason in &now.reasons {
        text.push_str(&format!("- {}\n", reason.text));
    }
    text.push_str(&format!("Rotated        {}\n", time(Some(now.rotated_at))));
    let ends = if now.verdict == Verdict::Ended { "Ended          " } else { "Ends           " };
    text.push_str(&format!("{ends}{}\n", time(Some(now.ends_at))));
    text.push_str(&format!("Quiet since    {}\n", time(Some(now.quiet_since))));
    if let Some(safe) = now.safe_at.filter(|safe| *safe > now.at && now.verdict != Verdict::Ended) {
        text.push_str(&format!(
            "Safe from      {}, if no caller uses the old secret until then\n",
            time(Some(safe))
        ));
    }
    for it in &now.deadline_warnings {
        let (told, deadline) = (time(Some(it.told_at)), time(Some(it.deadline)));
        text.push_str(&match it.extended_to {
            Some(later) => {
                format!("Extended       by the deadline guard, from {deadline} to {}\n", time(Some(later)))
            }
            None => format!("Warned         at {told}: the deadline {deadline} is near\n"),
        });
    }
    for gap in &now.gaps {
        text.push_str(&format!(
            "Not recorded   {} to {} ({})\n",
            time(Some(gap.from)),
            time(Some(gap.to)),
            gap.kind.as_str()
        ));
    }
    if now.verdict == Verdict::Ended {
        return text;
    }
    text.push_str("What this check cannot see:\n");
    for blind in &now.cannot_see {
        text.push_str(&format!("- {}\n", blind.text));
    }
    text
}

fn shown_callers(callers: &[Caller]) -> Result<(), Failure> {
    if callers.is_empty() {
        return Ok(());
    }
    let last = |used: &Option<CallerUse>| -> Option<Timestamp> { used.map(|used| used.last_used_at) };
    let row = |it: &Caller| {
        let [from, agent, instance] =
            source(it.source_ip.as_ref(), it.gathered, it.user_agent.as_ref(), it.instance.as_ref());
        vec![
            it.state.as_str().replace('_', " "),
            from,
            agent,
            instance,
            time(last(&it.old).max(it.refused_at)),
            time(last(&it.new)),
            time(it.expected_until),
        ]
    };
    let columns = [
        fixed("state"),
        fixed("from"),
        text("agent"),
        text("instance"),
        fixed("old used"),
        fixed("new used"),
        fixed("expected until"),
    ];
    output::data("\n")?;
    output::table(&columns, callers.iter().map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Returns a change-over whose old secret ends in so many seconds.
    fn sample(verdict: &str, ends_in: u64) -> ChangeOver {
        let at = crossfade_core::Timestamp::from_seconds(1_795_525_500);
        let id = |kind: &str, n: u32| format!("{kind}_{n:022}");
        let secret = |n: u32, state: &str| {
            json!({
                "id": id("sec", n), "state": state, "created_at": at, "expires_at": null, "revoked_at": null,
                "last_used_at": at, "use_count": 1, "stored": true,
            })
        };
        let sample = json!({
            "rotation_id": id("rot", 1), "rotated_at": at, "ends_at": at.after(Duration::from_secs(ends_in)), "at": at,
            "old_secret": secret(1, "retiring"), "new_secret": secret(2, "current"),
            "verdict": verdict, "summary": "", "reasons": [], "cannot_see": [],
            "callers_left": 1, "refused_since_end": [],
            "caller_counts": {"on_old": 1, "on_both": 0, "moved": 2, "silent": 0, "on_new": 0},
            "quiet_since": at, "quiet_seconds": 60, "quiet_needed_seconds": 3600, "safe_at": null, "callers": [],
            "grain": "hour", "series": [], "gaps": [], "deadline_warnings": [],
        });
        serde_json::from_value(sample).unwrap()
    }

    #[test]
    fn a_short_line_says_when_the_old_secret_ends() {
        for (verdict, ends_in, line) in [
            ("not_started", 86_399, "new secret not used yet, old ends in 23 h 59 min"),
            ("callers_left", 7_500, "1 of 3 callers left, old ends in 2 h 5 min"),
            ("moving", 59, "1 of 3 callers left, old ends in 59 s"),
            ("quiet", 3_600, "quiet for 1 min of 1 h, old ends in 1 h"),
            ("safe_to_end", 3_600, "safe to end"),
            ("ended", 0, "ended"),
        ] {
            let said = short_line(&sample(verdict, ends_in));
            assert_eq!(said, line);
            assert!(said.len() <= 60, "{said}");
        }
    }

    #[test]
    fn a_duration_is_told_to_the_second() {
        let spans = [0, 3, 60, 90, 100, 3600, 3605, 7500, 86_399];
        let said = spans.map(|seconds| span(Duration::from_secs(seconds)));
        let exact = ["0 s", "3 s", "1 min", "1 min 30 s", "1 min 40 s", "1 h", "1 h 5 s", "2 h 5 min"];
        assert_eq!(said[..8], exact);
        assert_eq!(said[8], "23 h 59 min 59 s");
        assert_eq!(rounded(Duration::from_secs(86_399)), "23 h 59 min");
        assert_eq!(rounded(Duration::from_secs(3599)), "59 min 59 s");
    }
}
