//! The description of the API (OpenAPI 3.1): the table of routes, with what is said of bodies and parameters.

use serde_json::{Map, Value, json};

use super::route::{Gives, Media, Proof, Route, Verb};

/// Schemas, parameters, headers.
const COMPONENTS: &str = include_str!("openapi/components.json");

/// Path of the description itself.
const PATH: &str = "/openapi.json";

/// The description, as it is served and checked in.
pub fn document() -> Value {
    let mut paths = Map::new();
    for route in routes() {
        let item = paths.entry(route.path).or_insert_with(|| json!({}));
        item[route.verb.as_str()] = operation(&route);
    }
    let mut components: Value = serde_json::from_str(COMPONENTS).unwrap_or_default();
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

/// All routes, in the order of the description.
pub(super) fn routes() -> Vec<Route> {
    let mut routes = own_routes();
    routes.extend(super::oauth::routes());
    routes
}

fn own_routes() -> Vec<Route> {
    vec![
        Route::new(Verb::Get, PATH, serve)
            .called("openapi", "This description")
            .proof(Proof::Nothing)
            .gives_media(Gives {
                status: 200,
                why: "The description.",
                media: Some(Media { kind: "application/json", schema: None }),
                headers: &[],
            }),
    ]
}

async fn serve() -> super::answer::Answer {
    super::answer::Answer::ok(&document())
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
    let problem = json!({ "$ref": "#/components/responses/Problem" });
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
