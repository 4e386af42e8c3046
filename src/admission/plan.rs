//! The second stack: what the body asks for, and which tiers may answer it.

use std::sync::Arc;
use std::task::{Context, Poll};

use tower::layer::layer_fn;
use tower::{Service, ServiceBuilder};

use super::auth::Identity;
use super::refusal::Refusal;
use crate::config::{Profile, Settings};
use crate::routing::{Route, model_allowed};
use crate::usage::Endpoint;
use crate::wire::error::ErrorKind;
use crate::wire::scan::{Head, ModelField};

/// An admitted request whose body has been read and scanned.
pub struct Ask<'a> {
    pub settings: &'a Settings,
    pub identity: &'a Identity,
    pub endpoint: Endpoint,
    pub head: Head,
}

/// What will be tried.
#[derive(Debug)]
pub struct Plan {
    /// Where the model stands in the body, and what it says.
    pub model: ModelField,
    pub stream: bool,
    pub route: Route,
}

/// What every layer here answers, at once.
pub type Answer = std::future::Ready<Result<Plan, Refusal>>;

/// The stack. Read it downwards: that is the way of a request.
pub fn plan() -> impl for<'a> Service<Ask<'a>, Response = Plan, Error = Refusal, Future = Answer>
+ Clone
+ Send
+ Sync
+ 'static {
    ServiceBuilder::new()
        // First: everything below needs a name.
        .layer(layer_fn(|inner| ModelNamed { inner }))
        // Before the tiers: a key must not learn the state of a model that it may not use.
        .layer(layer_fn(|inner| AllowList { inner }))
        // Last: a chain whose tiers this version cannot speak to is the operator's error.
        .layer(layer_fn(|inner| Speakable { inner }))
        .service(Planned)
}

struct Named<'a> {
    ask: Ask<'a>,
    model: ModelField,
    route: Route,
}

#[derive(Clone)]
struct ModelNamed<S> {
    inner: S,
}

impl<'a, S> Service<Ask<'a>> for ModelNamed<S>
where
    S: Service<Named<'a>, Response = Plan, Error = Refusal, Future = Answer>,
{
    type Response = Plan;
    type Error = Refusal;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut ask: Ask<'a>) -> Answer {
        let model = ask.head.model.take().filter(|m| !m.name.is_empty());
        let Some(model) = model else {
            return std::future::ready(Err(Refusal::invalid(
                Some("model"),
                "model: a model name is required",
            )));
        };
        let route = ask.settings.rules.resolve(&model.name);
        self.inner.call(Named { ask, model, route })
    }
}

#[derive(Clone)]
struct AllowList<S> {
    inner: S,
}

impl<'a, S> Service<Named<'a>> for AllowList<S>
where
    S: Service<Named<'a>, Response = Plan, Error = Refusal, Future = Answer>,
{
    type Response = Plan;
    type Error = Refusal;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, named: Named<'a>) -> Answer {
        let allowed = &named.ask.identity.key().models;
        if !allowed.is_empty() && !model_allowed(&named.route, &named.model.name, allowed) {
            return std::future::ready(Err(Refusal::new(
                403,
                ErrorKind::Permission,
                format!(
                    "this API key may not use the model {}; ask the operator which models it may use",
                    crate::wire::text::clean(&named.model.name)
                ),
            )));
        }
        self.inner.call(named)
    }
}

#[derive(Clone)]
struct Speakable<S> {
    inner: S,
}

impl<'a, S> Service<Named<'a>> for Speakable<S>
where
    S: Service<Named<'a>, Response = Plan, Error = Refusal, Future = Answer>,
{
    type Response = Plan;
    type Error = Refusal;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut named: Named<'a>) -> Answer {
        let settings = named.ask.settings;
        let speaks = |name: &Arc<str>| {
            settings
                .upstreams
                .get(&**name)
                .is_some_and(|upstream| upstream.profile != Profile::Openai)
        };
        if !named.route.tiers.iter().all(|tier| speaks(&tier.upstream)) {
            let kept: Vec<_> = named
                .route
                .tiers
                .iter()
                .filter(|tier| speaks(&tier.upstream))
                .cloned()
                .collect();
            if kept.is_empty() {
                return std::future::ready(Err(Refusal::new(
                    404,
                    ErrorKind::NotFound,
                    format!(
                        "the model {} is only offered by an upstream whose format this version does not convert to",
                        crate::wire::text::clean(&named.model.name)
                    ),
                )));
            }
            named.route.tiers = kept.into();
        }
        self.inner.call(named)
    }
}

/// The innermost service: hands the pieces over.
#[derive(Clone)]
struct Planned;

impl<'a> Service<Named<'a>> for Planned {
    type Response = Plan;
    type Error = Refusal;
    type Future = Answer;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, named: Named<'a>) -> Answer {
        std::future::ready(Ok(Plan {
            model: named.model,
            stream: named.ask.head.stream,
            route: named.route,
        }))
    }
}
