//! Which route is where, and what guards it.

use axum::Router;
use axum::extract::{Request, State};

use axum::routing::{any, get, post};
use http::{StatusCode, Uri};

use super::fault::{Answer, Fault};
use super::peer::peer_of;
use super::{
    AdminState, events, fallback, health, keys, layers, me, metrics, models, now, reload, usage,
};
use crate::wire::error::ErrorKind;

/// Which routes a listener has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// All: the client listener while `admin.listen` is empty.
    All,
    /// The client listener while the admin routes have one of their own: here they are 404.
    ClientOnly,
    /// That other listener: the admin routes, the dashboard, /health and /ready.
    AdminOnly,
}

/// The routes of a listener. Serve it with `into_make_service_with_connect_info::<SocketAddr>()`,
/// or call it with a [`super::Peer`] in the request's extensions; without either nobody is local.
pub fn router(state: AdminState, side: Side) -> Router {
    let routes = open();
    let routes = match side {
        Side::All => routes.merge(client(&state)).merge(admin(&state)),
        Side::ClientOnly => routes.merge(client(&state)).merge(elsewhere()),
        Side::AdminOnly => routes.merge(admin(&state)),
    };
    layers::stack(routes.fallback(unknown).with_state(state.clone()), &state)
}

/// `/metrics` on its listener. No key: the address it listens on is what guards it.
pub fn metrics_router(state: AdminState) -> Router {
    let routes = Router::new()
        .route("/metrics", get(metrics::scrape))
        .route("/", get(metrics::root))
        .fallback(no_route)
        .with_state(state.clone());
    layers::stack(routes, &state)
}

/// Needs no key.
fn open() -> Router<AdminState> {
    Router::new()
        .route("/", get(|| async { StatusCode::OK }))
        .route("/health", get(health::health))
        .route("/ready", get(health::ready))
}

/// Needs any valid key.
fn client(state: &AdminState) -> Router<AdminState> {
    let models = Router::new()
        .route("/v1/models", get(models::list))
        .route("/models", get(models::list))
        .route("/v1/models/{*id}", get(models::one))
        .with_state(state.clone());
    let routes = Router::new()
        .route("/me", get(me::me))
        .route("/me/usage", get(me::usage))
        .with_state(state.clone())
        .merge(layers::counted(models, state));
    Router::new().merge(stateless(layers::client_key(routes, state)))
}

/// Needs an allowed address, and the API the admin key too.
fn admin(state: &AdminState) -> Router<AdminState> {
    let api = Router::new()
        .route("/admin/keys", get(keys::list).post(keys::create))
        .route(
            "/admin/keys/{key}",
            get(keys::show).patch(keys::patch).delete(keys::delete),
        )
        .route("/admin/keys/{key}/disable", post(keys::disable))
        .route("/admin/keys/{key}/enable", post(keys::enable))
        .route("/admin/keys/{key}/rotate", post(keys::rotate))
        .route("/admin/keys/{key}/usage", get(usage::of_key))
        .route("/admin/usage", get(usage::totals))
        .route("/admin/usage/daily", get(usage::daily))
        .route("/admin/usage/hourly", get(usage::hourly))
        .route("/admin/fallback", get(fallback::show))
        .route("/admin/fallback/poll", post(fallback::poll))
        .route("/admin/fallback/clear", post(fallback::clear))
        .route("/admin/explain", post(fallback::explain))
        .route("/admin/reload", post(reload::reload))
        .route("/admin/events", get(events::events))
        // Behind the key as well: without it nobody learns which routes there are.
        .route("/admin", any(no_route))
        .route("/admin/", any(no_route))
        .route("/admin/{*rest}", any(no_route))
        .with_state(state.clone());
    let page = everywhere("/dashboard", Router::new(), dashboard);
    Router::new()
        .merge(stateless(layers::admin_key(api, state)))
        .merge(stateless(layers::address(page, state)))
}

/// What stands in place of [`admin`] where it is not.
fn elsewhere() -> Router<AdminState> {
    let routes = everywhere("/admin", Router::new(), no_route);
    stateless(everywhere("/dashboard", routes, no_route))
}

/// `base` and all below it.
fn everywhere<H, T>(base: &str, routes: Router, handler: H) -> Router
where
    H: axum::handler::Handler<T, ()>,
    T: 'static,
{
    routes
        .route(base, any(handler.clone()))
        .route(&format!("{base}/"), any(handler.clone()))
        .route(&format!("{base}/{{*rest}}"), any(handler))
}

/// Routes that have their state, among others that wait for theirs.
fn stateless(routes: Router) -> Router<AdminState> {
    routes.with_state(())
}

async fn no_route(uri: Uri) -> Fault {
    Fault::no_route(uri.path())
}

async fn dashboard() -> Fault {
    Fault::new(
        404,
        ErrorKind::NotFound,
        "the dashboard is not in this version; use the admin API or luna keys and luna usage",
    )
}

/// Any other path: 401 without a key, so that nobody learns which ones there are.
async fn unknown(State(state): State<AdminState>, request: Request) -> Answer {
    let peer = peer_of(request.extensions());
    state.auth.check(request.headers(), peer.address, now())?;
    Err(Fault::no_route(request.uri().path()))
}
