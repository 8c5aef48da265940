//! Submitted input and its errors, so that the page can show both again.

use super::{moment, words};
use crossfade_app::{IfMatch, Meanwhile};
use crossfade_core::{Code, Problem, secret::looks_like_secret};
use std::borrow::Borrow;

/// Fields of a form, submitted or initial.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads a form body.
    pub(crate) fn parse(body: &[u8]) -> Self {
        Self(form_urlencoded::parse(body).into_owned().collect())
    }

    /// Returns the first value of a field; empty if there is none.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.0.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value)
    }

    /// Returns the first value of a field; `None` if it is blank.
    pub(crate) fn filled(&self, name: &str) -> Option<&str> {
        Some(self.text(name)).filter(|text| !text.trim().is_empty())
    }

    /// Returns all values of a field that can occur several times.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// Whether a field was sent at all, which means that its box was selected.
    pub(crate) fn ticked(&self, name: &str) -> bool {
        self.0.iter().any(|(own, _)| own == name)
    }

    /// Sets a field.
    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.0.push((name.to_owned(), value.into()));
        self
    }

    /// Returns the version that the page showed, so that no unseen change is overwritten.
    pub(crate) fn if_match(&self) -> IfMatch<'static> {
        self.text("version").parse().map_or(IfMatch::Any, IfMatch::Version)
    }

    /// Removes a field and returns its value.
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(own, _)| own == name)?;
        Some(self.0.remove(at).1)
    }

    /// Empties fields that contain a secret.
    fn forget_secrets(&mut self) {
        self.0.iter_mut().filter(|(_, value)| looks_like_secret(value)).for_each(|(_, value)| value.clear());
    }

    /// Returns every field, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Returns a text without the characters that HTML cannot contain in any notation (HTML §13.2.3.5). Text that was
/// refused because of such a character is shown without it.
pub(crate) fn shown(text: impl AsRef<str>) -> String {
    let holds = |letter: &char| {
        let is_none = (0xfdd0..=0xfdef).contains(&(*letter as u32)) || *letter as u32 & 0xfffe == 0xfffe;
        !is_none && (!letter.is_control() || ['\t', '\n', '\r', '\u{c}'].contains(letter))
    };
    text.as_ref().chars().filter(holds).collect()
}

/// Returns the sentence of a problem with the label of a field in place of the member's name, which is a word of the API.
pub(crate) fn with_label(detail: &str, name: &str, label: &str) -> String {
    match detail.strip_prefix(name).filter(|predicate| predicate.starts_with(' ')) {
        Some(predicate) => format!("{label}{predicate}"),
        None => detail.to_owned(),
    }
}

/// A form on a page. `prefix` distinguishes the ids of two forms on one page.
#[derive(Clone, Debug, Default)]
pub(crate) struct Form {
    prefix: &'static str,
    fields: Fields,
    problem: Option<Problem>,
    /// Present values of fields that someone else has changed since the page was loaded, if they differ from the typed
    /// ones.
    set_now: Vec<(&'static str, String)>,
    /// Whether its dialog is sent open although it was not refused.
    is_open: bool,
}

impl Form {
    /// Returns a form whose ids start with `prefix`, filled with `fields`.
    pub(crate) fn new(prefix: &'static str, fields: Fields) -> Self {
        Self { prefix, fields, problem: None, set_now: Vec::new(), is_open: false }
    }

    /// Returns the form with these values in place of its own, and its dialog open.
    pub(crate) fn opened(mut self, values: &[(&str, &str)]) -> Self {
        for (name, value) in values {
            while self.fields.take(name).is_some() {}
            self.fields = self.fields.with(name, *value);
        }
        Self { is_open: true, ..self }
    }

    /// Returns the form with its refusal. A secret that was pasted into it is not shown again.
    pub(crate) fn refused(mut self, problem: Problem) -> Self {
        self.fields.forget_secrets();
        self.problem = Some(problem);
        self.in_words_of_page()
    }

    /// Says the refusal in the words of the page. The labels of its fields follow where they are known.
    fn in_words_of_page(mut self) -> Self {
        if let Some(problem) = &mut self.problem {
            // The sentence of a field begins with its name, which its label replaces.
            let field = problem.field.as_deref().filter(|field| problem.detail.starts_with(*field));
            let (name, rest) = problem.detail.split_at(field.map_or(0, str::len));
            problem.detail = format!("{name}{}", words::of_page(rest));
        }
        self
    }

    /// Returns the form with the typed values, after someone else has changed the object. It names that person, shows
    /// the present value of each of `labels` if it differs, and can be sent again. `self` is the form with the present
    /// values.
    pub(crate) fn overtaken(
        self,
        mut typed: Fields,
        by: Option<Meanwhile>,
        labels: &[(&str, &'static str)],
    ) -> Self {
        let who = match &by {
            Some(by) if by.own => "You changed this in another window".to_owned(),
            Some(by) => format!("{} changed this", by.by),
            None => "This was changed".to_owned(),
        };
        let when =
            by.map(|by| format!(" ({}, {})", by.action.as_str(), moment::utc(by.at))).unwrap_or_default();
        let sentence = format!(
            "{who}{when} after you opened this page. Nothing was saved, and your entries are still here. Save again to overwrite the current values."
        );
        let text =
            |fields: &Fields, name: &str| fields.all(name).collect::<Vec<_>>().join(", ").replace('\r', "");
        let set_now = labels
            .iter()
            .map(|(name, label)| (*label, text(&self.fields, name), text(&typed, name)))
            .filter(|(_, now, typed)| now != typed)
            .map(|(label, now, _)| (label, if now.is_empty() { "(empty)".to_owned() } else { now }))
            .collect();
        while typed.take("version").is_some() {}
        typed.forget_secrets();
        let fields = typed.with("version", self.value("version"));
        let problem = Problem::new(Code::PreconditionFailed, sentence);
        Self { prefix: self.prefix, fields, problem: Some(problem), set_now, is_open: false }
    }

    /// Returns the present values of fields that someone else has changed.
    pub(crate) fn set_now(&self) -> &[(&'static str, String)] {
        &self.set_now
    }

    /// Returns the address of the page of the form if its dialog is sent open, at an address that opens it again; else an
    /// empty text.
    pub(crate) fn leave(&self, page: impl Into<String>) -> String {
        if self.is_open || self.is_refused() { page.into() } else { String::new() }
    }

    /// Whether it was refused. Its dialog is then sent open.
    pub(crate) fn is_refused(&self) -> bool {
        self.problem.is_some()
    }

    /// Returns the id of a field.
    pub(crate) fn id(&self, name: &str) -> String {
        match self.prefix {
            "" => name.to_owned(),
            prefix => format!("{prefix}-{name}"),
        }
    }

    /// Returns the value of a field.
    pub(crate) fn value(&self, name: &str) -> &str {
        self.fields.text(name)
    }

    /// Returns the value of a field in a form that a page can show.
    pub(crate) fn shown(&self, name: &str) -> String {
        shown(self.value(name))
    }

    /// Whether a choice is selected.
    pub(crate) fn has(&self, name: &str, value: &str) -> bool {
        self.fields.all(name).any(|own| own == value)
    }

    /// Returns what is wrong with a field, as a sentence that calls the field by its label.
    pub(crate) fn error(&self, name: &str, label: &str) -> Option<String> {
        Some(with_label(&self.problem_of(name)?.detail, name, label))
    }

    /// Returns what the form was refused for, if `name` is the field at fault.
    fn problem_of(&self, name: &str) -> Option<&Problem> {
        self.problem.as_ref().filter(|problem| problem.field.as_deref() == Some(name))
    }

    /// Returns the problem, if it is not about a field of this form.
    pub(crate) fn problem(&self) -> Option<&str> {
        let problem = self.problem.as_ref()?;
        let beside = problem.field.as_deref().is_some_and(|field| self.fields.ticked(field));
        (!beside).then_some(problem.detail.as_str())
    }

    /// Returns the reason for the refusal.
    pub(crate) fn sentence(&self) -> Option<&str> {
        self.problem.as_ref().map(|problem| problem.detail.as_str())
    }

    /// Returns the attribute that focuses the field at fault or, without one, the first field. Also accepts a reference,
    /// because templates pass it.
    pub(crate) fn autofocus(&self, name: &str, is_first: impl Borrow<bool>) -> &'static str {
        let at_fault = self.problem.as_ref().and_then(|problem| problem.field.as_deref());
        let is_focused = match at_fault.filter(|field| self.fields.ticked(field) || *field == name) {
            Some(field) => field == name,
            None => *is_first.borrow(),
        };
        if is_focused { " autofocus" } else { "" }
    }

    /// Returns the attributes with which assistive technology finds a field's hint and error.
    pub(crate) fn aria(&self, name: &str, hint: bool) -> Aria {
        Aria { id: self.id(name), hint, error: self.problem_of(name).is_some() }
    }
}

/// `aria-describedby` and `aria-invalid`.
pub(crate) struct Aria {
    id: String,
    hint: bool,
    error: bool,
}

impl std::fmt::Display for Aria {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let id = &self.id;
        match (self.hint, self.error) {
            (false, false) => Ok(()),
            (true, false) => write!(f, " aria-describedby=\"{id}-hint\""),
            (false, true) => write!(f, " aria-describedby=\"{id}-error\" aria-invalid=\"true\""),
            (true, true) => write!(f, " aria-describedby=\"{id}-error {id}-hint\" aria-invalid=\"true\""),
        }
    }
}

// Its ids are made of names that stand in our own templates.
impl askama::filters::HtmlSafe for Aria {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_calls_its_field_by_the_label() {
        let refused = |problem| Form::new("", Fields::default()).refused(problem);
        let form = refused(Problem::invalid("max_age_days", "must be a whole number of days"));
        assert_eq!(
            form.error("max_age_days", "Maximum secret age (days)").as_deref(),
            Some("Maximum secret age (days) must be a whole number of days. Nothing was changed.")
        );
        assert_eq!(form.error("name", "Name"), None);
        let complete = Problem::new(Code::InvalidBody, "names are unique here.").with_field("name");
        assert_eq!(refused(complete).error("name", "Name").as_deref(), Some("names are unique here."));
    }

    #[test]
    fn a_refused_form_focuses_the_field_at_fault() {
        let fields = Fields::default().with("hours", "24").with("name", "Biling");
        let form = Form::new("", fields);
        assert_eq!((form.autofocus("hours", true), form.autofocus("name", false)), (" autofocus", ""));
        let form = form.refused(Problem::invalid("name", "must be the client's name"));
        assert_eq!((form.autofocus("hours", true), form.autofocus("name", false)), ("", " autofocus"));
        let form = form.refused(Problem::invalid("other", "is unknown"));
        assert_eq!((form.autofocus("hours", true), form.autofocus("name", false)), (" autofocus", ""));
    }

    #[test]
    fn a_page_shows_no_character_that_html_cannot_hold() {
        assert_eq!(shown("Bill\u{7}ing\u{0}\u{85}\u{fdd0}\u{1ffff}"), "Billing");
        assert_eq!(shown("a\tb\r\nÉ \u{200b}\u{202e}🎈"), "a\tb\r\nÉ \u{200b}\u{202e}🎈");
    }
}
