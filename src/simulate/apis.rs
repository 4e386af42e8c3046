//! The other routes of the plain APIs: models, token counts, and 404 for the rest.

use super::page::Exchange;
use super::wire::{Stop, Wire};
use super::{Generation, js};

/// 2026-01-01, when every model was made.
const CREATED: (u64, &str) = (1_767_225_600, "2026-01-01T00:00:00Z");

impl<W: Wire> Exchange<'_, W> {
    pub(super) async fn api_route(&mut self) -> Result<(), Stop> {
        let method = match self.request.method.as_str() {
            "HEAD" => "GET".to_owned(),
            other => other.to_owned(),
        };
        let path = self.request.path().to_owned();
        match (method.as_str(), path.as_str()) {
            ("GET", "/v1/models") => {
                let models = self.sim.config.models.iter();
                let listed: Vec<String> = models.map(|model| self.model_json(model)).collect();
                let body = match self.sim.config.generation {
                    Generation::OpenAi => {
                        format!("{{\"object\":\"list\",\"data\":[{}]}}", listed.join(","))
                    }
                    _ => format!(
                        "{{\"data\":[{}],\"has_more\":false,\"first_id\":{},\"last_id\":{}}}",
                        listed.join(","),
                        super::js_opt(self.sim.config.models.first().map(String::as_str)),
                        super::js_opt(self.sim.config.models.last().map(String::as_str)),
                    ),
                };
                self.json(200, body).await
            }
            ("GET", path) if path.starts_with("/v1/models/") => {
                let name = path.trim_start_matches("/v1/models/");
                if self.sim.config.models.iter().any(|model| model == name) {
                    let body = self.model_json(name);
                    return self.json(200, body).await;
                }
                let text = format!("The model `{name}` does not exist.");
                self.error(404, "model_not_found", &text).await
            }
            ("POST", "/v1/messages/count_tokens")
                if self.sim.config.generation == Generation::Anthropic =>
            {
                let tokens = self.request.bytes().len().div_ceil(4);
                let body = format!("{{\"input_tokens\":{tokens}}}");
                self.json(200, body).await
            }
            (_, path) => {
                let text = format!("Invalid URL ({} {path})", self.request.method);
                self.error(404, "not_found_error", &text).await
            }
        }
    }

    fn model_json(&self, model: &str) -> String {
        let (id, (seconds, time)) = (js(model), CREATED);
        match self.sim.config.generation {
            Generation::OpenAi => format!(
                "{{\"id\":{id},\"object\":\"model\",\"created\":{seconds},\"owned_by\":\"simulated\"}}"
            ),
            _ => format!(
                "{{\"type\":\"model\",\"id\":{id},\"display_name\":{id},\"created_at\":\"{time}\"}}"
            ),
        }
    }
}
