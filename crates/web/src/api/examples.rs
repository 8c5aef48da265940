//! Examples for the documentation, generated from schemas, so that an example cannot be out of date.

use serde_json::{Map, Value, json};

/// Returns a typed id for an example.
pub(super) fn example_of<T: TryFrom<String>>(kind: &str) -> T
where
    T::Error: std::fmt::Debug,
{
    match T::try_from(id_example(kind)) {
        Ok(id) => id,
        // The ids above are constants, and a test makes every example.
        Err(error) => unreachable!("{kind}: {error:?}"),
    }
}

fn id_example(kind: &str) -> String {
    let prefix = match kind {
        "PropertyId" => "prop_",
        "ClientId" => "cl_",
        "RegistrationId" => "reg_",
        "SecretId" => "sec_",
        "RotationId" => "rot_",
        "DrillId" => "drill_",
        "UserId" => "usr_",
        "GrantId" => "grant_",
        "TokenId" => "tok_",
        _ => "",
    };
    format!("{prefix}7bLx3Q9aTzKw5mPd2RfYh8")
}

/// Returns a value generated from a schema, so that a documented example cannot be out of date.
pub(super) fn example(schema: &Value, definitions: &Map<String, Value>, name: &str) -> Value {
    if let Some(reference) = schema["$ref"].as_str() {
        let kind = reference.rsplit('/').next().unwrap_or_default();
        return match kind {
            "Timestamp" => "2026-11-24T13:05:00.000000Z".into(),
            kind if kind.ends_with("Id") => id_example(kind).into(),
            kind => definitions.get(kind).map_or(Value::Null, |schema| example(schema, definitions, name)),
        };
    }
    if let Some(constant) = schema.get("const") {
        return constant.clone();
    }
    if let Some(first) = schema["enum"].as_array().and_then(|all| all.first()) {
        return first.clone();
    }
    for any in ["anyOf", "oneOf"] {
        if let Some(first) = schema[any].as_array().and_then(|all| all.first()) {
            return example(first, definitions, name);
        }
    }
    let kind = match &schema["type"] {
        Value::String(kind) => kind.as_str(),
        Value::Array(kinds) => kinds.first().and_then(Value::as_str).unwrap_or_default(),
        _ => "",
    };
    match kind {
        "object" => {
            let members = schema["properties"].as_object().cloned().unwrap_or_default();
            members.iter().map(|(name, schema)| (name.clone(), example(schema, definitions, name))).collect()
        }
        "array" => json!([example(&schema["items"], definitions, name)]),
        "boolean" => false.into(),
        "integer" => match name {
            "access_token_ttl_seconds" => 3600.into(),
            "wipe_after_days" => 30.into(),
            "max_age_days" => 90.into(),
            "guard_extension_hours" => 24.into(),
            "signing_key_rotation_days" => 90.into(),
            "transition_hours" => 24.into(),
            _ => 1.into(),
        },
        "string" => text_example(name).into(),
        _ => Value::Null,
    }
}

fn text_example(name: &str) -> &'static str {
    match name {
        "name" => "Billing API",
        "email" | "owners" => "ada@example.com",
        "description" => "Writes invoices.",
        "environment" | "environments" | "slug" => "production",
        "audience" | "audiences" => "https://invoices.example.com",
        "issuer" => "https://auth.example.com/env/production",
        "value" => "crossfade_live_…",
        "url" => "https://auth.example.com/console/link#…",
        "source_ip" => "192.0.2.7",
        "user_agent" => "billing-worker/2.1",
        "next_cursor" => "MS4xNzk1NTI1NTAwMDAwMDAwLmNs",
        "reason" => "quarterly",
        "scope" => "client:read",
        "scopes" => "invoices:read",
        "kid" => "p3Jx0v8nQ2m4",
        "request_id" => "7bLx3Q9aTzK",
        "action" => "secret.rotated",
        "outcome" => "done",
        "target" | "id" => "rot_7bLx3Q9aTzKw5mPd2RfYh8",
        _ => "…",
    }
}
