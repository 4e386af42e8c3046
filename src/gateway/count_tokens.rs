//! `POST /v1/messages/count_tokens`: answered here, because Antigravity does not (501).

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, HeaderName};
use pingora::Result;
use pingora_proxy::Session;
use tower::Service;

use super::Gateway;
use super::answer;
use super::context::Ctx;
use crate::admission::Refusal;
use crate::admission::door::Admitted;
use crate::admission::plan::{Ask, plan};
use crate::wire::count;
use crate::wire::scan::join;

/// The endpoint's label.
const ENDPOINT: &str = "count_tokens";
/// Says that the number is Luna's estimate, not a tokenizer's count.
static ESTIMATE: HeaderName = HeaderName::from_static("x-luna-estimate");

impl Gateway {
    /// Estimates and answers; no request in the sense of usage, so only the metrics hear of it.
    pub(super) async fn count_tokens(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        admitted: Admitted,
    ) -> Result<bool> {
        ctx.route = ENDPOINT;
        let mut held = self.body_memory.hold();
        let collected = self.read_body(session, ctx, &mut held).await?;
        let mut model = None;
        let counted = match collected {
            Err(refusal) => Err(refusal),
            Ok(collected) => {
                model = collected.head.model.as_ref().map(|m| m.name.clone());
                ctx.envelope.requested_model.clone_from(&model);
                let asked = plan()
                    .call(Ask {
                        settings: &ctx.settings,
                        identity: &admitted.identity,
                        head: collected.head,
                    })
                    .await;
                asked.and_then(|_| {
                    let body = join(collected.chunks, None);
                    count::input_tokens(&body).map_err(|e| Refusal::invalid(None, e.to_string()))
                })
            }
        };
        let answered = match counted {
            Ok(tokens) => self.tell_count(session, ctx, tokens).await,
            Err(refusal) => self.refuse(session, ctx, refusal).await,
        };
        let label = model
            .as_deref()
            .map_or("unknown", |name| self.metrics.model_label(name));
        self.metrics
            .requests
            .with_label_values(&[
                &*admitted.identity.key().name,
                label,
                ENDPOINT,
                &ctx.status.to_string(),
            ])
            .inc();
        answered
    }

    async fn tell_count(&self, session: &mut Session, ctx: &mut Ctx, tokens: u64) -> Result<bool> {
        let body = Bytes::from(format!("{{\"input_tokens\":{tokens}}}"));
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        headers.insert(&ESTIMATE, HeaderValue::from_static("true"));
        ctx.status = 200;
        let header = ctx.envelope.local(200, &headers)?;
        answer::write(&mut session.downstream_session, header, body).await?;
        Ok(true)
    }
}
