//! Decides what a database and a journal say together about the history of the database.

use crossfade_core::ended::{Cause, EndHash};
use crossfade_store::History;

/// What is known of the journal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum JournalState {
    /// None is configured.
    Off,
    /// The file does not exist, or contains nothing.
    Missing,
    /// A line was changed or removed.
    Damaged,
    /// It is intact.
    Whole {
        id: String,
        /// Last end that may be missing.
        after: i64,
        /// Last end.
        last: i64,
        /// Whether it contains no end, and no database was used with it.
        is_bare: bool,
        /// Releases after which it was adopted, and used.
        used_after: Vec<String>,
        /// Whether the ends that it has in common with the database are the same.
        common: Common,
    },
}

/// Comparison of a database and a journal at the last end that both should contain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Common {
    /// All ends up to there are equal.
    Same,
    /// They went apart before.
    Other,
    /// Only their numbers can be compared: an earlier version noted that end.
    Numbered,
    /// The journal does not contain that hash any more.
    ForgottenByJournal,
    /// The database does not contain that end any more.
    ForgottenByDatabase,
}

impl Common {
    /// Compares hashes. The outer option of the database is `None` if it does not contain that end any more.
    pub(crate) fn of(database: Option<Option<EndHash>>, journal: Option<EndHash>) -> Self {
        match (database, journal) {
            (Some(Some(own)), Some(noted)) if own == noted => Self::Same,
            // Every later version notes a hash, so an end without one is another end.
            (Some(_), Some(_)) => Self::Other,
            (Some(None) | None, None) => Self::Numbered,
            (Some(Some(_)), None) => Self::ForgottenByJournal,
            (None, Some(_)) => Self::ForgottenByDatabase,
        }
    }
}

/// What must be done before anything is decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Plan {
    /// Nothing.
    Stay,
    /// The journal proves that nothing is missing: a quarantine ends.
    Continue,
    /// The database is used with this journal from now on.
    Adopt,
    /// Apply the ends that the database lacks: the journal contains all of them.
    Apply,
    /// Apply all ends of the journal: those that the database has do no harm, and which ones it has is not known.
    ApplyAll,
    /// Apply the ends that the journal contains, and wait for a release.
    ApplySome,
    /// Wait for a release.
    Quarantine(Cause),
}

/// Decides. `system_id` is the PostgreSQL server that the database is on now.
pub(crate) fn judge(history: &History, journal: &JournalState, system_id: Option<i64>) -> Plan {
    use JournalState::*;
    let is_held = history.quarantine.is_some();
    let waits = |cause| if is_held { Plan::Stay } else { Plan::Quarantine(cause) };
    let (known, release) = (history.journal_id(), history.release());
    let is_moved = history.system_id.zip(system_id).is_some_and(|(before, now)| before != now);
    let adopts = || match journal {
        _ if is_held => Plan::Stay,
        _ if is_moved => Plan::Quarantine(Cause::AnotherServer),
        Off => Plan::Stay,
        _ => Plan::Adopt,
    };
    match (known, journal) {
        (Some(known), Whole { id, after, last, common, .. }) if known == id => {
            match (history.end_seq, common) {
                (_, Common::Other | Common::ForgottenByDatabase) => waits(Cause::AnotherJournal),
                (end_seq, _) if end_seq >= *last => Plan::Continue,
                (end_seq, Common::ForgottenByJournal) if end_seq >= *after => Plan::ApplyAll,
                (end_seq, _) if end_seq >= *after => Plan::Apply,
                _ => Plan::ApplySome,
            }
        }
        // A copy from between the release and the adoption of this journal.
        (None, Whole { used_after, .. })
            if release.is_some_and(|id| used_after.iter().any(|it| it == id)) =>
        {
            waits(Cause::AnotherJournal)
        }
        // Released, or never used with a journal: there is nothing to compare the database with.
        (None, Off | Missing | Whole { is_bare: true, .. }) => adopts(),
        (None, _) if release.is_some() => adopts(),
        (_, Off | Missing) => waits(Cause::JournalMissing),
        (_, Damaged) => waits(Cause::JournalDamaged),
        (_, Whole { .. }) => waits(Cause::AnotherJournal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossfade_core::Timestamp;
    use crossfade_store::QuarantineRow;

    fn history(end_seq: i64, journal: Option<&str>) -> History {
        History {
            end_seq,
            end_hash: None,
            is_noting: true,
            journal: journal.map(str::to_owned),
            system_id: Some(1),
            quarantine: None,
        }
    }

    fn held(history: History) -> History {
        let now = Timestamp::from_micros(1);
        let quarantine = Some(QuarantineRow { since: now, cause: Cause::Restored, data_until: now });
        History { quarantine, ..history }
    }

    fn whole(id: &str, after: i64, last: i64) -> JournalState {
        JournalState::Whole {
            id: id.to_owned(),
            after,
            last,
            is_bare: after == last,
            used_after: vec!["used".to_owned()],
            common: Common::Same,
        }
    }

    fn whole_if(common: Common) -> JournalState {
        match whole("a", 5, 10) {
            JournalState::Whole { id, after, last, is_bare, used_after, .. } => {
                JournalState::Whole { id, after, last, is_bare, used_after, common }
            }
            other => other,
        }
    }

    #[test]
    fn another_history_with_any_number_needs_a_release() {
        for end_seq in [4, 7, 10, 12] {
            let plan = judge(&history(end_seq, Some("a")), &whole_if(Common::Other), Some(1));
            assert_eq!(plan, Plan::Quarantine(Cause::AnotherJournal), "{end_seq}");
            let held = held(history(end_seq, Some("a")));
            assert_eq!(judge(&held, &whole_if(Common::Other), Some(1)), Plan::Stay, "{end_seq}");
        }
    }

    #[test]
    fn a_history_that_cannot_be_compared_gets_every_end() {
        let plan = |end_seq, common| judge(&history(end_seq, Some("a")), &whole_if(common), Some(1));
        assert_eq!(plan(7, Common::ForgottenByJournal), Plan::ApplyAll);
        assert_eq!(plan(4, Common::ForgottenByJournal), Plan::ApplySome);
        let another = Plan::Quarantine(Cause::AnotherJournal);
        assert_eq!(plan(20_000, Common::ForgottenByDatabase), another);
        for end_seq in [10, 12] {
            assert_eq!(plan(end_seq, Common::Numbered), Plan::Continue);
            assert_eq!(
                plan(end_seq, Common::ForgottenByJournal),
                Plan::Continue,
                "a gap of an earlier version"
            );
        }
        assert_eq!(plan(7, Common::Numbered), Plan::Apply);
    }

    #[test]
    fn hashes_are_compared_where_both_have_one() {
        let (one, two) = (EndHash::after(None, 1, "a"), EndHash::after(None, 1, "b"));
        assert_eq!(Common::of(Some(Some(one)), Some(one)), Common::Same);
        assert_eq!(Common::of(Some(Some(one)), Some(two)), Common::Other);
        assert_eq!(Common::of(Some(None), Some(one)), Common::Other);
        assert_eq!(Common::of(Some(None), None), Common::Numbered);
        assert_eq!(Common::of(None, Some(one)), Common::ForgottenByDatabase);
        assert_eq!(Common::of(Some(Some(one)), None), Common::ForgottenByJournal);
    }

    #[test]
    fn a_database_behind_its_journal_gets_what_it_lacks() {
        let journal = whole("a", 0, 10);
        assert_eq!(judge(&history(10, Some("a")), &journal, Some(1)), Plan::Continue);
        assert_eq!(judge(&history(12, Some("a")), &journal, Some(1)), Plan::Continue, "not noted yet");
        assert_eq!(judge(&history(9, Some("a")), &journal, Some(1)), Plan::Apply);
        assert_eq!(judge(&history(0, Some("a")), &journal, Some(1)), Plan::Apply);
        assert_eq!(judge(&held(history(10, Some("a"))), &journal, Some(1)), Plan::Continue);
        assert_eq!(judge(&history(9, Some("a")), &journal, Some(2)), Plan::Apply, "on another server");
    }

    #[test]
    fn ends_from_before_a_gap_of_the_journal_need_a_release() {
        assert_eq!(judge(&history(4, Some("a")), &whole("a", 5, 10), Some(1)), Plan::ApplySome);
        assert_eq!(judge(&history(5, Some("a")), &whole("a", 5, 10), Some(1)), Plan::Apply);
    }

    #[test]
    fn a_missing_damaged_or_other_journal_needs_a_release() {
        for (journal, cause) in [
            (JournalState::Off, Cause::JournalMissing),
            (JournalState::Missing, Cause::JournalMissing),
            (JournalState::Damaged, Cause::JournalDamaged),
            (whole("b", 0, 10), Cause::AnotherJournal),
        ] {
            assert_eq!(judge(&history(9, Some("a")), &journal, Some(1)), Plan::Quarantine(cause));
            assert_eq!(judge(&held(history(9, Some("a"))), &journal, Some(1)), Plan::Stay);
        }
        assert_eq!(
            judge(&history(0, None), &whole("b", 0, 10), Some(1)),
            Plan::Quarantine(Cause::AnotherJournal),
            "a copy from before the journal"
        );
    }

    #[test]
    fn without_a_journal_another_server_needs_a_release() {
        let off = &JournalState::Off;
        assert_eq!(judge(&history(0, None), off, Some(1)), Plan::Stay);
        assert_eq!(judge(&history(0, None), off, None), Plan::Stay);
        assert_eq!(judge(&history(0, None), off, Some(2)), Plan::Quarantine(Cause::AnotherServer));
        assert_eq!(judge(&held(history(0, None)), off, Some(2)), Plan::Stay);
    }

    #[test]
    fn a_new_or_released_database_adopts_the_journal() {
        for journal in [JournalState::Missing, whole("b", 3, 3)] {
            assert_eq!(judge(&history(0, None), &journal, Some(1)), Plan::Adopt);
        }
        for journal in [JournalState::Missing, JournalState::Damaged, whole("b", 0, 10)] {
            assert_eq!(judge(&history(9, Some("")), &journal, Some(1)), Plan::Adopt);
            assert_eq!(judge(&held(history(9, Some(""))), &journal, Some(1)), Plan::Stay);
            assert_eq!(judge(&history(9, Some("release new")), &journal, Some(1)), Plan::Adopt);
        }
    }

    #[test]
    fn a_copy_from_between_a_release_and_the_adoption_needs_a_release() {
        let copy = history(9, Some("release used"));
        let another = Plan::Quarantine(Cause::AnotherJournal);
        assert_eq!(judge(&copy, &whole("b", 0, 10), Some(1)), another);
        assert_eq!(judge(&copy, &JournalState::Missing, Some(1)), Plan::Adopt);
        assert_eq!(judge(&copy, &JournalState::Off, Some(1)), Plan::Stay);
    }
}
