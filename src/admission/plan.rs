//! The second stack: what the body asks for, and which tiers may answer it.

use tower::{Service, ServiceBuilder};

use super::auth::Identity;
use super::guard::{Answer, Done, guard};
use super::refusal::Refusal;
use crate::config::Settings;
use crate::routing::{Route, model_allowed};
use crate::wire::error::ErrorKind;
use crate::wire::scan::{Head, ModelField};
use crate::wire::text::clean;

/// An admitted request whose body has been read and scanned.
pub struct Ask<'a> {
    pub settings: &'a Settings,
    pub identity: &'a Identity,
    pub head: Head,
}

/// ... whose model has been named and resolved.
pub struct Named<'a> {
    identity: &'a Identity,
    plan: Plan,
}

/// What will be tried.
#[derive(Debug)]
pub struct Plan {
    /// Where the model stands in the body, and what it says.
    pub model: ModelField,
    pub stream: bool,
    /// See [`Head::delicate`].
    pub delicate: bool,
    pub route: Route,
}

/// The stack. Read it downwards: that is the way of a request.
pub fn plan()
-> impl for<'a> Service<Ask<'a>, Response = Plan, Error = Refusal, Future = Answer<Plan>> + Clone {
    ServiceBuilder::new()
        // First: everything below needs a name.
        .layer(guard(named))
        // Last, and before any tier is looked at: a key must not learn the state of a model that it may not use.
        .layer(guard(allowed))
        .service(Done)
}

fn named(ask: Ask<'_>) -> Result<Named<'_>, Refusal> {
    let stream = ask.head.stream;
    let Some(model) = ask.head.model.filter(|m| !m.name.is_empty()) else {
        return Err(Refusal::invalid(
            Some("model"),
            "model: a model name is required",
        ));
    };
    let route = ask.settings.rules.resolve(&model.name);
    Ok(Named {
        identity: ask.identity,
        plan: Plan {
            model,
            stream,
            delicate: ask.head.delicate,
            route,
        },
    })
}

fn allowed(named: Named<'_>) -> Result<Plan, Refusal> {
    let Plan { model, route, .. } = &named.plan;
    if model_allowed(route, &model.name, &named.identity.key().models) {
        return Ok(named.plan);
    }
    Err(Refusal::new(
        403,
        ErrorKind::Permission,
        format!(
            "this API key may not use the model {}; ask the operator which models it may use",
            clean(&model.name)
        ),
    ))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::keys::{Auth, KeyStore, NewKey};
    use crate::store::DataLock;
    use tower::ServiceExt;

    fn head(model: Option<&str>) -> Head {
        Head {
            model: model.map(|name| ModelField {
                name: name.to_owned(),
                start: 0,
                end: 0,
            }),
            stream: true,
            delicate: false,
        }
    }

    async fn ask(models: &[&str], model: Option<&str>) -> Result<Plan, Refusal> {
        let folder = tempfile::tempdir().unwrap();
        let lock = DataLock::acquire(folder.path()).unwrap();
        let path = folder.path().join("keys.json");
        let (keys, _) = KeyStore::open(&path, &lock, None, 1).unwrap();
        let mut new = NewKey::named("k");
        new.models = models.iter().map(|m| (*m).to_owned()).collect();
        let (_, secret) = keys.create(new, 1).unwrap();
        let Auth::Client(key) = keys.table().authenticate(secret.reveal().as_bytes(), 2) else {
            panic!("the key was just made");
        };
        let chains = r#"{"chains":{"a":["a","b"]},"aliases":{"fast":"a"}}"#;
        let settings = Settings::from_text("", Some(chains), Path::new("/")).unwrap();
        plan()
            .oneshot(Ask {
                settings: &settings,
                identity: &Identity::Client(key),
                head: head(model),
            })
            .await
    }

    #[tokio::test]
    async fn the_name_is_required_allowed_and_resolved() {
        for absent in [None, Some("")] {
            let refusal = ask(&[], absent).await.unwrap_err();
            assert_eq!(
                (refusal.error.status, refusal.error.param.as_deref()),
                (400, Some("model"))
            );
        }
        let made = ask(&["a"], Some("fast")).await.unwrap();
        assert_eq!(&*made.route.resolved, "a");
        assert_eq!(made.route.tiers.len(), 2);
        assert!(made.stream);
        assert_eq!(
            ask(&["b"], Some("fast")).await.unwrap_err().error.status,
            403
        );
    }
}
