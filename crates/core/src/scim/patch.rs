//! Changes of some attributes (RFC 7644 §3.5.2), as providers send them: names of operations in any case, and objects whose
//! names are paths.

use super::{
    Filter, Path, ScimType, boolean, invalid, member,
    schema::{Attribute, Kind, Resource},
};
use crate::Problem;
use serde_json::{Map, Value};

/// Maximum number of operations in one request.
pub const MAX_OPERATIONS: usize = 1000;
/// Maximum number of values of a list that is changed.
const MAX_VALUES: usize = 100;

/// What an operation does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verb {
    Add,
    Replace,
    Remove,
}

/// What an operation changes.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Target {
    pub(super) path: Path,
    /// Which values of the list; `None`: all.
    pub(super) filter: Option<Filter>,
}

/// One operation.
#[derive(Clone, PartialEq, Debug)]
pub struct Operation {
    pub(super) verb: Verb,
    /// `None`: the value is an object of attributes.
    pub(super) target: Option<Target>,
    pub(super) value: Value,
}

/// Reads the operations of a request. Those about attributes that are not kept are left out.
pub fn read_patch(of: Resource, body: &Map<String, Value>) -> Result<Vec<Operation>, Problem> {
    let Some(Value::Array(list)) = member(body, "Operations") else {
        return Err(ScimType::InvalidSyntax.refuse("Operations is required. Nothing was changed."));
    };
    if list.len() > MAX_OPERATIONS {
        let text = format!("Operations must contain at most {MAX_OPERATIONS} entries. Nothing was changed.");
        return Err(ScimType::TooMany.refuse(text));
    }
    let mut operations = Vec::new();
    for entry in list {
        let Value::Object(entry) = entry else {
            return Err(
                ScimType::InvalidSyntax.refuse("Operations must contain objects. Nothing was changed.")
            );
        };
        if let Some(operation) = operation(of, entry)? {
            operations.push(operation);
        }
    }
    Ok(operations)
}

fn operation(of: Resource, entry: &Map<String, Value>) -> Result<Option<Operation>, Problem> {
    let verb = member(entry, "op").and_then(Value::as_str).unwrap_or_default();
    let verb = match verb.to_ascii_lowercase().as_str() {
        "add" => Verb::Add,
        "replace" => Verb::Replace,
        "remove" => Verb::Remove,
        _ => {
            return Err(
                ScimType::InvalidSyntax.refuse("op must be add, replace or remove. Nothing was changed.")
            );
        }
    };
    let value = member(entry, "value").cloned().unwrap_or(Value::Null);
    let target = match member(entry, "path") {
        None => None,
        Some(Value::String(path)) if path.is_empty() => None,
        Some(Value::String(path)) => match target(of, path)? {
            Some(target) => Some(target),
            None => return Ok(None),
        },
        Some(_) => return Err(ScimType::InvalidPath.refuse("path must be text. Nothing was changed.")),
    };
    match (&target, verb) {
        (None, Verb::Remove) => {
            Err(ScimType::NoTarget.refuse("remove requires a path. Nothing was changed."))
        }
        (None, _) if !value.is_object() => Err(ScimType::InvalidValue
            .refuse("value must be an object where no path is set. Nothing was changed.")),
        (Some(target), _) if !target.path.last().is_writable || !target.path.attribute.is_writable => {
            let text = format!("{} cannot be changed. Nothing was changed.", target.path.last().name);
            Err(ScimType::Mutability.refuse(text))
        }
        _ => Ok(Some(Operation { verb, target, value })),
    }
}

/// Reads a path; `None` if it leads to an attribute that is not kept.
fn target(of: Resource, text: &str) -> Result<Option<Target>, Problem> {
    let unknown = || {
        let names: Vec<_> = of.attributes().iter().filter(|it| it.is_writable).map(|it| it.name).collect();
        ScimType::InvalidPath.refuse(format!(
            "path names an attribute that {} resources do not have. Nothing was changed. They have {}.",
            of.name(),
            names.join(", ")
        ))
    };
    let own = of.without_urn(text.trim());
    let Some((name, rest)) = own.split_once('[') else {
        return match Path::parse(of, own) {
            Some(path) => Ok(Some(Target { path, filter: None })),
            None if of.keeps_not(own) => Ok(None),
            None => Err(unknown()),
        };
    };
    let Some(attribute) = Attribute::find(of.attributes(), name) else {
        return if of.keeps_not(own) { Ok(None) } else { Err(unknown()) };
    };
    // A value in quotes can contain a bracket; what follows the last one cannot.
    let Some((filter, sub)) = rest.rsplit_once(']') else { return Err(unknown()) };
    if !attribute.is_list {
        return Err(unknown());
    }
    let filter = Filter::of_values(attribute, of, filter).map_err(|problem| {
        ScimType::InvalidFilter.refuse(format!("{} Nothing was changed.", problem.detail))
    })?;
    let sub = match sub.strip_prefix('.') {
        None if sub.is_empty() => None,
        Some(sub) => match Attribute::find(attribute.subs, sub) {
            Some(sub) => Some(sub),
            // Such as emails[type eq "work"].display.
            None => return Ok(None),
        },
        None => return Err(unknown()),
    };
    Ok(Some(Target { path: Path { attribute, sub }, filter: Some(filter) }))
}

impl Operation {
    /// Changes a resource as it is shown.
    pub(super) fn apply(&self, of: Resource, resource: &mut Map<String, Value>) -> Result<(), Problem> {
        if let Some(target) = &self.target {
            return change(resource, target, self.verb, &self.value);
        }
        let Value::Object(values) = &self.value else { return Ok(()) };
        for (name, value) in values {
            // Read-only attributes of an object are ignored. An unknown one can be a slip that leaves a leaver active.
            let Some(target) = target(of, name)? else { continue };
            if target.path.attribute.is_writable && target.path.last().is_writable {
                change(resource, &target, self.verb, value)?;
            }
        }
        Ok(())
    }
}

fn change(
    resource: &mut Map<String, Value>,
    target: &Target,
    verb: Verb,
    value: &Value,
) -> Result<(), Problem> {
    let Path { attribute, sub } = target.path;
    if attribute.name == "active" && (verb == Verb::Remove || value.is_null()) {
        return Err(invalid("active", "must be true or false, and cannot be removed"));
    }
    if verb != Verb::Remove && value.is_null() {
        // Setting nothing is removing (RFC 7643 §2.5).
        return change(resource, target, Verb::Remove, value);
    }
    if attribute.is_list {
        return change_list(resource, target, verb, value);
    }
    match (sub, verb) {
        (None, Verb::Remove) => drop(resource.remove(attribute.name)),
        (None, _) if attribute.kind == Kind::Complex => {
            let object = object_of(resource, attribute);
            merge(object, attribute, value)?;
        }
        (None, _) => drop(resource.insert(attribute.name.to_owned(), value.clone())),
        (Some(sub), Verb::Remove) => drop(object_of(resource, attribute).remove(sub.name)),
        (Some(sub), _) => drop(object_of(resource, attribute).insert(sub.name.to_owned(), value.clone())),
    }
    if resource.get(attribute.name).is_some_and(|value| value.as_object().is_some_and(Map::is_empty)) {
        resource.remove(attribute.name);
    }
    Ok(())
}

fn object_of<'a>(resource: &'a mut Map<String, Value>, attribute: &Attribute) -> &'a mut Map<String, Value> {
    let value = resource.entry(attribute.name).or_insert_with(|| Value::Object(Map::new()));
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(object) => object,
        _ => unreachable!("it was just made an object"),
    }
}

/// Sets the attributes of an object that a value names.
fn merge(
    object: &mut Map<String, Value>,
    attribute: &'static Attribute,
    value: &Value,
) -> Result<(), Problem> {
    let Value::Object(values) = value else {
        let text = format!("{} must be an object. Nothing was changed.", attribute.name);
        return Err(ScimType::InvalidValue.refuse(text));
    };
    for (name, value) in values {
        if let Some(sub) = Attribute::find(attribute.subs, name).filter(|sub| sub.is_writable) {
            match value {
                Value::Null => drop(object.remove(sub.name)),
                value => drop(object.insert(sub.name.to_owned(), value.clone())),
            }
        }
    }
    Ok(())
}

fn change_list(
    resource: &mut Map<String, Value>,
    target: &Target,
    verb: Verb,
    value: &Value,
) -> Result<(), Problem> {
    let Path { attribute, sub } = target.path;
    let mut list = match resource.remove(attribute.name) {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    };
    let given = match value {
        Value::Array(list) => list.clone(),
        Value::Null => Vec::new(),
        value => vec![value.clone()],
    };
    let too_many = || {
        let text =
            format!("{} must contain at most {MAX_VALUES} values. Nothing was changed.", attribute.name);
        ScimType::TooMany.refuse(text)
    };
    // Before they are compared with one another.
    if given.len() > MAX_VALUES {
        return Err(too_many());
    }
    match (&target.filter, sub) {
        (None, None) => match verb {
            Verb::Remove if given.is_empty() => list.clear(),
            Verb::Remove => list.retain(|own| !given.iter().any(|it| value_of(it) == value_of(own))),
            Verb::Replace => list = read_values(attribute, &given)?,
            Verb::Add => {
                for new in read_values(attribute, &given)? {
                    list.retain(|own| value_of(own) != value_of(&new));
                    make_primary(&mut list, &new);
                    list.push(new);
                }
            }
        },
        (filter, sub) => {
            let is_meant = |own: &Value| filter.as_ref().is_none_or(|filter| filter.matches(own));
            if verb != Verb::Remove && !list.iter().any(is_meant) {
                list.push(new_value(filter.as_ref(), attribute)?);
            }
            let is_alone = sub.is_none();
            if verb == Verb::Remove && is_alone {
                list.retain(|own| !is_meant(own));
            }
            let mut changed = None;
            for own in list.iter_mut().filter(|own| is_meant(own)) {
                let Value::Object(object) = own else { continue };
                match (sub, verb) {
                    (Some(sub), Verb::Remove) => drop(object.remove(sub.name)),
                    (Some(sub), _) => drop(object.insert(sub.name.to_owned(), value.clone())),
                    (None, Verb::Remove) => {}
                    (None, _) => merge(object, attribute, given.first().unwrap_or(&Value::Null))?,
                }
                changed = Some(own.clone());
            }
            if let Some(changed) = changed {
                for own in list.iter_mut().filter(|own| **own != changed) {
                    unless_primary(own, &changed);
                }
            }
            list.retain(|own| own.as_object().is_some_and(|object| object.contains_key("value")));
        }
    }
    if list.len() > MAX_VALUES {
        return Err(too_many());
    }
    if !list.is_empty() {
        resource.insert(attribute.name.to_owned(), Value::Array(list));
    }
    Ok(())
}

/// Returns what identifies a value of a list.
fn value_of(value: &Value) -> Option<String> {
    let text = match value {
        Value::Object(object) => member(object, "value")?.as_str()?,
        value => value.as_str()?,
    };
    Some(text.to_lowercase())
}

/// Reads values of a list as objects with the names of the schema.
fn read_values(attribute: &'static Attribute, given: &[Value]) -> Result<Vec<Value>, Problem> {
    let read = |value: &Value| {
        let mut object = Map::new();
        match value {
            Value::String(text) => drop(object.insert("value".to_owned(), text.as_str().into())),
            value => merge(&mut object, attribute, value)?,
        }
        Ok(Value::Object(object))
    };
    given.iter().map(read).collect()
}

/// Returns the value that a filter asks for and the list lacks: with `emails[type eq "work"].value`, one of the type work.
fn new_value(filter: Option<&Filter>, attribute: &Attribute) -> Result<Value, Problem> {
    let equalities = match filter {
        None => Some(Vec::new()),
        Some(filter) => filter.equalities(),
    };
    let Some(equalities) = equalities else {
        let text =
            format!("No value of {} matches the filter of the path. Nothing was changed.", attribute.name);
        return Err(ScimType::NoTarget.refuse(text));
    };
    Ok(Value::Object(equalities.into_iter().map(|(name, value)| (name.to_owned(), value.clone())).collect()))
}

/// Lets at most one value be the primary one (RFC 7643 §2.4).
fn make_primary(list: &mut [Value], new: &Value) {
    list.iter_mut().for_each(|own| unless_primary(own, new));
}

fn unless_primary(own: &mut Value, new: &Value) {
    let is_primary = new.get("primary").and_then(boolean) == Some(true);
    if let (true, Value::Object(object)) = (is_primary, own)
        && object.get("primary").and_then(boolean) == Some(true)
    {
        object.insert("primary".to_owned(), false.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ada() -> Map<String, Value> {
        let ada = json!({
            "userName": "ada@example.com", "externalId": "a1", "active": true, "displayName": "Ada",
            "name": {"givenName": "Ada", "familyName": "Lovelace"},
            "emails": [{"value": "ada@example.com", "type": "work", "primary": true}],
        });
        ada.as_object().unwrap().clone()
    }

    fn patched(operations: &Value) -> Result<Value, Problem> {
        let body = json!({"schemas": [super::super::PATCH_SCHEMA], "Operations": operations});
        let mut resource = ada();
        for operation in read_patch(Resource::User, body.as_object().unwrap())? {
            operation.apply(Resource::User, &mut resource)?;
        }
        Ok(Value::Object(resource))
    }

    /// Returns the attributes that differ from those of before; `null`: it is gone.
    fn difference(operations: Value) -> Value {
        let after = patched(&operations).unwrap_or_else(|error| panic!("{operations}: {error}"));
        let before = Value::Object(ada());
        let names = before.as_object().unwrap().keys().chain(after.as_object().unwrap().keys());
        let changed = names.filter(|name| before.get(*name) != after.get(*name));
        Value::Object(
            changed.map(|name| (name.clone(), after.get(name).cloned().unwrap_or(Value::Null))).collect(),
        )
    }

    #[test]
    fn a_long_list_is_refused_before_its_values_are_compared() {
        let many: Vec<String> = (0..=MAX_VALUES).map(|n| format!("a{n}@example.com")).collect();
        let refused = patched(&json!([{"op": "add", "path": "emails", "value": many}])).unwrap_err();
        assert!(refused.detail.contains("at most"), "{}", refused.detail);
        patched(&json!([{"op": "add", "path": "emails", "value": many[2..]}])).unwrap();
    }

    #[test]
    fn what_providers_send_has_the_effect_that_they_mean() {
        let work = |value: &str| json!({"emails": [{"value": value, "type": "work", "primary": true}]});
        for (operations, expected) in [
            // Okta deactivates without a path, and Entra with a path, a capital letter and text.
            (json!([{"op": "replace", "value": {"active": false}}]), json!({"active": false})),
            (json!([{"op": "Replace", "path": "active", "value": "False"}]), json!({"active": "False"})),
            (json!([{"op": "Replace", "value": {"active": "False"}}]), json!({"active": "False"})),
            (
                json!([{"op": "Add", "path": "displayName", "value": "Ada L."}]),
                json!({"displayName": "Ada L."}),
            ),
            // Entra writes paths as the names of an object.
            (
                json!([{"op": "add", "value": {"name.familyName": "Byron", "displayName": "Ada B."}}]),
                json!({"name": {"givenName": "Ada", "familyName": "Byron"}, "displayName": "Ada B."}),
            ),
            (
                json!([{"op": "replace", "path": "emails[type eq \"work\"].value", "value": "a@example.com"}]),
                work("a@example.com"),
            ),
            (
                json!([{"op": "Add", "path": "emails[type eq \"home\"].value", "value": "ada@home.example"}]),
                json!({"emails": [{"value": "ada@example.com", "type": "work", "primary": true}, {"type": "home", "value": "ada@home.example"}]}),
            ),
            (
                json!([{"op": "add", "path": "emails", "value": [{"value": "b@example.com", "primary": true}]}]),
                json!({"emails": [{"value": "ada@example.com", "type": "work", "primary": false}, {"value": "b@example.com", "primary": true}]}),
            ),
            (json!([{"op": "remove", "path": "emails[value co \"example\"]"}]), json!({"emails": null})),
            (json!([{"op": "remove", "path": "emails"}]), json!({"emails": null})),
            (json!([{"op": "remove", "path": "emails[type eq \"other\"]"}]), json!({})),
            (
                json!([{"op": "replace", "path": "name", "value": {"GIVENNAME": "A."}}]),
                json!({"name": {"givenName": "A.", "familyName": "Lovelace"}}),
            ),
            (
                json!([{"op": "remove", "path": "name.givenName"}]),
                json!({"name": {"familyName": "Lovelace"}}),
            ),
            (json!([{"op": "remove", "path": "displayName"}]), json!({"displayName": null})),
            (json!([{"op": "replace", "path": "displayName", "value": null}]), json!({"displayName": null})),
            (
                json!([{"op": "replace", "path": "urn:ietf:params:scim:schemas:core:2.0:User:externalId", "value": "a2"}]),
                json!({"externalId": "a2"}),
            ),
            // Not kept, and no mistake.
            (json!([{"op": "replace", "path": "title", "value": "Countess"}]), json!({})),
            (
                json!([{"op": "replace", "path": "addresses[type eq \"work\"].country", "value": "GB"}]),
                json!({}),
            ),
            (
                json!([{"op": "add", "value": {"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department": "x"}}]),
                json!({}),
            ),
            (json!([{"op": "replace", "value": {"password": "canary", "id": "su_2"}}]), json!({})),
            (
                json!([{"op": "replace", "value": {"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {"department": "x"}}}]),
                json!({}),
            ),
            (
                json!([{"op": "replace", "value": {"schemas": [], "Name.HonorificPrefix": "Lady", "title": "Countess"}}]),
                json!({}),
            ),
            // Names have no case (RFC 7643 §2.1).
            (json!([{"op": "replace", "value": {"Active": false}}]), json!({"active": false})),
            (json!([]), json!({})),
        ] {
            assert_eq!(difference(operations.clone()), expected, "{operations}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_word() {
        for (operations, expected) in [
            (json!([{"op": "delete", "path": "active"}]), "invalidSyntax"),
            (json!(["active"]), "invalidSyntax"),
            (json!({"op": "replace"}), "invalidSyntax"),
            (json!([{"op": "remove"}]), "noTarget"),
            (json!([{"op": "replace", "value": true}]), "invalidValue"),
            // A slip that would leave a leaver active.
            (json!([{"op": "replace", "path": "activ", "value": false}]), "invalidPath"),
            (json!([{"op": "replace", "value": {"actve": false}}]), "invalidPath"),
            (json!([{"op": "add", "value": {"displayName": "A", "": false}}]), "invalidPath"),
            (
                json!([{"op": "replace", "value": {"urn:ietf:params:scim:schemas:core:2.0:User": {"active": false}}}]),
                "invalidPath",
            ),
            (
                json!([{"op": "replace", "path": "urn:ietf:params:scim:schemas:core:2.0:Usr:active", "value": false}]),
                "invalidPath",
            ),
            (
                json!([{"op": "replace", "path": "urn:ietf:params:scim:schemas:core:2.0:User:actve", "value": false}]),
                "invalidPath",
            ),
            // It is no unassigned value that would mean anything.
            (json!([{"op": "remove", "path": "active"}]), "invalidValue"),
            (json!([{"op": "replace", "path": "active"}]), "invalidValue"),
            (json!([{"op": "replace", "value": {"active": null}}]), "invalidValue"),
            (json!([{"op": "replace", "path": "active[value eq true]", "value": false}]), "invalidPath"),
            (json!([{"op": "replace", "path": "emails[type eq \"work\"", "value": "a"}]), "invalidPath"),
            (json!([{"op": "replace", "path": 1, "value": "a"}]), "invalidPath"),
            (
                json!([{"op": "replace", "path": "emails[kind eq \"work\"].value", "value": "a"}]),
                "invalidFilter",
            ),
            (json!([{"op": "replace", "path": "emails[value co \"none\"].type", "value": "a"}]), "noTarget"),
            (json!([{"op": "replace", "path": "id", "value": "su_2"}]), "mutability"),
            (
                json!([{"op": "replace", "path": "meta.created", "value": "2026-11-24T13:05:00Z"}]),
                "mutability",
            ),
            (json!([{"op": "add", "path": "groups", "value": [{"value": "sg_1"}]}]), "mutability"),
            (json!([{"op": "replace", "path": "name", "value": "Ada"}]), "invalidValue"),
        ] {
            let refused = patched(&operations).expect_err(&operations.to_string());
            assert_eq!(refused.members[super::super::SCIM_TYPE], expected, "{operations}");
        }
        let many = Value::Array(vec![json!({"op": "remove", "path": "displayName"}); MAX_OPERATIONS + 1]);
        assert_eq!(patched(&many).unwrap_err().members[super::super::SCIM_TYPE], "tooMany");
    }
}
