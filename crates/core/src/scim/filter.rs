//! Filters (RFC 7644 §3.4.2.2): read within bounds, and applied to a resource as it is shown.

use super::{
    Path, ScimType,
    schema::{Attribute, Kind, Resource},
};
use crate::{Problem, Timestamp};
use serde_json::Value;

/// Maximum length of a filter in bytes.
const MAX_LENGTH: usize = 2000;
/// Maximum depth of brackets.
const MAX_DEPTH: usize = 8;
/// Maximum number of comparisons.
const MAX_TERMS: usize = 50;

/// How a value is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Comparison {
    Eq,
    Ne,
    Co,
    Sw,
    Ew,
    Gt,
    Ge,
    Lt,
    Le,
}

/// A filter.
#[derive(Clone, PartialEq, Debug)]
pub struct Filter(Term);

#[derive(Clone, PartialEq, Debug)]
enum Term {
    And(Box<Term>, Box<Term>),
    Or(Box<Term>, Box<Term>),
    Not(Box<Term>),
    Present(Path),
    Compare(Path, Comparison, Value),
    /// Whether one value of a list matches.
    Any(&'static Attribute, Box<Term>),
}

/// The one comparison of a filter that an index answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Equal<'a> {
    /// Name of the attribute.
    pub attribute: &'static str,
    /// The value.
    pub value: &'a str,
}

impl Filter {
    /// Reads a filter of resources.
    pub fn parse(of: Resource, text: &str) -> Result<Self, Problem> {
        Self::among(of.attributes(), of, text)
    }

    /// Reads a filter of the values of a list.
    pub(super) fn of_values(
        attribute: &'static Attribute,
        of: Resource,
        text: &str,
    ) -> Result<Self, Problem> {
        Self::among(attribute.subs, of, text)
    }

    fn among(attributes: &'static [Attribute], of: Resource, text: &str) -> Result<Self, Problem> {
        if text.len() > MAX_LENGTH {
            return Err(refused(&format!("must be at most {MAX_LENGTH} bytes long")));
        }
        let mut reader = Reader { tokens: tokens(text)?, at: 0, of, terms: 0 };
        let term = reader.either(attributes, 0)?;
        match reader.peek() {
            None => Ok(Self(term)),
            Some(_) => Err(refused("has text after its end")),
        }
    }

    /// Whether a resource, or a value of a list, matches.
    pub fn matches(&self, resource: &Value) -> bool {
        self.0.matches(resource)
    }

    /// Returns the only comparison of the filter, if it asks whether a text is equal.
    pub fn equal(&self) -> Option<Equal<'_>> {
        match &self.0 {
            Term::Compare(Path { attribute, sub: None }, Comparison::Eq, Value::String(value)) => {
                Some(Equal { attribute: attribute.name, value })
            }
            _ => None,
        }
    }

    /// Returns the values that an element must have to match; `None` if the filter says more than that.
    pub(super) fn equalities(&self) -> Option<Vec<(&'static str, &Value)>> {
        fn of<'a>(term: &'a Term, all: &mut Vec<(&'static str, &'a Value)>) -> bool {
            match term {
                Term::And(one, other) => of(one, all) && of(other, all),
                Term::Compare(path, Comparison::Eq, value) if path.sub.is_none() => {
                    all.push((path.attribute.name, value));
                    true
                }
                _ => false,
            }
        }
        let mut all = Vec::new();
        of(&self.0, &mut all).then_some(all)
    }
}

impl Term {
    fn matches(&self, resource: &Value) -> bool {
        match self {
            Self::And(one, other) => one.matches(resource) && other.matches(resource),
            Self::Or(one, other) => one.matches(resource) || other.matches(resource),
            Self::Not(term) => !term.matches(resource),
            Self::Present(path) => path.values(resource).into_iter().any(is_present),
            Self::Compare(path, comparison, operand) => {
                let values = path.values(resource);
                match (comparison, operand) {
                    (Comparison::Eq, Value::Null) => !values.into_iter().any(is_present),
                    (Comparison::Ne, Value::Null) => values.into_iter().any(is_present),
                    // Without a value, an attribute is not equal to anything.
                    (Comparison::Ne, _) => {
                        !values.into_iter().any(|value| compare(path.last(), Comparison::Eq, value, operand))
                    }
                    _ => values.into_iter().any(|value| compare(path.last(), *comparison, value, operand)),
                }
            }
            Self::Any(attribute, term) => {
                Path { attribute, sub: None }.values(resource).into_iter().any(|value| term.matches(value))
            }
        }
    }
}

fn is_present(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(object) => !object.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

fn compare(attribute: &Attribute, comparison: Comparison, value: &Value, operand: &Value) -> bool {
    use Comparison::*;
    match (value, operand) {
        (Value::Bool(value), Value::Bool(operand)) => comparison == Eq && value == operand,
        (Value::String(value), Value::String(operand)) => {
            if attribute.kind == Kind::Time {
                let times = Timestamp::parse(value).ok().zip(Timestamp::parse(operand).ok());
                return times.is_some_and(|(value, operand)| match comparison {
                    Eq => value == operand,
                    Gt => value > operand,
                    Ge => value >= operand,
                    Lt => value < operand,
                    Le => value <= operand,
                    Ne | Co | Sw | Ew => false,
                });
            }
            let fold = |text: &str| if attribute.is_exact { text.to_owned() } else { text.to_lowercase() };
            let (value, operand) = (fold(value), fold(operand));
            match comparison {
                Eq => value == operand,
                Ne => value != operand,
                Co => value.contains(&operand),
                Sw => value.starts_with(&operand),
                Ew => value.ends_with(&operand),
                Gt => value > operand,
                Ge => value >= operand,
                Lt => value < operand,
                Le => value <= operand,
            }
        }
        _ => false,
    }
}

fn refused(what: &str) -> Problem {
    ScimType::InvalidFilter.refuse(format!("The filter {what}.")).with_field("filter")
}

/// A part of the text of a filter.
#[derive(Clone, PartialEq, Debug)]
enum Token {
    Open,
    Close,
    OpenList,
    CloseList,
    /// A name, an operator or a constant.
    Word(String),
    Text(String),
}

fn tokens(text: &str) -> Result<Vec<Token>, Problem> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let single = match first {
            '(' => Some(Token::Open),
            ')' => Some(Token::Close),
            '[' => Some(Token::OpenList),
            ']' => Some(Token::CloseList),
            _ => None,
        };
        if let Some(token) = single {
            tokens.push(token);
            rest = &rest[1..];
        } else if first == '"' {
            let (value, length) = quoted(rest)?;
            tokens.push(Token::Text(value));
            rest = &rest[length..];
        } else if first.is_ascii_whitespace() {
            rest = &rest[1..];
        } else {
            let ends = |letter: char| letter.is_ascii_whitespace() || "()[]\"".contains(letter);
            let length = rest.find(ends).unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..length].to_owned()));
            rest = &rest[length..];
        }
    }
    Ok(tokens)
}

/// Reads a quoted text at the start: a string of JSON (RFC 7644 §3.4.2.2). Returns it, and its length with the quotes.
fn quoted(text: &str) -> Result<(String, usize), Problem> {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => {
                let value = serde_json::from_str(&text[..=at]);
                return Ok((value.map_err(|_| refused("has a malformed text in quotes"))?, at + 1));
            }
            _ => {}
        }
    }
    Err(refused("has a text whose closing quote is missing"))
}

struct Reader {
    tokens: Vec<Token>,
    at: usize,
    of: Resource,
    terms: usize,
}

impl Reader {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    /// Whether the next part is this word, which is then read.
    fn takes(&mut self, word: &str) -> bool {
        let is_next = matches!(self.peek(), Some(Token::Word(own)) if own.eq_ignore_ascii_case(word));
        self.at += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, token: Token, what: &str) -> Result<(), Problem> {
        match self.next() == Some(token) {
            true => Ok(()),
            false => Err(refused(&format!("lacks {what}"))),
        }
    }

    fn either(&mut self, attributes: &'static [Attribute], depth: usize) -> Result<Term, Problem> {
        let mut term = self.both(attributes, depth)?;
        while self.takes("or") {
            term = Term::Or(Box::new(term), Box::new(self.both(attributes, depth)?));
        }
        Ok(term)
    }

    fn both(&mut self, attributes: &'static [Attribute], depth: usize) -> Result<Term, Problem> {
        let mut term = self.one(attributes, depth)?;
        while self.takes("and") {
            term = Term::And(Box::new(term), Box::new(self.one(attributes, depth)?));
        }
        Ok(term)
    }

    fn one(&mut self, attributes: &'static [Attribute], depth: usize) -> Result<Term, Problem> {
        if depth > MAX_DEPTH {
            return Err(refused(&format!("must have at most {MAX_DEPTH} brackets within each other")));
        }
        if self.takes("not") {
            self.expect(Token::Open, "an opening bracket after not")?;
            return Ok(Term::Not(Box::new(self.in_brackets(attributes, depth)?)));
        }
        match self.next() {
            Some(Token::Open) => self.in_brackets(attributes, depth),
            Some(Token::Word(name)) => self.compared(attributes, &name, depth),
            _ => Err(refused("lacks the name of an attribute")),
        }
    }

    fn in_brackets(&mut self, attributes: &'static [Attribute], depth: usize) -> Result<Term, Problem> {
        let term = self.either(attributes, depth + 1)?;
        self.expect(Token::Close, "a closing bracket")?;
        Ok(term)
    }

    fn compared(
        &mut self,
        attributes: &'static [Attribute],
        name: &str,
        depth: usize,
    ) -> Result<Term, Problem> {
        self.terms += 1;
        if self.terms > MAX_TERMS {
            return Err(refused(&format!("must have at most {MAX_TERMS} comparisons")));
        }
        let path = Path::among(attributes, self.of.without_urn(name));
        let Some(mut path) = path else {
            let names: Vec<_> = attributes.iter().map(|it| it.name).collect();
            return Err(refused(&format!(
                "names an attribute that cannot be filtered by. These can: {}",
                names.join(", ")
            )));
        };
        if self.peek() == Some(&Token::OpenList) {
            if path.sub.is_some() || path.attribute.subs.is_empty() {
                return Err(refused("has square brackets after an attribute that is no list of objects"));
            }
            self.at += 1;
            let term = self.either(path.attribute.subs, depth + 1)?;
            self.expect(Token::CloseList, "a closing square bracket")?;
            return Ok(Term::Any(path.attribute, Box::new(term)));
        }
        if self.takes("pr") {
            return Ok(Term::Present(path));
        }
        let Some(Token::Word(word)) = self.next() else { return Err(refused("lacks an operator")) };
        let comparison = match word.to_ascii_lowercase().as_str() {
            "eq" => Comparison::Eq,
            "ne" => Comparison::Ne,
            "co" => Comparison::Co,
            "sw" => Comparison::Sw,
            "ew" => Comparison::Ew,
            "gt" => Comparison::Gt,
            "ge" => Comparison::Ge,
            "lt" => Comparison::Lt,
            "le" => Comparison::Le,
            _ => {
                return Err(refused(
                    "has an unknown operator. The operators are eq, ne, co, sw, ew, pr, gt, ge, lt and le",
                ));
            }
        };
        let operand = match self.next() {
            Some(Token::Text(text)) => Value::String(text),
            Some(Token::Word(word)) => serde_json::from_str(&word.to_ascii_lowercase())
                .ok()
                .filter(|value: &Value| !value.is_object() && !value.is_array())
                .ok_or_else(|| {
                    refused("has a value that is neither a text in quotes, true, false, null nor a number")
                })?,
            _ => return Err(refused("lacks a value to compare with")),
        };
        if path.sub.is_none() && path.attribute.kind == Kind::Complex {
            // An object is compared by its value (RFC 7644 §3.4.2.2).
            let value = Attribute::find(path.attribute.subs, "value");
            path.sub = Some(value.ok_or_else(|| refused("compares an object. Name one of its attributes"))?);
        }
        let fits = match (path.last().kind, &operand) {
            (_, Value::Null) => matches!(comparison, Comparison::Eq | Comparison::Ne),
            (Kind::Boolean, Value::Bool(_)) => matches!(comparison, Comparison::Eq | Comparison::Ne),
            (Kind::Boolean, Value::String(_)) => matches!(comparison, Comparison::Eq | Comparison::Ne),
            (Kind::Time, Value::String(text)) => {
                Timestamp::parse(text).is_ok()
                    && !matches!(comparison, Comparison::Co | Comparison::Sw | Comparison::Ew)
            }
            (Kind::Text | Kind::Reference, Value::String(_)) => true,
            _ => false,
        };
        // Some providers write booleans in quotes.
        let operand = match path.last().kind {
            Kind::Boolean if !operand.is_null() => super::boolean(&operand).map(Value::Bool),
            _ => Some(operand),
        };
        match operand.filter(|_| fits) {
            Some(operand) => Ok(Term::Compare(path, comparison, operand)),
            None => Err(refused(&format!(
                "compares {} with a value or an operator of another type",
                path.last().name
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn ada() -> Value {
        json!({
            "id": "su_1", "userName": "ada@example.com", "externalId": "A1", "active": true,
            "name": {"givenName": "Ada", "familyName": "Lovelace"},
            "emails": [{"value": "ada@example.com", "type": "work", "primary": true}, {"value": "ada@home.example", "type": "home"}],
            "meta": {"created": "2026-11-24T13:05:00.000000Z", "resourceType": "User"},
        })
    }

    fn matches(filter: &str) -> bool {
        Filter::parse(Resource::User, filter)
            .unwrap_or_else(|error| panic!("{filter}: {error}"))
            .matches(&ada())
    }

    #[test]
    fn each_operator_compares_as_the_standard_says() {
        for (filter, expected) in [
            (r#"userName eq "ADA@example.com""#, true),
            (r#"USERNAME EQ "ada@example.com""#, true),
            (r#"urn:ietf:params:scim:schemas:core:2.0:User:userName eq "ada@example.com""#, true),
            (r#"externalId eq "a1""#, false),
            (r#"externalId eq "A1""#, true),
            (r#"userName ne "bob@example.com""#, true),
            (r#"displayName ne "Ada""#, true),
            (r#"userName co "@example""#, true),
            (r#"userName sw "ada""#, true),
            (r#"userName ew ".com""#, true),
            (r#"userName ew ".org""#, false),
            ("displayName pr", false),
            ("emails pr", true),
            ("displayName eq null", true),
            ("userName ne null", true),
            ("active eq true", true),
            (r#"active eq "False""#, false),
            (r#"name.familyName eq "lovelace""#, true),
            (r#"emails eq "ada@home.example""#, true),
            (r#"emails[type eq "work" and value co "home"]"#, false),
            (r#"emails[type eq "home" and value co "home"]"#, true),
            (r#"emails.type eq "home""#, true),
            (r#"meta.created gt "2026-11-24T13:04:59Z""#, true),
            (r#"meta.created le "2026-11-24T15:05:00+02:00""#, true),
            (r#"meta.created lt "2026-11-24T13:05:00Z""#, false),
            (r#"not (active eq false) and (userName sw "b" or name.givenName eq "Ada")"#, true),
            // And binds more strongly than or.
            (r#"userName sw "ada" or userName sw "b" and active eq false"#, true),
            (r#"userName eq "a\"b\\u00e9""#, false),
        ] {
            assert_eq!(matches(filter), expected, "{filter}");
        }
    }

    #[test]
    fn a_filter_that_says_nothing_clear_is_refused() {
        let deep = format!("{}active eq true{}", "(".repeat(20), ")".repeat(20));
        let many = vec!["active eq true"; 60].join(" or ");
        let long = format!("userName eq \"{}\"", "x".repeat(3000));
        for filter in [
            "",
            " ",
            "userName",
            "userName eq",
            "eq",
            "userName like \"a\"",
            "unknown eq \"a\"",
            "userName eq ada",
            "userName eq \"ada",
            "userName eq \"ada\" and",
            "userName eq \"ada\" userName pr",
            "(userName pr",
            "userName pr)",
            "not userName pr",
            "emails[type eq \"work\"",
            "userName[type eq \"work\"]",
            "emails[unknown eq \"a\"]",
            "active gt true",
            "active eq \"yes\"",
            "active eq 1",
            "userName eq true",
            "meta.created eq \"yesterday\"",
            "meta.created co \"2026\"",
            "name eq \"Ada\"",
            "userName eq {}",
            "userName.a eq \"b\"",
            "password eq \"a\"",
            &deep,
            &many,
            &long,
        ] {
            let refused = Filter::parse(Resource::User, filter).expect_err(filter);
            assert_eq!(refused.members[super::super::SCIM_TYPE], "invalidFilter", "{filter}");
        }
    }

    #[test]
    fn one_equal_text_is_looked_up_by_an_index() {
        let filter = Filter::parse(Resource::User, r#"userName eq "ada@example.com""#).unwrap();
        assert_eq!(filter.equal(), Some(Equal { attribute: "userName", value: "ada@example.com" }));
        for other in
            [r#"userName ne "a""#, r#"userName eq "a" or active eq true"#, "userName pr", r#"emails eq "a""#]
        {
            assert_eq!(Filter::parse(Resource::User, other).unwrap().equal(), None, "{other}");
        }
    }

    fn texts() -> impl Strategy<Value = String> {
        let word = prop::sample::select(vec![
            "userName",
            "emails",
            "active",
            "name.givenName",
            "eq",
            "ne",
            "pr",
            "and",
            "or",
            "not",
            "(",
            ")",
            "[",
            "]",
            "\"ada\"",
            "\"",
            "true",
            "null",
            "1",
            "é",
            "\\",
            ".",
        ]);
        prop_oneof![any::<String>(), prop::collection::vec(word, 0..20).prop_map(|words| words.join(" "))]
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in texts()) {
            for of in Resource::ALL {
                if let Ok(filter) = Filter::parse(of, &text) {
                    filter.matches(&ada());
                }
            }
        }

        #[test]
        fn every_filter_and_its_contrary_divide_the_people(name in "[a-z@.\"\\\\]{0,12}", word in "eq|ne|co|sw|ew|gt|ge|lt|le") {
            let text = format!("userName {word} {}", serde_json::to_string(&name).unwrap());
            prop_assert_ne!(matches(&text), matches(&format!("not ({text})")));
        }
    }
}
