//! The description of the API (OpenAPI 3.1): the table of routes, with what is said of bodies and parameters.

use axum::extract::State as Shared;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde_json::{Map, Value, json};

use super::route::{Gives, Media, Proof, Route, Verb};
use super::{HttpState, audit, authorize, keys, oauth, passwords, resource};

/// Schemas, parameters, headers: of the API, and of OAuth.
const COMPONENTS: [&str; 2] = [include_str!("openapi/components.json"), include_str!("openapi/oauth.json")];

/// Path of the description itself.
const PATH: &str = "/openapi.json";

/// The description, as it is served and checked in.
pub fn document() -> Value {
    let mut paths = Map::new();
    for route in routes() {
        let item = paths.entry(route.path).or_insert_with(|| json!({}));
        item[route.verb.as_str()] = operation(&route);
    }
    let mut components = components();
    add_wholes(&mut components["schemas"]);
    components["securitySchemes"] = json!({
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "A key of an application, or an access token of /oauth/token."
        },
        "client": {
            "type": "http",
            "scheme": "basic",
            "description": "The key id, and the key as password (RFC 6749, 2.3.1)."
        }
    });
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Plimsoll identity",
            "description": "Organisations, their data sets, users and applications, keys and grants.",
            "version": env!("CARGO_PKG_VERSION")
        },
        "paths": paths,
        "components": components
    })
}

fn components() -> Value {
    let mut all = json!({});
    for text in COMPONENTS {
        let part: Map<String, Value> = serde_json::from_str(text).expect("our own files are JSON");
        for (section, items) in part {
            match (all[&section].as_object_mut(), items) {
                (Some(known), Value::Object(items)) => known.extend(items),
                (_, items) => all[&section] = items,
            }
        }
    }
    all
}

/// Adds the schemas of what is answered: what was chosen, with an id and what the store knows of it, and pages of that.
fn add_wholes(schemas: &mut Value) {
    for (name, data, key, id) in [
        ("Organisation", "OrgData", "id", "OrgId"),
        ("DataSet", "DataSetData", "id", "DataSetId"),
        ("User", "UserData", "id", "UserId"),
        ("Application", "AppData", "id", "AppId"),
        ("Grant", "GrantData", "id", "GrantId"),
        ("Key", "KeyData", "key_id", "KeyId"),
    ] {
        let mut whole = schemas[data].clone();
        let Some(properties) = whole["properties"].as_object_mut() else { continue };
        properties.insert(key.to_owned(), reference(id));
        for (known, schema) in [
            ("created_ms", reference("TimeMs")),
            ("changed_ms", reference("TimeMs")),
            ("changed_by", json!({"type": "string", "description": "An id, `key KEYID`, or `init`."})),
            ("version", json!({"type": "integer", "format": "int64", "minimum": 1})),
        ] {
            properties.insert(known.to_owned(), schema);
        }
        if name == "User" {
            properties.insert("has_password".to_owned(), json!({ "type": "boolean" }));
        }
        let required: Vec<Value> = properties
            .keys()
            .filter(|property| !LEFT_OUT.contains(&property.as_str()))
            .map(|property| json!(property))
            .collect();
        whole["required"] = json!(required);
        if name == "Key" {
            whole["properties"]["used_ms"] = reference("TimeMs");
            whole["properties"]["used_from"] = json!({ "type": "string" });
            let mut new = whole.clone();
            new["properties"]["key"] = json!({"type": "string", "description": "The whole key."});
            schemas["NewKey"] = new;
        }
        schemas[name] = whole;
        schemas[format!("{name}Page")] = page(name);
    }
    schemas["AuditPage"] = page("Audit");
}

/// What is left out of an answer when there is nothing.
const LEFT_OUT: [&str; 2] = ["schema", "expires_ms"];

fn page(of: &str) -> Value {
    json!({
        "type": "object",
        "required": ["items", "next"],
        "properties": {
            "items": { "type": "array", "items": reference(of) },
            "next": {
                "type": ["string", "null"],
                "description": "What to ask for next (`after`); nothing: this was the end."
            }
        }
    })
}

/// All routes, in the order of the description.
pub(super) fn routes() -> Vec<Route> {
    let mut all = resource::routes();
    all.extend(keys::routes());
    all.extend(passwords::routes());
    all.extend(audit::routes());
    all.extend(authorize::routes());
    all.extend(oauth::routes());
    all.push(
        Route::new(Verb::Get, PATH, serve)
            .called("openapi", "This description")
            .proof(Proof::Nothing)
            .gives_media(Gives {
                status: 200,
                why: "The description.",
                media: Some(Media { kind: "application/json", schema: None }),
                headers: &[],
            }),
    );
    all
}

async fn serve(Shared(state): Shared<HttpState>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], state.description().to_owned())
}

fn operation(route: &Route) -> Value {
    let named = |name: &&str| json!({ "$ref": format!("#/components/parameters/{name}") });
    let mut parameters: Vec<Value> = route.parameters.iter().map(named).collect();
    if let Some(schema) = route.path_id {
        parameters
            .insert(0, json!({"name": "id", "in": "path", "required": true, "schema": reference(schema)}));
    }
    let mut answers: Map<String, Value> =
        route.gives.iter().map(|gives| (gives.status.to_string(), answer(gives))).collect();
    let of_oauth = route.path.starts_with("/oauth/");
    let problem = if of_oauth { "OAuthProblem" } else { "Problem" };
    let problem = json!({ "$ref": format!("#/components/responses/{problem}") });
    answers.insert("4XX".to_owned(), problem.clone());
    answers.insert("503".to_owned(), problem);
    let mut operation = json!({
        "operationId": route.id,
        "summary": route.summary,
        "security": security(route.proof),
        "parameters": parameters,
        "responses": answers
    });
    if let Some(media) = route.takes {
        operation["requestBody"] = json!({ "required": true, "content": content(media) });
    }
    operation
}

fn security(proof: Proof) -> Value {
    match proof {
        Proof::Bearer => json!([{ "bearer": [] }]),
        Proof::Client => json!([{ "client": [] }, {}]),
        Proof::Nothing => json!([]),
    }
}

fn answer(gives: &Gives) -> Value {
    let mut answer = json!({ "description": gives.why });
    if let Some(media) = gives.media {
        answer["content"] = content(media);
    }
    for name in gives.headers {
        answer["headers"][name] = json!({ "$ref": format!("#/components/headers/{name}") });
    }
    answer
}

fn content(media: Media) -> Value {
    let schema = media.schema.map_or_else(|| json!({}), reference);
    json!({ media.kind: { "schema": schema } })
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}
