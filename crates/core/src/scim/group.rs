//! Groups: what a provider says of them. Their members are changed without reading all of them.

use super::{
    Filter, Operation, Resource, SCIM_TYPE, ScimType, invalid, member,
    patch::{Target, Verb},
};
use crate::{Problem, ScimUserId, text};
use serde_json::{Map, Value, json};

/// Maximum number of members of a group.
pub const MAX_MEMBERS: usize = 20_000;
/// Maximum number of characters of a text.
const MAX_CHARACTERS: usize = 255;

/// What a provider says of a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupBody {
    /// Name, which the roles by group of the provider are compared with.
    pub name: String,
    /// ID of the group at the provider.
    pub external_id: Option<String>,
}

/// A change of the members of a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MemberChange {
    /// These are added.
    Add(Vec<ScimUserId>),
    /// These are removed.
    Remove(Vec<ScimUserId>),
    /// These are all.
    Set(Vec<ScimUserId>),
}

impl GroupBody {
    /// Reads a group, and its members if the body names any.
    pub fn read(body: &Map<String, Value>) -> Result<(Self, Option<Vec<ScimUserId>>), Problem> {
        let name = member(body, "displayName").ok_or_else(|| invalid("displayName", "is required"))?;
        let name = line("displayName", name)?;
        if name.is_empty() {
            return Err(invalid("displayName", "is required"));
        }
        let external_id = member(body, "externalId").map(|value| line("externalId", value)).transpose()?;
        let members = match member(body, "members") {
            None => None,
            Some(value) => Some(ids(value)?),
        };
        Ok((Self { name, external_id: external_id.filter(|text| !text.is_empty()) }, members))
    }
}

fn line(attribute: &'static str, value: &Value) -> Result<String, Problem> {
    let Value::String(value) = value else { return Err(invalid(attribute, "must be text")) };
    text::line(attribute, value, MAX_CHARACTERS)
        .map_err(|problem| problem.with(SCIM_TYPE, ScimType::InvalidValue.as_str()))
}

/// Reads members: objects with an ID, or IDs.
fn ids(value: &Value) -> Result<Vec<ScimUserId>, Problem> {
    let list = match value {
        Value::Array(list) => list.as_slice(),
        Value::Null => &[],
        value => std::slice::from_ref(value),
    };
    if list.len() > MAX_MEMBERS {
        let text = format!("members must contain at most {MAX_MEMBERS} people. Nothing was changed.");
        return Err(ScimType::TooMany.refuse(text));
    }
    let must = || invalid("members", "must contain IDs of people whom this provider provisions");
    let id = |value: &Value| {
        let text = match value {
            Value::Object(object) => member(object, "value").and_then(Value::as_str),
            value => value.as_str(),
        };
        text.and_then(|text| ScimUserId::parse(text).ok()).ok_or_else(must)
    };
    list.iter().map(id).collect()
}

/// Returns a group as it is shown, without `id`, `members` and `meta`.
pub fn shown_group(body: &GroupBody) -> Map<String, Value> {
    let mut shown = Map::new();
    shown.insert("schemas".to_owned(), json!([Resource::Group.urn()]));
    shown.insert("displayName".to_owned(), body.name.as_str().into());
    if let Some(external_id) = &body.external_id {
        shown.insert("externalId".to_owned(), external_id.as_str().into());
    }
    shown
}

/// Changes a group. Returns it, and the changes of its members in their order.
pub fn patch_group(
    body: &GroupBody,
    operations: &[Operation],
) -> Result<(GroupBody, Vec<MemberChange>), Problem> {
    let (mut shown, mut changes) = (shown_group(body), Vec::new());
    for operation in operations {
        match &operation.target {
            Some(target) if target.path.attribute.name == "members" => {
                changes.push(change(target, operation.verb, &operation.value)?);
            }
            Some(_) => operation.apply(Resource::Group, &mut shown)?,
            None => {
                let mut rest = operation.clone();
                if let Value::Object(values) = &mut rest.value {
                    let is_members =
                        |name: &&String| Resource::Group.without_urn(name).eq_ignore_ascii_case("members");
                    let names: Vec<String> = values.keys().filter(is_members).cloned().collect();
                    for name in names {
                        let value = values.remove(&name).unwrap_or_default();
                        changes.push(match operation.verb {
                            Verb::Add => MemberChange::Add(ids(&value)?),
                            Verb::Replace | Verb::Remove => MemberChange::Set(ids(&value)?),
                        });
                    }
                }
                rest.apply(Resource::Group, &mut shown)?;
            }
        }
    }
    Ok((GroupBody::read(&shown)?.0, changes))
}

fn change(target: &Target, verb: Verb, value: &Value) -> Result<MemberChange, Problem> {
    match (&target.filter, target.path.sub, verb) {
        (None, None, Verb::Add) => Ok(MemberChange::Add(ids(value)?)),
        (None, None, Verb::Replace) => Ok(MemberChange::Set(ids(value)?)),
        (None, None, Verb::Remove) if value.is_null() => Ok(MemberChange::Set(Vec::new())),
        (None, None, Verb::Remove) => Ok(MemberChange::Remove(ids(value)?)),
        (Some(filter), None, Verb::Remove) => Ok(MemberChange::Remove(vec![one(filter)?])),
        _ => {
            let text = "The members of a group can be added, replaced and removed, and not changed. Nothing was changed.";
            Err(ScimType::InvalidPath.refuse(text))
        }
    }
}

/// Returns the only member that a filter names.
fn one(filter: &Filter) -> Result<ScimUserId, Problem> {
    let refused = || {
        ScimType::InvalidFilter.refuse(
            "Members are removed with members[value eq \"ID\"] or with a list of IDs. Nothing was changed.",
        )
    };
    let equal = filter.equal().filter(|equal| equal.attribute == "value").ok_or_else(refused)?;
    ScimUserId::parse(equal.value).map_err(|_| refused())
}

#[cfg(test)]
mod tests {
    use super::{super::read_patch, *};

    fn id(number: u32) -> ScimUserId {
        ScimUserId::parse(&format!("su_{number:022}")).unwrap()
    }

    fn patched(operations: Value) -> Result<(GroupBody, Vec<MemberChange>), Problem> {
        let body = json!({"Operations": operations});
        let group = GroupBody { name: "Engineers".into(), external_id: None };
        patch_group(&group, &read_patch(Resource::Group, body.as_object().unwrap())?)
    }

    #[test]
    fn members_are_changed_as_providers_send_it() {
        let (one, two) = (id(1), id(2));
        for (operations, expected) in [
            (
                json!([{"op": "Add", "path": "members", "value": [{"value": one, "$ref": null}, {"value": two}]}]),
                vec![MemberChange::Add(vec![one.clone(), two.clone()])],
            ),
            (
                json!([{"op": "add", "value": {"members": [{"value": one}]}}]),
                vec![MemberChange::Add(vec![one.clone()])],
            ),
            (
                json!([{"op": "replace", "value": {"members": [{"value": one}]}}]),
                vec![MemberChange::Set(vec![one.clone()])],
            ),
            (
                json!([{"op": "replace", "value": {format!("{}:Members", Resource::Group.urn()): [{"value": one}]}}]),
                vec![MemberChange::Set(vec![one.clone()])],
            ),
            (
                json!([{"op": "Remove", "path": "members", "value": [{"value": one}]}]),
                vec![MemberChange::Remove(vec![one.clone()])],
            ),
            (
                json!([{"op": "remove", "path": format!("members[value eq \"{two}\"]")}]),
                vec![MemberChange::Remove(vec![two])],
            ),
            (json!([{"op": "remove", "path": "members"}]), vec![MemberChange::Set(vec![])]),
            (json!([{"op": "replace", "path": "members", "value": []}]), vec![MemberChange::Set(vec![])]),
        ] {
            assert_eq!(patched(operations.clone()).unwrap().1, expected, "{operations}");
        }
        let renamed = patched(
            json!([{"op": "replace", "value": {"id": "sg_1", "displayName": "Staff", "externalId": "g1"}}]),
        );
        let expected = GroupBody { name: "Staff".into(), external_id: Some("g1".into()) };
        assert_eq!(renamed.unwrap(), (expected, vec![]));
    }

    #[test]
    fn a_change_of_members_that_says_nothing_clear_is_refused() {
        for (operations, expected) in [
            (json!([{"op": "add", "path": "members", "value": [{"value": "usr_1"}]}]), "invalidValue"),
            (json!([{"op": "add", "path": "members", "value": [{"display": "ada"}]}]), "invalidValue"),
            (json!([{"op": "remove", "path": "members[value sw \"su_\"]"}]), "invalidFilter"),
            (json!([{"op": "remove", "path": "members[$ref eq \"ada\"]"}]), "invalidFilter"),
            (
                json!([{"op": "replace", "path": format!("members[value eq \"{}\"]", id(1)), "value": {}}]),
                "invalidPath",
            ),
            (json!([{"op": "remove", "path": "displayName"}]), "invalidValue"),
            (json!([{"op": "add", "path": "members", "value": vec![id(1); MAX_MEMBERS + 1]}]), "tooMany"),
        ] {
            let refused = patched(operations).unwrap_err();
            assert_eq!(refused.members[super::super::SCIM_TYPE], expected, "{refused}");
        }
    }
}
