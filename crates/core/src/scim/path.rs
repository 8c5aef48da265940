//! Names of attributes in filters and in changes: `name.givenName`.

use super::schema::{Attribute, Resource};
use serde_json::Value;

/// The path to an attribute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Path {
    /// Attribute of the resource.
    pub attribute: &'static Attribute,
    /// Attribute of its object.
    pub sub: Option<&'static Attribute>,
}

impl Path {
    /// Reads a path; `None` if there is no such attribute.
    pub fn parse(of: Resource, text: &str) -> Option<Self> {
        Self::among(of.attributes(), of.without_urn(text))
    }

    /// Reads a path below these attributes.
    pub(super) fn among(attributes: &'static [Attribute], text: &str) -> Option<Self> {
        let (name, sub) = match text.split_once('.') {
            Some((name, sub)) => (name, Some(sub)),
            None => (text, None),
        };
        let attribute = Attribute::find(attributes, name)?;
        let sub = match sub {
            Some(sub) => Some(Attribute::find(attribute.subs, sub)?),
            None => None,
        };
        Some(Self { attribute, sub })
    }

    /// Returns the attribute whose values are compared: the last one of the path.
    pub fn last(self) -> &'static Attribute {
        self.sub.unwrap_or(self.attribute)
    }

    /// Returns the values in a resource.
    pub(super) fn values(self, resource: &Value) -> Vec<&Value> {
        let found = resource.get(self.attribute.name);
        let all: Vec<&Value> = match found {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(list)) => list.iter().collect(),
            Some(value) => vec![value],
        };
        match self.sub {
            None => all,
            Some(sub) => all.into_iter().filter_map(|value| value.get(sub.name)).collect(),
        }
    }
}
