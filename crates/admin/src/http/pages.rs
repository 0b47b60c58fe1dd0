//! `/metrics` and `/healthz`.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use plimsoll_proxy::Control;

use super::figures::Served;
use crate::AdminConsole;
use crate::metrics::Format;

/// What the pages look at.
struct House {
    control: Control,
    console: Arc<AdminConsole>,
    served: Served,
}

/// The pages. GET answers HEAD as well; another method is refused with 405, another path with 404.
pub(super) fn routes(control: Control, console: Arc<AdminConsole>) -> Router {
    let house = Arc::new(House { control, console, served: Served::default() });
    Router::new().route("/metrics", get(metrics)).route("/healthz", get(health)).with_state(house)
}

async fn metrics(State(house): State<Arc<House>>, headers: HeaderMap) -> Response {
    let accept: Vec<&str> = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let format = Format::wanted(&accept.join(","));
    let text = house.served.text(format, Instant::now, || house.console.metrics(&house.control, format));
    ([(CONTENT_TYPE, format.content_type()), (CACHE_CONTROL, "no-store")], text).into_response()
}

async fn health(State(house): State<Arc<House>>) -> Response {
    if house.control.is_shutting_down() {
        (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n").into_response()
    } else {
        "ok\n".into_response()
    }
}
