//! The layers around the routes, and the order in which they stand.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderValue};
use tower::ServiceBuilder;

use super::fault::{Fault, render};
use super::peer::{Peer, peer_of};
use super::{AdminState, now};
use crate::admission::Identity;
use crate::keys::KeyEntry;
use crate::telemetry::OTHER_MODEL;
use crate::wire::error::{ClientFormat, ErrorKind};

/// A handler may take this long to answer. A feed of events has answered with its head.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// Sent with every answer: nothing here is a page, to be kept, or to be shown within one.
const SECURITY: [(HeaderName, &str); 5] = [
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (CACHE_CONTROL, "no-store"),
    (CONTENT_SECURITY_POLICY, "default-src 'none'"),
    (REFERRER_POLICY, "no-referrer"),
    (X_FRAME_OPTIONS, "DENY"),
];

/// The key of a request that passed [`client_key`].
#[derive(Clone)]
pub(super) struct Caller(pub Arc<KeyEntry>);

/// What every route has around it. Read it downwards: that is the way of a request.
pub(super) fn stack(routes: Router, state: &AdminState) -> Router {
    routes.layer(
        ServiceBuilder::new()
            // First, so that nothing leaves without them.
            .layer(from_fn(secured))
            // Before all that asks who calls.
            .layer(from_fn_with_state(state.clone(), identified))
            // Around whatever can refuse: the one place that words an error.
            .layer(from_fn_with_state(state.clone(), worded))
            // Last: its refusal is worded like any other.
            .layer(from_fn(timed)),
    )
}

/// The guards of the routes that any valid key opens.
pub(super) fn client_key(routes: Router, state: &AdminState) -> Router {
    routes.layer(from_fn_with_state(state.clone(), keyed))
}

/// The guards of /admin.
pub(super) fn admin_key(routes: Router, state: &AdminState) -> Router {
    routes.layer(
        ServiceBuilder::new()
            // First: for other addresses these routes do not exist, whatever key they try.
            .layer(from_fn_with_state(state.clone(), allowed_address))
            .layer(from_fn_with_state(state.clone(), administrators))
            // Last: only who may change something is told to come again.
            .layer(from_fn_with_state(state.clone(), unless_handing_over)),
    )
}

/// The guards of the web page, which asks for the key itself.
pub(super) fn address(routes: Router, state: &AdminState) -> Router {
    routes.layer(from_fn_with_state(state.clone(), allowed_address))
}

/// Counts model lists as `luna_requests_total` does the LLM routes. Inside [`client_key`].
pub(super) fn counted(routes: Router, state: &AdminState) -> Router {
    routes.layer(from_fn_with_state(state.clone(), count))
}

/// The format in which errors on a path are written.
pub(super) fn format_of(path: &str, headers: &HeaderMap) -> ClientFormat {
    let models = path == "/models" || path == "/v1/models" || path.starts_with("/v1/models/");
    if models && !headers.contains_key("anthropic-version") {
        ClientFormat::OpenAi
    } else {
        ClientFormat::Anthropic
    }
}

async fn secured(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in SECURITY {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn identified(State(state): State<AdminState>, mut request: Request, next: Next) -> Response {
    if request.extensions().get::<Peer>().is_some() {
        return next.run(request).await;
    }
    let peer = Peer::of(&request, &state.settings.load().server.trusted_proxies);
    let id = HeaderValue::from_str(&peer.request_id);
    request.extensions_mut().insert(peer);
    let mut response = next.run(request).await;
    // Where the gateway brought the request, it stamps the answer itself.
    if let Ok(id) = id {
        response.headers_mut().insert("request-id", id.clone());
        response.headers_mut().insert("x-request-id", id);
    }
    response
}

async fn worded(State(state): State<AdminState>, request: Request, next: Next) -> Response {
    let format = format_of(request.uri().path(), request.headers());
    let request_id = peer_of(request.extensions()).request_id;
    let (response, limit) = render(next.run(request).await, format, &request_id);
    if let Some(limit) = limit {
        state.metrics.limited.with_label_values(&[limit]).inc();
    }
    response
}

async fn timed(request: Request, next: Next) -> Response {
    match tokio::time::timeout(TIME_LIMIT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Fault::new(
            504,
            ErrorKind::Timeout,
            format!(
                "no answer within {} s; a change that was begun goes on to its end",
                TIME_LIMIT.as_secs()
            ),
        )
        .into_response(),
    }
}

async fn keyed(State(state): State<AdminState>, mut request: Request, next: Next) -> Response {
    match identity(&state, &request) {
        Ok(identity) => {
            request
                .extensions_mut()
                .insert(Caller(Arc::clone(identity.key())));
            next.run(request).await
        }
        Err(fault) => fault.into_response(),
    }
}

async fn administrators(State(state): State<AdminState>, request: Request, next: Next) -> Response {
    match identity(&state, &request) {
        Ok(Identity::Admin(_)) => next.run(request).await,
        Ok(Identity::Client(_)) => Fault::new(
            403,
            ErrorKind::Permission,
            "this is a client key; the admin API takes the admin key",
        )
        .into_response(),
        Err(fault) => fault.into_response(),
    }
}

/// In an upgrade nothing is changed by a process whose files are another's already.
async fn unless_handing_over(
    State(state): State<AdminState>,
    request: Request,
    next: Next,
) -> Response {
    let asks = request.method().is_safe() || request.uri().path() == "/admin/explain";
    if asks || !state.life.is_handing_over() {
        return next.run(request).await;
    }
    Fault::handed_over(
        "this process is being replaced by its successor, which will take the change; try again",
    )
    .into_response()
}

fn identity(state: &AdminState, request: &Request) -> Result<Identity, Fault> {
    let peer = peer_of(request.extensions());
    Ok(state.auth.check(request.headers(), peer.address, now())?)
}

async fn allowed_address(
    State(state): State<AdminState>,
    request: Request,
    next: Next,
) -> Response {
    let settings = state.settings.load_full();
    let peer = peer_of(request.extensions());
    let allowed = &settings.admin.allow_ips;
    let may = match peer.known_address(request.headers(), &settings.server.trusted_proxies) {
        Some(address) => allowed.iter().any(|net| net.contains(&address)),
        // Whoever it is, it is in a list that holds everybody.
        None => allowed.iter().any(|net| net.prefix_len() == 0),
    };
    if may {
        next.run(request).await
    } else {
        Fault::no_route(request.uri().path()).into_response()
    }
}

async fn count(State(state): State<AdminState>, request: Request, next: Next) -> Response {
    let key = request
        .extensions()
        .get::<Caller>()
        .map(|caller| Arc::clone(&caller.0.name));
    let response = next.run(request).await;
    if let Some(key) = key {
        let status = response.status();
        state
            .metrics
            .requests
            .with_label_values(&[&*key, OTHER_MODEL, "models", status.as_str()])
            .inc();
    }
    response
}
