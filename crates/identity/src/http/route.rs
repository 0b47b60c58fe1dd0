//! Routes as a table: what the router is made of is what the description is made of, so neither has what the other has
//! not.

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};

use super::HttpState;

/// A method of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Post,
    Put,
    Delete,
}

impl Verb {
    /// As OpenAPI has it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Verb::Get => "get",
            Verb::Post => "post",
            Verb::Put => "put",
            Verb::Delete => "delete",
        }
    }

    fn filter(self) -> MethodFilter {
        match self {
            Verb::Get => MethodFilter::GET,
            Verb::Post => MethodFilter::POST,
            Verb::Put => MethodFilter::PUT,
            Verb::Delete => MethodFilter::DELETE,
        }
    }
}

/// By what a request shows who sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// A key or an access token (`Authorization: Bearer`).
    Bearer,
    /// A key (`Authorization: Basic`, RFC 6749, 2.3.1), or an assertion in the body.
    Client,
    /// Nothing: everybody may.
    Nothing,
}

/// A body: its media type and the name of its schema; without one, any text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Media {
    pub(crate) kind: &'static str,
    pub(crate) schema: Option<&'static str>,
}

/// What a route answers if all goes well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gives {
    pub(crate) status: u16,
    pub(crate) why: &'static str,
    pub(crate) media: Option<Media>,
    /// Names of headers, from the components.
    pub(crate) headers: &'static [&'static str],
}

/// A route: a handler and all that is said of it.
pub(crate) struct Route {
    pub(crate) verb: Verb,
    pub(crate) path: &'static str,
    /// A name for it that stays, for generated clients.
    pub(crate) id: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) proof: Proof,
    /// The schema of `{id}` in the path.
    pub(crate) path_id: Option<&'static str>,
    /// Names of parameters, from the components.
    pub(crate) parameters: &'static [&'static str],
    pub(crate) takes: Option<Media>,
    pub(crate) gives: Vec<Gives>,
    handler: MethodRouter<HttpState>,
}

impl Route {
    /// A route for whoever has a key or an access token, that takes nothing and answers nothing yet.
    pub(crate) fn new<H, T>(verb: Verb, path: &'static str, handler: H) -> Route
    where
        H: Handler<T, HttpState>,
        T: 'static,
    {
        Route {
            verb,
            path,
            id: "",
            summary: "",
            proof: Proof::Bearer,
            path_id: None,
            parameters: &[],
            takes: None,
            gives: Vec::new(),
            handler: on(verb.filter(), handler),
        }
    }

    /// Its name for programs, and what it does in a few words.
    pub(crate) fn called(self, id: &'static str, summary: &'static str) -> Route {
        Route { id, summary, ..self }
    }

    /// By what who asks is known.
    pub(crate) fn proof(self, proof: Proof) -> Route {
        Route { proof, ..self }
    }

    /// The schema of `{id}` in its path.
    pub(crate) fn path_id(self, schema: &'static str) -> Route {
        Route { path_id: Some(schema), ..self }
    }

    /// Its parameters: names from the components.
    pub(crate) fn parameters(self, parameters: &'static [&'static str]) -> Route {
        Route { parameters, ..self }
    }

    /// It takes JSON of that schema.
    pub(crate) fn takes(self, schema: &'static str) -> Route {
        self.takes_media(Media { kind: "application/json", schema: Some(schema) })
    }

    /// It takes a body of that kind.
    pub(crate) fn takes_media(self, media: Media) -> Route {
        Route { takes: Some(media), ..self }
    }

    /// It answers with JSON of that schema, and headers that are named in the components.
    pub(crate) fn gives(
        self,
        status: u16,
        why: &'static str,
        schema: &'static str,
        headers: &'static [&'static str],
    ) -> Route {
        let media = Some(Media { kind: "application/json", schema: Some(schema) });
        self.gives_media(Gives { status, why, media, headers })
    }

    /// It answers without a body.
    pub(crate) fn gives_nothing(self, status: u16, why: &'static str) -> Route {
        self.gives_media(Gives { status, why, media: None, headers: &[] })
    }

    /// It answers with that.
    pub(crate) fn gives_media(mut self, gives: Gives) -> Route {
        self.gives.push(gives);
        self
    }

    /// Adds it to a router.
    pub(crate) fn into_router(router: Router<HttpState>, route: Route) -> Router<HttpState> {
        router.route(route.path, route.handler)
    }
}
