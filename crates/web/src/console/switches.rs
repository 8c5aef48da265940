//! Forms with messages that can be switched off.

use crossfade_core::messages::{Class, Kind, Switch};

/// Check boxes for one class of messages.
pub(super) struct Group {
    /// Heading.
    pub(super) legend: &'static str,
    /// What the class contains.
    pub(super) hint: &'static str,
    /// Value and label of each box. The first one stands for the whole class.
    pub(super) boxes: Vec<(&'static str, &'static str)>,
}

/// Returns the classes with what a person can switch off.
pub(super) fn groups() -> Vec<Group> {
    groups_of(&Switch::all().collect::<Vec<_>>())
}

/// Returns the classes with what can be switched off for a client.
pub(super) fn groups_of_client() -> Vec<Group> {
    groups_of(&Switch::of_client().collect::<Vec<_>>())
}

fn groups_of(switches: &[Switch]) -> Vec<Group> {
    let group = |class: Class| {
        let all = (class.as_str(), "All of these, including kinds added later");
        let kind = |switch: Switch| match switch {
            Switch::Kind(kind) if kind.class() == class => Some((kind.as_str(), Kind::title(kind))),
            _ => None,
        };
        Group {
            legend: match class {
                Class::Wake => "Urgent messages",
                Class::Today => "Messages of the day",
                Class::Digest => "Weekly digest",
            },
            hint: class.title(),
            boxes: std::iter::once(all).chain(switches.iter().copied().filter_map(kind)).collect(),
        }
    };
    let classes = switches.iter().copied().filter_map(|switch| match switch {
        Switch::Class(class) => Some(class),
        Switch::Kind(_) => None,
    });
    classes.map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_switch_is_a_box_once() {
        let of_person: Vec<Switch> = Switch::all().collect();
        let of_client: Vec<Switch> = Switch::of_client().collect();
        for (groups, switches) in [(groups(), of_person), (groups_of_client(), of_client)] {
            let mut boxes: Vec<_> = groups.iter().flat_map(|group| &group.boxes).map(|it| it.0).collect();
            let mut all: Vec<_> = switches.into_iter().map(Switch::as_str).collect();
            boxes.sort_unstable();
            all.sort_unstable();
            assert_eq!(boxes, all);
        }
    }
}
