//! The OpenAPI document (3.1), generated from the table of operations and from the shapes beside the handlers. Every
//! schema is closed.

use super::{
    examples::example,
    route,
    schema::{JSON, Schemas, Shape},
};
use crossfade_authority::Failure;
use crossfade_core::{
    Code, Operation, api,
    environment::Slug,
    operations::Access,
    problem::{Problem, ProblemDocument},
    roles::Permission,
};
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// Returns the document.
pub(crate) fn document() -> &'static Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(build);
    &DOCUMENT
}

const PROBLEM: &str = "application/problem+json";

fn build() -> Value {
    let mut schemas = Schemas::new();
    schemas.also::<ProblemDocument>();
    let shapes: Vec<(Operation, Shape)> = Operation::ALL
        .iter()
        .map(|operation| (*operation, (route(*operation).shape)(&mut schemas)))
        .collect();
    let definitions = schemas.definitions();
    let mut paths = Map::new();
    for (operation, shape) in &shapes {
        let path = paths.entry(operation.path()).or_insert_with(|| json!({}));
        path[operation.method().as_str().to_lowercase()] = described(*operation, shape, &definitions);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Crossfade admin API",
            "version": "1",
            "summary": "Rotate OAuth 2.0 client secrets without an outage.",
            "description": "Times are RFC 3339 in UTC. Unknown members are refused. Lists accept limit and \
                cursor. Every change accepts Idempotency-Key, which makes retries safe, and If-Match, which \
                refuses the change if the resource has changed since you read it.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/api/v1"}],
        "security": [{"token": []}],
        "tags": tags(),
        "paths": paths,
        "components": {
            "schemas": definitions,
            "examples": Code::ALL.iter().map(|code| (code.as_str().to_owned(), json!({"value": refusal(*code)}))).collect::<Map<_, _>>(),
            "securitySchemes": {
                "token": {
                    "type": "http", "scheme": "bearer",
                    "description": "An API token. Create one with crossfade token create."
                },
            },
        },
    })
}

/// Returns the groups of operations: the first parts of their paths.
fn tags() -> Vec<Value> {
    let mut names: Vec<&str> = Operation::ALL.iter().copied().map(tag).collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(|name| json!({"name": name, "description": tag_text(name)})).collect()
}

fn tag(operation: Operation) -> &'static str {
    operation.path().split('/').nth(1).unwrap_or_default()
}

fn tag_text(name: &str) -> &'static str {
    match name {
        "audit-events" => "Who did what, and through which credential.",
        "authentication-failures" => "Failed client authentications, by hour.",
        "clients" => "Clients, their registrations in environments, secrets, rotations, drills and callers.",
        "environments" => "Environments, their policies and signing keys.",
        "leaks" => "Client secrets that were found outside.",
        "mail" => "Where messages are sent from, and whether sending is held.",
        "me" => "Whoever asks.",
        "nodes" => "Serving processes.",
        "properties" => "Properties, which group clients, and their limits.",
        "providers" => {
            "OpenID Connect providers with which people sign in, and the roles that their groups give."
        }
        "quarantine" => "Whether the database was restored or replaced, and what is released.",
        "sign-in-policy" => "Who must have a second factor, and who can sign in with a password.",
        "tokens" => "API tokens.",
        "webhooks" => "URLs that get messages, and what became of their deliveries.",
        "access" => "Who holds which role, where, since when and why.",
        "users" => "Accounts of people and programs, and their roles.",
        _ => "",
    }
}

fn described(operation: Operation, shape: &Shape, definitions: &Map<String, Value>) -> Value {
    let text = operation.description();
    let summary = text.split(". ").next().unwrap_or(text).trim_end_matches('.');
    let access = match operation.access() {
        Access::Known => "Available to every API token.".to_owned(),
        Access::Needs(permission) => format!("Needs the permission `{}`.", permission.as_str()),
        Access::OwnOr(permission) => {
            format!(
                "Works on your own resources. Other users' resources need the permission `{}`.",
                permission.as_str()
            )
        }
    };
    let mut described = json!({
        "operationId": operation.id(),
        "summary": summary,
        "description": format!("{text}\n\n{access}"),
        "tags": [tag(operation)],
        "parameters": parameters(operation, shape),
        "responses": responses(operation, shape, definitions),
    });
    if let Some((schema, example)) = &shape.body {
        described["requestBody"] = json!({
            "required": !shape.body_optional,
            "content": {JSON: {"schema": schema, "example": example}},
        });
    }
    described
}

fn parameters(operation: Operation, shape: &Shape) -> Vec<Value> {
    let mut all: Vec<Value> = operation
        .parameters()
        .map(|name| {
            let schema = match operation {
                // Its path says which kind of token it is.
                Operation::DeleteProvisioningToken if name == "token" => path_schema("provisioning_token"),
                _ => path_schema(name),
            };
            json!({"name": name, "in": "path", "required": true, "schema": schema})
        })
        .collect();
    let of_lists: &[&str] = if shape.is_list { &["limit", "cursor"] } else { &[] };
    for name in shape.query.iter().chain(of_lists) {
        let (schema, description) = query_schema(name);
        all.push(json!({"name": name, "in": "query", "description": description, "schema": schema}));
    }
    if operation.is_mutation() {
        all.push(json!({
            "name": "Idempotency-Key", "in": "header",
            "description": "Makes retries safe. A request repeated with the same key gets the first \
                response. Secret values are repeated for 10 minutes. Keys are remembered for 24 hours.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"},
        }));
        all.push(json!({
            "name": "If-Match", "in": "header",
            "description": "The ETag you last read. If it is invalid or the resource has changed, the \
                request is refused and nothing is changed.",
            "schema": {"type": "string"},
        }));
        all.push(json!({
            "name": "Prefer", "in": "header",
            "description": "With respond-async, the response does not wait until the change is in force on other nodes, and \
                enforced is null. To learn about it later, repeat the request with its Idempotency-Key and without this \
                header.",
            "schema": {"type": "string"},
        }));
    }
    all
}

fn path_schema(name: &str) -> Value {
    let id = |prefix: &str| json!({"type": "string", "pattern": format!("^{prefix}[0-9A-Za-z]{{22}}$")});
    match name {
        "property" => id("prop_"),
        "client" => id("cl_"),
        "secret" => id("sec_"),
        "rotation" => id("rot_"),
        "drill" => id("drill_"),
        "user" => id("usr_"),
        "grant" => id("grant_"),
        "token" => id("tok_"),
        "provisioning_token" => id("prov_"),
        "webhook" => id("wh_"),
        "provider" => id("idp_"),
        "delivery" => id("del_"),
        _ => slug_schema(),
    }
}

fn slug_schema() -> Value {
    json!({"type": "string", "pattern": Slug::PATTERN})
}

fn query_schema(name: &str) -> (Value, &'static str) {
    let time = || json!({"type": "string", "format": "date-time"});
    let text = |longest: u32| json!({"type": "string", "maxLength": longest, "pattern": r"^[^\u0000-\u001F\u007F-\u009F]*$"});
    match name {
        "limit" => (
            json!({"type": "integer", "minimum": 1, "maximum": 200, "default": 50}),
            "Maximum number of items.",
        ),
        "cursor" => (
            json!({"type": "string", "pattern": "^[A-Za-z0-9_-]+$"}),
            "The next_cursor of the previous page.",
        ),
        "q" => (
            text(200),
            "Part of a name. Clients can also be found by a full OAuth client_id, and users by email \
            address.",
        ),
        "property_id" => (path_schema("property"), "Only clients of this property."),
        "client" => (path_schema("client"), "Only entries about this client."),
        "environment" => (slug_schema(), "Only this environment."),
        "user" => (path_schema("user"), "Only roles of this user."),
        "permission" => {
            let words: Vec<_> = Permission::ALL.iter().map(|permission| permission.as_str()).collect();
            (json!({"type": "string", "enum": words}), "Only roles that have this permission.")
        }
        "overdue" => (
            json!({"type": "boolean"}),
            "true: only clients with a secret older than its environment's maximum age.",
        ),
        "ownerless" => (
            json!({"type": "boolean"}),
            "true: only clients without an owner, about whom nobody is notified.",
        ),
        "without_secret" => (
            json!({"type": "boolean"}),
            "true: only clients with a registration that learns its secret and has none yet.",
        ),
        "actor" => (text(200), "Only events by the actor with this ID."),
        "action" => {
            let words: Vec<_> =
                crossfade_core::audit::Action::ALL.iter().map(|action| action.as_str()).collect();
            (json!({"type": "string", "enum": words}), "Only this action.")
        }
        "outcome" => {
            (json!({"type": "string", "enum": ["done", "refused"]}), "Only events with this outcome.")
        }
        "via" => {
            (text(200), "Only events done through this API token or session (ID), local command or policy.")
        }
        "via_kind" => {
            let words = crossfade_core::audit::Via::KINDS;
            (json!({"type": "string", "enum": words}), "Only events done through this kind of access.")
        }
        "format" => {
            let formats = json!({"type": "string", "enum": ["jsonl", "ocsf"], "default": "jsonl"});
            (formats, "Format of the lines: jsonl, which can be verified, or ocsf.")
        }
        "reason" => {
            let words = Failure::ALL.map(Failure::as_str);
            (json!({"type": "string", "enum": words}), "Only failures with this reason.")
        }
        "grain" => {
            let words = api::Grain::ALL.map(api::Grain::as_str);
            (json!({"type": "string", "enum": words}), "Length of each interval.")
        }
        "quiet_seconds" => (
            json!({"type": "integer", "minimum": 60, "maximum": 604_800}),
            "Seconds the old secret must be quiet. Defaults to the token lifetime, at least 1800.",
        ),
        "since" => (time(), "Start time (inclusive)."),
        "until" => (time(), "End time (exclusive)."),
        _ => (text(200), ""),
    }
}

fn responses(operation: Operation, shape: &Shape, definitions: &Map<String, Value>) -> Value {
    let mut all = Map::new();
    let mut success = json!({"description": "Done."});
    if let Some((schema, media)) = &shape.answer {
        let example = match *media {
            JSON => example(schema, definitions, ""),
            _ => Value::Null,
        };
        success["content"] = json!({*media: {"schema": schema}});
        if !example.is_null() {
            success["content"][*media]["example"] = example;
        }
    }
    let mut headers = json!({"X-Request-Id": {"schema": {"type": "string"}, "description": "ID of the \
        request in the log and in the audit trail."}});
    if shape.tagged {
        headers["ETag"] = json!({"schema": {"type": "string"}, "description": "The version, for If-Match."});
    }
    if operation.is_mutation() {
        headers["Preference-Applied"] = json!({"schema": {"type": "string"}, "description": "respond-async: the response \
            did not wait for other nodes, as the request preferred."});
    }
    if shape.is_list {
        headers["Link"] =
            json!({"schema": {"type": "string"}, "description": "rel=\"next\": the next page (RFC 8288)."});
    }
    if let Some((status, description, schema)) = &shape.other {
        let content = json!({JSON: {"schema": schema, "example": example(schema, definitions, "")}});
        let other = json!({"description": description, "content": content, "headers": headers.clone()});
        all.insert(status.to_string(), other);
    }
    success["headers"] = headers;
    all.insert(shape.status.to_string(), success);
    for code in operation.codes() {
        let refused = all.entry(code.status().to_string()).or_insert_with(|| {
            json!({"description": "", "content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}}}})
        });
        let text = refused["description"].as_str().unwrap_or_default();
        refused["description"] = format!("{text}\n`{}`: {}", code.as_str(), code.title()).trim().into();
        refused["content"][PROBLEM]["examples"][code.as_str()] =
            json!({"$ref": format!("#/components/examples/{}", code.as_str())});
        if matches!(
            code,
            Code::TooManyRequests | Code::Unavailable | Code::OutcomeUnknown | Code::IdempotencyInFlight
        ) {
            refused["headers"]["Retry-After"] =
                json!({"schema": {"type": "integer"}, "description": "Seconds to wait before retrying."});
        }
    }
    all.into()
}

fn refusal(code: Code) -> Value {
    serde_json::to_value(ProblemDocument::from(&Problem::new(code, code.title()))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_schemas_have_one_name() {
        let mut schemas = Schemas::new();
        schemas.also::<ProblemDocument>();
        for operation in Operation::ALL {
            (route(*operation).shape)(&mut schemas);
        }
        let [answers, requests] = schemas.apart();
        // The generator numbers the second type of a name.
        for own in [&answers, &requests] {
            for name in own.keys() {
                let first = name.trim_end_matches(|c: char| c.is_ascii_digit());
                assert!(first == name || !own.contains_key(first), "{name}");
            }
        }
        // Of a type that is in both, requests have the same members and words, though other required ones.
        let told = |schema: &Value| {
            let members = schema["properties"].as_object();
            let members: Vec<_> = members.into_iter().flatten().map(|(name, _)| name.clone()).collect();
            (schema["oneOf"].clone(), schema["enum"].clone(), schema["pattern"].clone(), members)
        };
        for (name, answer) in &answers {
            if let Some(request) = requests.get(name) {
                assert_eq!(told(answer), told(request), "{name}");
            }
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_object_is_closed() {
        fn walk(value: &Value) {
            if let Some(reference) = value["$ref"].as_str() {
                let found = document().pointer(reference.trim_start_matches('#'));
                assert!(found.is_some(), "{reference}");
            }
            match value {
                Value::Object(members) => {
                    if members.get("properties").is_some_and(Value::is_object) && members.contains_key("type")
                    {
                        assert_eq!(members.get("additionalProperties"), Some(&json!(false)), "{value}");
                    }
                    members.values().for_each(walk);
                }
                Value::Array(items) => items.iter().for_each(walk),
                _ => {}
            }
        }
        walk(document());
    }

    #[test]
    fn every_operation_has_an_example_and_its_errors() {
        let paths = document()["paths"].as_object().unwrap();
        let mut count = 0;
        for (path, methods) in paths {
            for (method, operation) in methods.as_object().unwrap() {
                count += 1;
                let answers = operation["responses"].as_object().unwrap();
                let success = answers.iter().find(|(status, _)| status.starts_with('2')).unwrap().1;
                if let Some(content) = success["content"].as_object()
                    && let Some(json) = content.get(JSON)
                {
                    assert!(!json["example"].is_null(), "{method} {path}");
                }
                assert!(answers.contains_key("401") && answers.contains_key("503"), "{method} {path}");
                assert_eq!(
                    operation.get("requestBody").is_none(),
                    operation["requestBody"]["content"][JSON]["example"].is_null()
                );
            }
        }
        assert_eq!(count, Operation::ALL.len());
    }

    #[test]
    fn what_a_body_must_have_is_required_and_bounded() {
        let schemas = &document()["components"]["schemas"];
        let rotate = &schemas["RotateSecret"];
        assert_eq!(rotate["required"], json!(["transition_hours", "confirm_client_name"]));
        assert_eq!(rotate["properties"]["transition_hours"].get("default"), None);
        for name in ["RevokeSecret", "ExtendSecret", "RollBackRotation"] {
            let required = schemas[name]["required"].as_array().unwrap();
            assert!(required.contains(&"reason".into()), "{name}");
            assert_eq!(schemas[name]["properties"]["reason"]["minLength"], 1, "{name}");
        }
        let name = &schemas["PropertyBody"]["properties"]["name"];
        assert_eq!((&name["maxLength"], &name["minLength"]), (&json!(200), &json!(1)));
        assert!(schemas["CreateUser"].get("else").is_some() && schemas["CreateGrant"].get("not").is_some());
    }

    #[test]
    fn a_condition_is_open_to_the_other_members_of_its_object() {
        let schemas = document()["components"]["schemas"].as_object().unwrap();
        let conditions =
            schemas.values().flat_map(|schema| ["if", "then", "else", "not"].map(|word| schema.get(word)));
        let conditions: Vec<&Value> = conditions.flatten().collect();
        assert!(conditions.len() >= 6, "{conditions:?}");
        for condition in conditions {
            assert!(!condition.to_string().contains("additionalProperties"), "{condition}");
        }
    }

    #[test]
    fn every_list_of_a_request_is_bounded_and_no_absent_member_is_required() {
        fn walk(schema: &Value, name: &str) {
            assert!(schema.get("default").is_none(), "{name} would be required in generated clients");
            let is_list = schema["type"] == "array"
                || schema["type"].as_array().is_some_and(|kinds| kinds.contains(&"array".into()));
            assert!(!is_list || schema["maxItems"].is_u64(), "{name} has no maxItems: {schema}");
            let members = schema["properties"].as_object().into_iter().flatten();
            members.for_each(|(member, schema)| walk(schema, &format!("{name}.{member}")));
        }
        let schemas = &document()["components"]["schemas"];
        let operations =
            document()["paths"].as_object().unwrap().values().flat_map(|it| it.as_object().unwrap().values());
        let bodies =
            operations.filter_map(|it| it["requestBody"]["content"][JSON]["schema"]["$ref"].as_str());
        let mut count = 0;
        for name in bodies.map(|reference| reference.rsplit('/').next().unwrap()) {
            walk(&schemas[name], name);
            count += 1;
        }
        assert!(count > 15, "{count}");
        for (name, schema) in schemas.as_object().unwrap().iter().filter(|(name, _)| name.ends_with("Page")) {
            walk(schema, name);
        }
    }

    #[test]
    fn every_tag_is_declared_and_described() {
        let declared: Vec<&Value> = document()["tags"].as_array().unwrap().iter().collect();
        assert!(declared.iter().all(|it| it["description"].as_str().is_some_and(|text| !text.is_empty())));
        for operation in
            document()["paths"].as_object().unwrap().values().flat_map(|it| it.as_object().unwrap().values())
        {
            assert!(declared.iter().any(|it| it["name"] == operation["tags"][0]), "{}", operation["tags"]);
        }
    }

    #[test]
    fn a_choice_of_words_is_an_enum_that_says_what_each_means() {
        let state = &document()["components"]["schemas"]["SecretState"];
        assert_eq!(state["enum"], json!(["current", "retiring", "expired", "revoked"]));
        assert!(state["description"].as_str().unwrap().contains("- `retiring`: Replaced"));
        assert!(!document().to_string().contains("\"const\":\"retiring\""));
    }

    #[test]
    fn only_what_holds_a_value_by_contract_has_a_member_for_one() {
        let definitions = document()["components"]["schemas"].as_object().unwrap();
        let with_value: Vec<&String> = definitions
            .iter()
            .filter(|(_, schema)| schema["properties"].get("value").is_some())
            .map(|(name, _)| name)
            .collect();
        assert_eq!(with_value, ["ProvisioningToken", "RevealReply", "RevealedSecret"]);
    }
}
