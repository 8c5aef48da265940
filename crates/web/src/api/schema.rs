//! The shapes of requests and responses, as the handlers read and write them, and their schemas.

pub(super) use super::examples::example_of;
use crossfade_core::api::Page;
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// Request and response of an operation.
pub(super) struct Shape {
    /// Parameters of its query, except those of every list.
    pub(super) query: &'static [&'static str],
    /// Whether it is a list, with `limit` and `cursor`.
    pub(super) is_list: bool,
    /// The schema of its body, and an example.
    pub(super) body: Option<(Value, Value)>,
    /// Whether the body is optional.
    pub(super) body_optional: bool,
    /// Status on success.
    pub(super) status: u16,
    /// Schema of the response, and its media type.
    pub(super) answer: Option<(Value, &'static str)>,
    /// Another status on success, its description and the schema of its response.
    pub(super) other: Option<(u16, &'static str, Value)>,
    /// Whether the response has an `ETag`.
    pub(super) tagged: bool,
}

/// Media type of most requests and responses.
pub(super) const JSON: &str = "application/json";

/// Collects the schemas of requests and of responses, which differ in their optional members.
pub(super) struct Schemas {
    requests: SchemaGenerator,
    answers: SchemaGenerator,
}

impl Schemas {
    pub(super) fn new() -> Self {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = "/components/schemas".into();
                settings.meta_schema = None;
            })
        };
        Self {
            requests: settings().for_deserialize().into_generator(),
            answers: settings().for_serialize().into_generator(),
        }
    }

    /// Adds a request body and its example.
    pub(super) fn reads<T: JsonSchema + Serialize>(&mut self, shape: Shape, example: &T) -> Shape {
        let schema = self.requests.subschema_for::<T>().to_value();
        Shape { body: Some((schema, serde_json::to_value(example).unwrap_or_default())), ..shape }
    }

    /// Returns the shape of a response.
    pub(super) fn answers<T: JsonSchema>(&mut self, status: u16) -> Shape {
        let schema = self.answers.subschema_for::<T>().to_value();
        Shape { answer: Some((schema, JSON)), ..nothing(status) }
    }

    /// Adds another response on success.
    pub(super) fn or_answers<T: JsonSchema>(
        &mut self,
        shape: Shape,
        status: u16,
        description: &'static str,
    ) -> Shape {
        let schema = self.answers.subschema_for::<T>().to_value();
        Shape { other: Some((status, description, schema)), ..shape }
    }

    /// Returns the shape of a response with an `ETag`.
    pub(super) fn tagged<T: JsonSchema>(&mut self, status: u16) -> Shape {
        Shape { tagged: true, ..self.answers::<T>(status) }
    }

    /// Returns the shape of a list, with the parameters of its query.
    pub(super) fn list<T: JsonSchema>(&mut self, query: &'static [&'static str]) -> Shape {
        Shape { query, is_list: true, ..self.answers::<Page<T>>(200) }
    }

    /// Adds the schema of a response that no operation names.
    pub(super) fn also<T: JsonSchema>(&mut self) {
        self.answers.subschema_for::<T>();
    }

    /// Returns the referenced schemas of responses and of requests.
    #[cfg(test)]
    pub(super) fn apart(mut self) -> [Map<String, Value>; 2] {
        [self.answers.take_definitions(true), self.requests.take_definitions(true)]
    }

    /// Returns all referenced schemas, closed.
    pub(super) fn definitions(mut self) -> Map<String, Value> {
        let mut all = self.answers.take_definitions(true);
        all.extend(self.requests.take_definitions(true));
        all.values_mut().for_each(|schema| {
            enumerate(schema);
            close(schema);
            describe_defaults(schema);
        });
        all
    }
}

/// Returns the shape of an operation without a request body and without a response body.
pub(super) fn nothing(status: u16) -> Shape {
    Shape {
        query: &[],
        is_list: false,
        body: None,
        body_optional: false,
        status,
        answer: None,
        other: None,
        tagged: false,
    }
}

/// Closes a schema: an object has the listed members and no others.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            // A condition lists a few members of its object, and must stay true for any other members.
            let is_object = members.get("type").is_some_and(|kind| kind == "object");
            if is_object
                && members.contains_key("properties")
                && !members.contains_key("additionalProperties")
            {
                members.insert("additionalProperties".into(), false.into());
            }
            members.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

/// Describes the default of an absent member in words. With the keyword `default`, client generators make a member
/// required.
fn describe_defaults(schema: &mut Value) {
    let Some(members) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for member in members.values_mut().filter_map(Value::as_object_mut) {
        let Some(default) = member.remove("default") else { continue };
        let text = member.get("description").and_then(Value::as_str).unwrap_or_default();
        let described = format!("{text} Defaults to `{default}`.");
        member.insert("description".into(), described.trim().into());
    }
}

/// Converts a choice of described words to an `enum`, which every client generator reads, with the descriptions as
/// text.
fn enumerate(schema: &mut Value) {
    let word = |choice: &Value| {
        Some((choice["const"].as_str()?.to_owned(), choice["description"].as_str()?.to_owned()))
    };
    let Some(choices) = schema["oneOf"].as_array() else { return };
    let Some(words) = choices.iter().map(word).collect::<Option<Vec<_>>>() else { return };
    let text = schema["description"].as_str().unwrap_or_default();
    let lines: Vec<String> = words.iter().map(|(word, text)| format!("- `{word}`: {text}")).collect();
    let described = format!("{text}\n\n{}", lines.join("\n"));
    let words: Vec<String> = words.into_iter().map(|(word, _)| word).collect();
    *schema = json!({"type": "string", "enum": words, "description": described.trim()});
}
