//! The versions that a principal has read, for a change that must not overwrite another one.

/// Versions of which one must be the present one (RFC 9110 §13.1.1).
#[derive(Clone, Copy, Debug)]
pub enum IfMatch<'a> {
    /// Any: no condition was sent.
    Any,
    /// This one.
    Version(i64),
    /// One of these. An empty list matches nothing and is refused.
    AnyOf(&'a [i64]),
    /// None: the object has changed since it was read.
    Overtaken,
}

impl IfMatch<'_> {
    pub(crate) fn holds(self, version: i64) -> bool {
        match self {
            Self::Any => true,
            Self::Version(read) => read == version,
            Self::AnyOf(read) => read.contains(&version),
            Self::Overtaken => false,
        }
    }

    /// Whether the change of a list may proceed. A list has no versions, so every condition is refused.
    pub(crate) fn holds_for_list(self) -> bool {
        matches!(self, Self::Any)
    }
}
