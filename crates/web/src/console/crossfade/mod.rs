//! The crossfade: a picture of one secret giving way to another over time, from recorded use.
//!
//! A page fills in [`Transition`] or [`Rest`] and requests the size it needs. The picture is SVG generated here, so it
//! is visible at the first paint, without JavaScript; a table beside it has the numbers.

mod shape;

use super::moment;
use askama::{Template, filters::HtmlSafe};
use crossfade_core::{Timestamp, drill::Window, rotation::is_overdue};
use std::borrow::Borrow;

/// Uses recorded within an interval.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
    /// Uses of the old secret.
    pub(crate) old: u64,
    /// Uses of the new secret.
    pub(crate) new: u64,
}

/// A transition: an old and a new secret.
#[derive(Clone, Debug)]
pub(crate) struct Transition {
    /// Time of the rotation.
    pub(crate) from: Timestamp,
    pub(crate) now: Timestamp,
    /// When the old secret ends, or ended.
    pub(crate) deadline: Timestamp,
    /// The recorded uses, in order of time, without overlap.
    pub(crate) segments: Vec<Segment>,
    /// Callers of the old secret.
    pub(crate) callers: Callers,
    /// Whether no known caller is left on the old secret, so that its share of past uses misleads.
    pub(crate) quiet: bool,
    /// Windows in which drills refuse or refused the old secret.
    pub(crate) windows: Vec<Window>,
    /// Periods without complete evidence.
    pub(crate) gaps: Vec<Gap>,
}

/// What is known about the callers of the old secret.
#[derive(Clone, Debug)]
pub(crate) enum Callers {
    /// Last use of each caller that is left.
    Left(Vec<Timestamp>),
    /// Last use by any caller since the rotation, for lists, which do not judge individual callers.
    LastUse(Option<Timestamp>),
}

/// A period without complete evidence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gap {
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
}

/// No transition: one secret, and its age compared with the policy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rest {
    pub(crate) created: Timestamp,
    pub(crate) now: Timestamp,
    /// When it should be rotated, if there is a policy.
    pub(crate) due: Option<Timestamp>,
}

/// The size of a picture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Size {
    /// On the client's page.
    Hero,
    /// In a line of its own.
    Row,
    /// 120 px wide, in a table.
    Bar,
}

impl Size {
    fn class(&self) -> &'static str {
        match self {
            Self::Hero => "hero",
            Self::Row => "row",
            Self::Bar => "bar",
        }
    }

    /// Returns the distance of the band from the top, in pixels.
    fn top(&self) -> u32 {
        match self {
            Self::Hero => 32,
            Self::Row => 14,
            Self::Bar => 6,
        }
    }

    /// Returns the height of the band.
    fn height(&self) -> u32 {
        match self {
            Self::Hero => 80,
            Self::Row => 20,
            Self::Bar => 10,
        }
    }

    /// Returns the start of the flag's pole.
    fn flag(&self) -> u32 {
        match self {
            Self::Hero => 20,
            Self::Row => 4,
            Self::Bar => 0,
        }
    }
}

/// A drawn transition.
#[derive(Template)]
#[template(path = "console/crossfade/transition.html")]
pub(crate) struct TransitionPicture<'a> {
    transition: &'a Transition,
    size: Size,
    /// Registration in a list, placed before the description of the picture.
    of: String,
    area: Option<shape::Areas>,
}

/// A drawn secret at rest.
#[derive(Template)]
#[template(path = "console/crossfade/rest.html")]
pub(crate) struct RestPicture {
    rest: Rest,
    size: Size,
    of: String,
}

/// The legend of the pictures of a page: one for all of them.
#[derive(Template)]
#[template(path = "console/crossfade/legend.html")]
pub(crate) struct Legend;

impl HtmlSafe for Legend {}
impl HtmlSafe for TransitionPicture<'_> {}
impl HtmlSafe for RestPicture {}

/// Least width of the past, in percent.
const PAST_AT_LEAST: f64 = 25.0;

impl Transition {
    /// Returns the large picture, with its numbers as a table.
    pub(crate) fn hero(&self) -> TransitionPicture<'_> {
        self.picture(Size::Hero)
    }

    /// Returns the picture for a separate line, for a client in an environment.
    pub(crate) fn row(&self, client: &str, environment: &str) -> TransitionPicture<'_> {
        TransitionPicture { of: registration(client, environment), ..self.picture(Size::Row) }
    }

    /// Returns the picture for a table, for a client in an environment.
    pub(crate) fn bar(&self, client: &str, environment: &str) -> TransitionPicture<'_> {
        TransitionPicture { of: registration(client, environment), ..self.picture(Size::Bar) }
    }

    fn picture(&self, size: Size) -> TransitionPicture<'_> {
        TransitionPicture { transition: self, size, of: String::new(), area: shape::areas(self) }
    }

    /// Returns the uses of the old secret that are marked.
    fn ticks(&self) -> &[Timestamp] {
        match &self.callers {
            Callers::Left(uses) => uses,
            Callers::LastUse(last) => last.as_slice(),
        }
    }

    /// Whether the new secret was used at all. Until then, nothing after now is drawn in its colour.
    fn has_new_use(&self) -> bool {
        self.segments.iter().any(|segment| segment.new > 0)
    }

    /// Returns the right end of the picture: a little beyond the deadline, so that the flag has room.
    fn until(&self) -> Timestamp {
        let span = self.deadline.max(self.now).since(self.from);
        self.from.after(span + span / 16)
    }

    /// Returns the position of a time, in percent of the width. The past of a young transition is stretched, so that
    /// what was recorded can be seen; the time ahead takes the rest.
    fn x(&self, time: impl Borrow<Timestamp>) -> f64 {
        let (time, until) = (*time.borrow(), self.until());
        let now = percent(self.from, until, self.now);
        let shown = if self.is_young() { PAST_AT_LEAST } else { now };
        if time <= self.now {
            return if now == 0.0 { 0.0 } else { percent(self.from, self.now, time) * shown / 100.0 };
        }
        shown + percent(self.now, until, time) * (100.0 - shown) / 100.0
    }

    /// Whether what was recorded would be too narrow to be seen.
    fn is_young(&self) -> bool {
        self.latest().is_some() && percent(self.from, self.until(), self.now) < PAST_AT_LEAST
    }

    fn is_over(&self) -> bool {
        self.now >= self.deadline
    }

    /// Returns the segments that have any use.
    fn used(&self) -> impl DoubleEndedIterator<Item = &Segment> {
        self.segments.iter().filter(|segment| segment.old + segment.new > 0)
    }

    /// Returns the share of the old secret in the latest segment with any use, in percent.
    fn latest_share(&self) -> Option<u64> {
        self.latest().map(Segment::old_percent)
    }

    /// Returns the latest segment with any use, over which the share is measured.
    pub(crate) fn latest(&self) -> Option<&Segment> {
        self.used().next_back()
    }

    /// Returns the position and width of a gap, in percent of the width. The shortest gap is wide enough to be seen.
    fn span(&self, gap: &Gap) -> (f64, f64) {
        let (from, to) = (self.x(gap.from.max(self.from)), self.x(gap.to.min(self.now)));
        let width = (to - from).max(0.4);
        (from.min(100.0 - width), width)
    }

    /// Returns a description of the picture.
    fn summary(&self) -> String {
        let share = match self.latest_share() {
            None => "No use of either secret has been recorded yet.".to_owned(),
            Some(_) if self.quiet => "No known caller is left on the old secret.".to_owned(),
            Some(old) => format!("Latest recorded uses: {old}% old secret, {}% new secret.", 100 - old),
        };
        let end = match self.is_over() {
            true => format!("The old secret ended {}.", moment::utc(self.deadline)),
            false => format!("The old secret ends {}.", moment::utc(self.deadline)),
        };
        let callers = match &self.callers {
            Callers::Left(uses) => match uses.len() {
                0 => String::new(),
                1 => " 1 caller still uses the old secret.".to_owned(),
                count => format!(" {count} callers still use the old secret."),
            },
            Callers::LastUse(Some(last)) => {
                format!(" The old secret was last used {}.", moment::utc(*last))
            }
            Callers::LastUse(None) => " The old secret has not been used since the rotation.".to_owned(),
        };
        let gaps = match self.gaps.len() {
            0 => String::new(),
            1 => " Recording was interrupted once.".to_owned(),
            count => format!(" Recording was interrupted {count} times."),
        };
        format!("{share} {end}{callers}{gaps}")
    }
}

impl Segment {
    /// Returns the share of the old secret in percent, rounded so that 0 and 100 are returned only if exact.
    pub(crate) fn old_percent(&self) -> u64 {
        let all = self.old + self.new;
        match (self.old, self.new) {
            (0, _) => 0,
            (_, 0) => 100,
            _ => ((self.old * 100 + all / 2) / all).clamp(1, 99),
        }
    }
}

impl Rest {
    /// Returns the large picture, which the gallery shows.
    #[cfg(any(test, debug_assertions))]
    pub(crate) fn hero(self) -> RestPicture {
        RestPicture { rest: self, size: Size::Hero, of: String::new() }
    }

    /// Returns the picture for a separate line.
    pub(crate) fn row(self) -> RestPicture {
        RestPicture { rest: self, size: Size::Row, of: String::new() }
    }

    /// Returns the picture for a line of a list, for a client in an environment.
    pub(crate) fn row_of(self, client: &str, environment: &str) -> RestPicture {
        RestPicture { of: registration(client, environment), ..self.row() }
    }

    /// Returns the picture for a table, for a client in an environment.
    pub(crate) fn bar(self, client: &str, environment: &str) -> RestPicture {
        RestPicture { rest: self, size: Size::Bar, of: registration(client, environment) }
    }

    /// Returns how much of its time has passed, in percent of the width.
    fn x(&self, time: impl Borrow<Timestamp>) -> f64 {
        let end = self.due.unwrap_or(self.now).max(self.now);
        percent(self.created, end, *time.borrow()) * 0.94
    }

    /// Returns the end of the part within the policy, in percent of the width.
    fn fresh(&self) -> f64 {
        self.x(self.due.map_or(self.now, |due| due.min(self.now)))
    }

    /// Whether it is older than the policy allows.
    pub(crate) fn is_overdue(&self) -> bool {
        is_overdue(self.due, self.now)
    }

    /// Returns the day of a time, in UTC.
    fn due_day(&self, due: impl Borrow<Timestamp>) -> String {
        let text = moment::utc(*due.borrow());
        text.split_once(',').map_or(text.clone(), |(day, _)| day.to_owned())
    }

    fn summary(&self) -> String {
        let age = self.now.since(self.created).as_secs() / 86_400;
        let days = |count: u64| if count == 1 { "1 day".to_owned() } else { format!("{count} days") };
        match self.due {
            None => format!("One secret, {} old.", days(age)),
            Some(due) if due <= self.now => {
                format!(
                    "One secret, {} old, {} overdue.",
                    days(age),
                    days(self.now.since(due).as_secs() / 86_400)
                )
            }
            Some(due) => {
                format!(
                    "One secret, {} old, due in {}.",
                    days(age),
                    days(due.since(self.now).as_secs() / 86_400)
                )
            }
        }
    }
}

/// Returns the registration of a picture in a list, for its description.
fn registration(client: &str, environment: &str) -> String {
    format!("{client} in {environment}: ")
}

fn percent(from: Timestamp, to: Timestamp, time: Timestamp) -> f64 {
    let whole = to.since(from).as_secs_f64();
    if whole == 0.0 {
        return 0.0;
    }
    (time.since(from).as_secs_f64() / whole * 10_000.0).round().min(10_000.0) / 100.0
}

#[cfg(any(test, debug_assertions))]
pub(crate) mod samples {
    use super::*;
    use std::time::Duration;

    const HOUR: Duration = Duration::from_secs(3600);

    /// Returns the present time of the samples.
    pub(crate) fn now() -> Timestamp {
        Timestamp::from_seconds(1_795_525_500)
    }

    /// Returns a transition of a day, `hours` after its rotation.
    pub(crate) fn transition(hours: u32, use_of: impl Fn(u32) -> (u64, u64), still: usize) -> Transition {
        let from = now().before(HOUR * hours);
        let segments = (0..hours)
            .map(|hour| {
                let (old, new) = use_of(hour);
                Segment { from: from.after(HOUR * hour), to: from.after(HOUR * (hour + 1)), old, new }
            })
            .collect();
        let still_on_old = (0..still).map(|caller| now().before(HOUR / 3 * (caller as u32 + 1))).collect();
        Transition {
            from,
            now: now(),
            deadline: from.after(HOUR * 24),
            segments,
            callers: Callers::Left(still_on_old),
            quiet: still == 0,
            windows: Vec::new(),
            gaps: Vec::new(),
        }
    }

    /// Returns a transition in which callers move one after the other.
    pub(crate) fn moving(hours: u32) -> Transition {
        let old = |hour: u32| 4200_u64.saturating_sub(u64::from(hour * hour) * 24);
        transition(hours, |hour| (old(hour), 4200 - old(hour)), 2)
    }

    /// Returns a sample transition with a drill and a gap.
    pub(crate) fn eventful() -> Transition {
        let moving = moving(16);
        let at = |hours: u32| moving.from.after(HOUR * hours);
        let windows = vec![Window { from: at(12), to: at(13) }, Window { from: at(14), to: at(15) }];
        let gaps = vec![Gap { from: at(6), to: at(8) }];
        Transition { windows, gaps, ..moving }
    }

    /// Returns a secret `days` old under a policy of 90.
    pub(crate) fn rest(days: u32) -> Rest {
        let created = now().before(HOUR * 24 * days);
        Rest { created, now: now(), due: Some(created.after(HOUR * 24 * 90)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_of_every_state_is_drawn_and_says_in_words_what_it_shows() {
        for transition in [
            samples::moving(13),
            samples::moving(23),
            samples::transition(0, |_| (0, 0), 0),
            samples::transition(6, |_| (0, 0), 0),
            samples::transition(6, |_| (0, 7), 0),
            samples::transition(30, |_| (3, 7), 1),
        ] {
            for size in [Size::Hero, Size::Row, Size::Bar] {
                let html = transition.picture(size).render().unwrap();
                assert!(html.contains("role=\"img\"") && html.contains(&transition.summary()), "{html}");
                assert!(!html.contains("NaN") && !html.contains("style="), "{html}");
            }
        }
        for rest in
            [samples::rest(0), samples::rest(40), samples::rest(120), Rest { due: None, ..samples::rest(3) }]
        {
            let pictures = [rest.hero(), rest.row(), rest.bar("Billing", "Production")];
            for html in pictures.map(|picture| picture.render().unwrap()) {
                assert!(html.contains(&rest.summary()) && !html.contains("NaN"), "{html}");
            }
        }
    }

    #[test]
    fn nothing_is_drawn_ahead_in_the_new_colour_until_the_new_secret_is_used() {
        for unmoved in [samples::transition(0, |_| (0, 0), 1), samples::transition(6, |_| (9, 0), 1)] {
            for size in [Size::Hero, Size::Row, Size::Bar] {
                let html = unmoved.picture(size).render().unwrap();
                assert!(!html.contains("cf-new-wash"), "{html}");
            }
        }
        assert!(samples::moving(6).picture(Size::Row).render().unwrap().contains("cf-new-wash"));
    }

    #[test]
    fn each_picture_of_a_list_names_its_registration_and_its_last_use() {
        let used = Transition { callers: Callers::LastUse(Some(samples::now())), ..samples::moving(6) };
        let unused = Transition { callers: Callers::LastUse(None), ..samples::moving(6) };
        let one = used.row("Billing", "Production").render().unwrap();
        assert!(one.contains("aria-label=\"Billing in Production: Latest recorded uses"), "{one}");
        assert!(one.contains("last used 24 Nov 2026, 13:05 UTC") && !one.contains("1 caller"), "{one}");
        let other = unused.bar("Invoices", "Staging").render().unwrap();
        assert!(
            other.contains("Invoices in Staging: ") && other.contains("has not been used since"),
            "{other}"
        );
        let rest = samples::rest(40).bar("Wiki", "Staging").render().unwrap();
        assert!(rest.contains("Wiki in Staging: One secret, 40 days old"), "{rest}");
    }

    #[test]
    fn a_share_is_all_or_nothing_only_where_it_is_so() {
        let share = |old, new| Segment { from: samples::now(), to: samples::now(), old, new }.old_percent();
        assert_eq!(
            [share(0, 9), share(9, 0), share(1, 100_000), share(100_000, 1), share(1, 1)],
            [0, 100, 1, 99, 50]
        );
    }

    #[test]
    fn a_gap_is_drawn_within_the_time_and_told() {
        let hour = std::time::Duration::from_secs(3600);
        let moving = samples::moving(13);
        // One that began before the rotation, one of a second, one that ends now.
        let gaps = [
            Gap { from: moving.from.before(hour), to: moving.from.after(hour) },
            Gap { from: moving.from.after(hour * 5), to: moving.from.after(hour * 5 + hour / 3600) },
            Gap { from: moving.now.before(hour), to: moving.now },
        ];
        let drawn = Transition { gaps: gaps.to_vec(), ..moving };
        for gap in &drawn.gaps {
            let (from, width) = drawn.span(gap);
            assert!(
                from >= 0.0 && width >= 0.4 && from + width <= drawn.x(drawn.now) + 0.4,
                "{from} {width}"
            );
        }
        let hero = drawn.hero().render().unwrap();
        assert_eq!(hero.matches("class=\"cf-gap\"").count(), 3 + 1, "three and the legend's: {hero}");
        assert!(hero.contains("Recording was interrupted 3 times."), "{hero}");
        assert!(!samples::moving(13).hero().render().unwrap().contains("cf-gap"));
    }

    #[test]
    fn the_words_tell_who_is_left_and_when_it_ends() {
        assert_eq!(
            samples::moving(13).summary(),
            "Latest recorded uses: 18% old secret, 82% new secret. The old secret ends 25 Nov 2026, 00:05 UTC. 2 callers still use the old secret."
        );
        assert_eq!(samples::rest(120).summary(), "One secret, 120 days old, 30 days overdue.");
        assert_eq!(samples::rest(89).summary(), "One secret, 89 days old, due in 1 day.");
    }
}
