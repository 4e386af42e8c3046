//! Where the client's format meets an upstream's: what is sent up, and how the answer comes back.
//!
//! The conversions themselves are `wire::convert`; here they are chosen, and their state is kept by the attempt.

use std::sync::Arc;

use bytes::Bytes;

use crate::config::{Profile, Upstream};
use crate::wire::answer::{Answer, AnswerFault, check_message};
use crate::wire::anthropic::{self, Step, StreamFault};
use crate::wire::convert::json::{Kind, Object, array, kind};
use crate::wire::convert::{
    Capabilities, Converted, Facts, Rejection, Target, Warnings, a2o, is_known_stop_reason, o2a,
};
use crate::wire::error::{ClientFormat, Details};
use crate::wire::openai;
use crate::wire::sse::Event;
use crate::wire::usage::UsageSeen;

/// What an upstream of this profile speaks.
pub(super) const fn format_of(profile: Profile) -> ClientFormat {
    match profile {
        Profile::Antigravity | Profile::Anthropic => ClientFormat::Anthropic,
        Profile::Openai => ClientFormat::OpenAi,
    }
}

/// One attempt's request, and what its answer needs.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    /// The request body as this tier gets it.
    pub(super) body: Bytes,
    /// For `x-luna-warnings`; empty when nothing was lost.
    pub(super) warnings: String,
    pub(super) lane: Lane,
}

/// The way of an answer.
#[derive(Clone, Debug)]
pub(super) enum Lane {
    /// Anthropic to Anthropic: relayed. The flag says that it is Antigravity, two of whose mistakes are mended on the way:
    /// see `wire::anthropic::delta`.
    Anthropic { mend: bool },
    /// OpenAI to OpenAI: relayed. The flag says that Luna, not the client, asked for the usage chunk.
    OpenAi { hide_usage: bool },
    /// An OpenAI client, an Anthropic upstream.
    O2a(Arc<o2a::Back>, Box<Facts>),
    /// An Anthropic client, an OpenAI upstream.
    A2o(Arc<a2o::Back>, Box<Facts>),
}

impl Default for Lane {
    fn default() -> Self {
        Self::Anthropic { mend: false }
    }
}

impl Lane {
    /// What the upstream speaks.
    pub(super) const fn upstream_format(&self) -> ClientFormat {
        match self {
            Self::Anthropic { .. } | Self::O2a(..) => ClientFormat::Anthropic,
            Self::OpenAi { .. } | Self::A2o(..) => ClientFormat::OpenAi,
        }
    }

    /// Whether a conversion has to guess what this stop reason means.
    pub(super) fn is_odd(&self, stop_reason: &str) -> bool {
        matches!(self, Self::O2a(..)) && !is_known_stop_reason(stop_reason)
    }

    pub(super) const fn converts(&self) -> bool {
        matches!(self, Self::O2a(..) | Self::A2o(..))
    }
}

/// What is known of the client's request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client {
    pub(super) format: ClientFormat,
    pub(super) stream: bool,
    /// See [`crate::wire::scan::Head::delicate`].
    pub(super) delicate: bool,
}

/// What of a relayed request its upstream will not heed, for `x-luna-warnings`.
fn ignored(request: &Object<'_>, can: &Capabilities) -> String {
    let mut warnings = Warnings::default();
    let stops = request.get("stop_sequences").and_then(array);
    if !can.stop_sequences && stops.is_some_and(|stops| !stops.is_empty()) {
        warnings.add("stop_sequences", "ignored");
    }
    let choice = request.get("tool_choice").and_then(Object::of);
    if !can.tool_choice
        && choice.is_some_and(|choice| choice.text("type").as_deref() != Some("auto"))
    {
        warnings.add("tool_choice", "ignored");
    }
    let config = request.get("output_config").and_then(Object::of);
    if !can.output_config && config.is_some_and(|config| !config.is_empty()) {
        warnings.add("output_config", "ignored");
    }
    warnings.header()
}

/// Refuses a request whose history the server is to remember: only Anthropic's own API does, and whoever ignores `thread`
/// answers without the history.
fn stateless(request: &Object<'_>) -> Result<(), Rejection> {
    if request
        .get("thread")
        .is_none_or(|thread| kind(thread) != Kind::Object)
    {
        return Ok(());
    }
    let mut rejection = Rejection::new(
        "thread",
        "thread: this upstream keeps no conversations; send the whole history in messages",
    );
    rejection.details = Some(Details::NoThreads);
    Err(rejection)
}

/// Makes one tier's request out of the client's own `body`, which already names the tier's model.
///
/// # Errors
/// What cannot be converted.
pub(super) fn asked(
    client: Client,
    upstream: &Upstream,
    body: Bytes,
    facts: impl Fn() -> Facts,
) -> Result<Asked, Rejection> {
    let mut warnings = String::new();
    let looks = client.delicate
        && client.format == ClientFormat::Anthropic
        && upstream.profile != Profile::Anthropic;
    // What cannot be read, the upstream or the conversion will refuse.
    if looks && let Ok(request) = Object::parse(&body) {
        stateless(&request)?;
        if upstream.profile == Profile::Antigravity {
            warnings = ignored(&request, &upstream.capabilities_for(&facts().model));
        }
    }
    match (client.format, format_of(upstream.profile)) {
        (ClientFormat::Anthropic, ClientFormat::Anthropic) => Ok(Asked {
            warnings,
            body,
            lane: Lane::Anthropic {
                mend: upstream.profile == Profile::Antigravity,
            },
        }),
        (ClientFormat::OpenAi, ClientFormat::OpenAi) => {
            let (body, hide_usage) = if client.stream {
                let (body, asked) = openai::relay::ask_for_usage(body);
                (body, !asked)
            } else {
                (body, false)
            };
            Ok(Asked {
                body,
                warnings: String::new(),
                lane: Lane::OpenAi { hide_usage },
            })
        }
        (ClientFormat::OpenAi, ClientFormat::Anthropic) => {
            let facts = facts();
            let capabilities = upstream.capabilities_for(&facts.model);
            let made = o2a::request(&body, &target(&facts, &capabilities))?;
            Ok(converted(made, |back| {
                Lane::O2a(Arc::new(back), Box::new(facts))
            }))
        }
        (ClientFormat::Anthropic, ClientFormat::OpenAi) => {
            let facts = facts();
            let capabilities = upstream.capabilities_for(&facts.model);
            let made = a2o::request(&body, &target(&facts, &capabilities))?;
            Ok(converted(made, |back| {
                Lane::A2o(Arc::new(back), Box::new(facts))
            }))
        }
    }
}

fn target<'a>(facts: &'a Facts, capabilities: &'a Capabilities) -> Target<'a> {
    Target {
        model: &facts.model,
        capabilities,
    }
}

fn converted<B>(made: Converted<B>, lane: impl FnOnce(B) -> Lane) -> Asked {
    Asked {
        body: Bytes::from(made.body),
        warnings: made.warnings.header(),
        lane: lane(made.back),
    }
}

/// Judges the events of a stream, in whichever format it is.
#[derive(Debug)]
pub(super) enum Watch {
    Anthropic(anthropic::StreamWatch),
    OpenAi(openai::StreamWatch),
}

impl Watch {
    pub(super) fn of(lane: &Lane) -> Self {
        match lane {
            Lane::Anthropic { .. } | Lane::O2a(..) => {
                Self::Anthropic(anthropic::StreamWatch::new())
            }
            Lane::OpenAi { hide_usage } => Self::OpenAi(openai::StreamWatch::new(*hide_usage)),
            Lane::A2o(..) => Self::OpenAi(openai::StreamWatch::new(false)),
        }
    }

    pub(super) fn on_event(&mut self, event: &Event) -> Step {
        match self {
            Self::Anthropic(watch) => watch.on_event(event),
            Self::OpenAi(watch) => watch.on_event(event),
        }
    }

    pub(super) fn on_end(&mut self) -> Result<(), StreamFault> {
        match self {
            Self::Anthropic(watch) => watch.on_end(),
            Self::OpenAi(watch) => watch.on_end(),
        }
    }

    pub(super) fn finished(&self) -> bool {
        match self {
            Self::Anthropic(watch) => watch.finished(),
            Self::OpenAi(watch) => watch.finished(),
        }
    }

    pub(super) fn committed(&self) -> bool {
        match self {
            Self::Anthropic(watch) => watch.committed(),
            Self::OpenAi(watch) => watch.committed(),
        }
    }

    pub(super) fn usage(&self) -> &UsageSeen {
        match self {
            Self::Anthropic(watch) => watch.usage(),
            Self::OpenAi(watch) => watch.usage(),
        }
    }

    /// Why the upstream stopped, once it has said so: what still could come is only the end.
    pub(super) fn stop_reason(&self) -> Option<&str> {
        match self {
            Self::Anthropic(watch) => watch.stop_reason(),
            Self::OpenAi(watch) => watch.stop_reason(),
        }
    }
}

/// Converts the events that may pass.
#[derive(Debug)]
pub(super) enum Converter {
    O2a(Box<o2a::Stream>),
    A2o(Box<a2o::Stream>),
}

impl Converter {
    /// None when the stream is relayed.
    pub(super) fn of(lane: &Lane) -> Option<Self> {
        match lane {
            Lane::Anthropic { .. } | Lane::OpenAi { .. } => None,
            Lane::O2a(back, facts) => {
                let stream = o2a::Stream::new(Arc::clone(back), Facts::clone(facts));
                Some(Self::O2a(Box::new(stream)))
            }
            Lane::A2o(back, facts) => {
                let stream = a2o::Stream::new(Arc::clone(back), Facts::clone(facts));
                Some(Self::A2o(Box::new(stream)))
            }
        }
    }

    pub(super) fn event(&mut self, event: &Event, out: &mut Vec<u8>) -> Result<(), StreamFault> {
        match self {
            Self::O2a(stream) => stream.event(event, out),
            Self::A2o(stream) => stream.event(event, out),
        }
    }

    /// The client has its whole answer, whatever the upstream still says: what is left is to close it.
    pub(super) fn is_complete(&self) -> bool {
        match self {
            Self::O2a(stream) => stream.is_complete(),
            Self::A2o(_) => false,
        }
    }

    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        match self {
            Self::O2a(stream) => stream.finish(out),
            Self::A2o(stream) => stream.finish(out),
        }
    }
}

/// Judges a whole answer; gives it back as the client reads it, and what it tells of itself.
pub(super) fn whole(lane: &Lane, body: Bytes) -> Result<(Bytes, Answer), AnswerFault> {
    match lane {
        Lane::Anthropic { mend } => {
            let told = check_message(&body)?;
            let mended = mend
                .then(|| anthropic::with_tool_use(&body, told.stop_reason.as_deref()))
                .flatten();
            Ok((mended.unwrap_or(body), told))
        }
        Lane::OpenAi { .. } => {
            let told = openai::check_completion(&body)?;
            Ok((body, told))
        }
        Lane::O2a(back, facts) => {
            let told = check_message(&body)?;
            Ok((o2a::answer(&body, back, facts)?.into(), told))
        }
        Lane::A2o(back, facts) => {
            let told = openai::check_completion(&body)?;
            Ok((a2o::answer(&body, back, facts)?.into(), told))
        }
    }
}
