//! SIGHUP and /admin/reload: read everything, check everything, then swap all at once.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwap;

use super::{now, params};
use crate::admin::ReloadFn;
use crate::config::{LoadOptions, Settings, load};
use crate::gateway::Gateway;
use crate::keys::KeyStore;
use crate::quota::update_gauges;
use crate::routing::Book;
use crate::telemetry::{Event, EventKind, Events, Metrics};
use crate::usage::UsageHandle;

/// Reads the configuration again. One reload at a time.
pub struct Reloader {
    source: Option<LoadOptions>,
    settings: Arc<ArcSwap<Settings>>,
    keys: Arc<KeyStore>,
    book: Arc<Book>,
    metrics: Arc<Metrics>,
    events: Arc<Events>,
    usage: UsageHandle,
    gateway: OnceLock<Gateway>,
    one: Mutex<()>,
}

impl Reloader {
    pub(super) fn new(
        source: Option<LoadOptions>,
        settings: Arc<ArcSwap<Settings>>,
        keys: Arc<KeyStore>,
        book: Arc<Book>,
        metrics: Arc<Metrics>,
        events: Arc<Events>,
        usage: UsageHandle,
    ) -> Self {
        Self {
            source,
            settings,
            keys,
            book,
            metrics,
            events,
            usage,
            gateway: OnceLock::new(),
            one: Mutex::new(()),
        }
    }

    pub(super) fn set_gateway(&self, gateway: Gateway) {
        if self.gateway.set(gateway).is_err() {
            log::debug!("the reloader knew its gateway before");
        }
    }

    /// As the admin API calls it.
    pub(super) fn as_admin_fn(self: &Arc<Self>) -> ReloadFn {
        let this = Arc::clone(self);
        Arc::new(move || {
            let this = Arc::clone(&this);
            Box::pin(async move { this.reload().await })
        })
    }

    /// What changed, by names; or every error, and then nothing has changed.
    ///
    /// # Errors
    /// One text for each thing wrong.
    pub async fn reload(self: &Arc<Self>) -> Result<Vec<String>, Vec<String>> {
        let this = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || this.reload_now()).await;
        done.unwrap_or_else(|e| Err(vec![format!("the reload broke off: {e}")]))
    }

    fn reload_now(&self) -> Result<Vec<String>, Vec<String>> {
        let _one = self.one.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = self.read_and_swap();
        let label = if outcome.is_ok() { "ok" } else { "error" };
        self.metrics.reloads.with_label_values(&[label]).inc();
        let line = match &outcome {
            Ok(changed) if changed.is_empty() => "reload: nothing changed".to_owned(),
            Ok(changed) => format!("reload: {}", changed.join(", ")),
            Err(errors) => format!(
                "reload refused, the old configuration stays: {}",
                errors.join("; ")
            ),
        };
        match &outcome {
            Ok(_) => log::info!("{line}"),
            Err(_) => log::error!("{line}"),
        }
        let mut event = Event::new(EventKind::Reload);
        event.detail = Some(line);
        self.events.push(event);
        outcome
    }

    fn read_and_swap(&self) -> Result<Vec<String>, Vec<String>> {
        let Some(source) = &self.source else {
            return Err(vec![
                "this gateway was started without a configuration to read again".to_owned(),
            ]);
        };
        let new = load(source)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        let admin = new.admin.key.as_ref().map(|key| key.expose().to_owned());
        let keys = self
            .keys
            .begin_reload(admin.as_deref(), now())
            .map_err(|e| vec![e.to_string()])?;
        let old = self.settings.load_full();
        let diff = Settings::diff(&old, &new);
        for warning in new.warnings.iter().chain(keys.warnings()) {
            log::warn!("{warning}");
        }
        let report = keys.commit();
        self.book.set_params(params(&new));
        let upstreams: Vec<Arc<str>> = new
            .upstreams
            .keys()
            .map(|name| Arc::from(name.as_str()))
            .collect();
        self.book.set_known(new.rules.known_models(), &upstreams);
        self.usage.set_prices(Arc::clone(&new.usage.prices));
        self.settings.store(Arc::new(new));
        if let Some(gateway) = self.gateway.get() {
            gateway.settings_changed();
        }
        update_gauges(
            &self.metrics,
            &self.book.snapshot(),
            &self.settings.load(),
            now(),
        );
        let mut changed = diff.changed;
        if !report.is_empty() {
            changed.push(report.to_string());
        }
        changed.extend(
            diff.needs_upgrade
                .into_iter()
                .map(|name| format!("{name} (takes effect at the next start)")),
        );
        Ok(changed)
    }
}
