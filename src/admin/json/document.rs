//! The OpenAPI document, made of the table of routes: <https://spec.openapis.org/oas/v3.1.0>.

use std::sync::LazyLock;

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::routes::{ROUTES, Route, Scope};
use super::{Details, PREFIX, PROBLEM};

/// What is said of the whole.
const ABOUT: &str = "Administers a Ninefold deployment. Requests are signed with AWS's signature version 4, for the service `s3` and the \
                     server's region. Each asks for an action in the policy language: `ninefold:` and its `operationId`.";

/// The document, as JSON.
pub fn document() -> &'static str {
    static DOCUMENT: LazyLock<String> = LazyLock::new(|| make().to_string());
    &DOCUMENT
}

/// How types look that are read, or written.
fn generator(read: bool) -> SchemaGenerator {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let settings = if read { settings.for_deserialize() } else { settings.for_serialize() };
    settings.into_generator()
}

fn make() -> Value {
    let (mut read, mut written) = (generator(true), generator(false));
    let problem = written.subschema_for::<Details<'static>>();
    let mut paths = Map::new();
    for route in ROUTES.iter() {
        let methods = paths.entry(route.path).or_insert_with(|| json!({}));
        methods[route.method.as_str().to_ascii_lowercase()] = operation(route, &mut read, &mut written);
    }
    paths.insert("/openapi.json".into(), json!({"get": own_operation()}));
    let mut schemas = written.take_definitions(true);
    // What is read and written is held to less where it is read: that is true of both.
    schemas.extend(read.take_definitions(true));
    json!({
        "openapi": "3.1.0",
        "info": {"title": "Ninefold administration", "version": "1", "description": ABOUT},
        "servers": [{"url": PREFIX.trim_end_matches('/')}],
        "security": [{"sigv4": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {"Problem": {
                "description": "What is wrong (RFC 9457), with a code for programs",
                "content": {PROBLEM: {"schema": problem}},
            }},
            "securitySchemes": {"sigv4": {
                "type": "apiKey", "in": "header", "name": "Authorization",
                "description": "AWS4-HMAC-SHA256, for the service s3", "x-amazon-apigateway-authtype": "awsSigv4",
            }},
        },
    })
}

/// The document's own: anybody may read it, as it says nothing of a deployment.
fn own_operation() -> Value {
    json!({
        "operationId": "GetDocument", "summary": "Shows this document, unsigned", "security": [],
        "responses": {"200": {
            "description": "This document", "content": {"application/json": {"schema": {"type": "object"}}},
        }},
    })
}

fn operation(route: &Route, read: &mut SchemaGenerator, written: &mut SchemaGenerator) -> Value {
    let action = format!("ninefold:{}", route.action);
    let of = match route.scope {
        Scope::Account => "",
        Scope::Deployment => " For those of the deployment's own account alone.",
    };
    let about = route.about.0.join("` or `");
    let mut operation = json!({
        "operationId": route.action,
        "summary": route.summary,
        "description": format!("Asks for `{action}` about `{about}`.{of}"),
        "tags": [route.path.trim_start_matches('/').split('/').next()],
        "parameters": parameters(route),
        "x-ninefold-action": action,
        "x-ninefold-resources": route.about.0,
    });
    let shown = route.shown.map(|schema| schema(written));
    let mut responses = Map::new();
    for (status, what) in route.statuses {
        let mut response = json!({"description": what});
        if let Some(schema) = &shown {
            response["content"] = json!({"application/json": {"schema": schema}});
        }
        responses.insert(status.to_string(), response);
    }
    responses.insert("default".into(), json!({"$ref": "#/components/responses/Problem"}));
    operation["responses"] = responses.into();
    if let Some(schema) = route.body {
        operation["requestBody"] = json!({"required": true, "content": {"application/json": {"schema": schema(read)}}});
    }
    operation
}

fn parameters(route: &Route) -> Value {
    let in_path = route.names().map(
        |name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "minLength": 1}}),
    );
    let in_query = route.parameters().map(|parameter| {
        json!({
            "name": parameter.name, "in": "query", "description": parameter.about, "schema": {"type": parameter.kind},
        })
    });
    in_path.chain(in_query).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn it_has_every_route_and_every_type_that_it_names() {
        let document: Value = serde_json::from_str(document()).unwrap();
        for route in ROUTES.iter() {
            let operation = &document["paths"][route.path][route.method.as_str().to_ascii_lowercase()];
            assert_eq!(operation["operationId"], route.action);
        }
        let text = document.to_string();
        let named = text.split("\"$ref\":\"#/components/schemas/").skip(1);
        for name in named.filter_map(|rest| rest.split('"').next()) {
            assert!(document["components"]["schemas"].get(name).is_some(), "{name} is nowhere");
        }
    }
}
