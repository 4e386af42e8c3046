//! What must hold for every request.

use proptest::prelude::*;
use proptest::sample::select;

use super::conversations::{body, conversation, expected, found};
use super::validator::check;
use super::wild::wild_request;
use super::{convert, converted};
use crate::wire::convert::{Capabilities, Target};

fn capabilities() -> impl Strategy<Value = Capabilities> {
    let flags = prop::array::uniform8(any::<bool>());
    let most = prop::option::of(select(vec![100_u64, 4096, 8192, 64_000]));
    let base = select(vec![Capabilities::ANTHROPIC, Capabilities::ANTIGRAVITY]);
    (base, any::<bool>(), flags, most).prop_map(|(base, own, flags, max_output)| {
        if !own {
            return Capabilities { max_output, ..base };
        }
        let [
            choice,
            stops,
            config,
            documents,
            urls,
            tier,
            exclusive,
            adaptive,
        ] = flags;
        Capabilities {
            tool_choice: choice,
            stop_sequences: stops,
            output_config: config,
            text_documents: documents,
            url_images: urls,
            service_tier: tier,
            exclusive_sampling: exclusive,
            adaptive_thinking: adaptive,
            max_output,
            ..base
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn conversations_keep_text_calls_arguments_and_order(
        steps in conversation(),
        escaped in any::<bool>(),
        on in capabilities(),
    ) {
        let body = body(&steps, escaped);
        let (system, items) = expected(&steps);
        if items.is_empty() {
            prop_assert_eq!(convert(&body, &on).unwrap_err().param.unwrap(), "messages");
            return Ok(());
        }
        let converted = converted(&body, &on);
        prop_assert_eq!(check(&converted.body, &on), Ok(()), "{}", body);
        let found = found(&converted.body, |name| converted.back.names.client(name).to_owned());
        prop_assert_eq!(found, (system, items));
    }

    #[test]
    fn what_is_accepted_has_the_right_form(body in wild_request(), on in capabilities()) {
        match convert(&body, &on) {
            Ok(converted) => prop_assert_eq!(check(&converted.body, &on), Ok(()), "{}", body),
            Err(rejection) => prop_assert!(!rejection.message.is_empty()),
        }
    }

    #[test]
    fn damaged_requests_do_no_harm(
        body in wild_request(),
        at in any::<prop::sample::Index>(),
        put in prop::collection::vec(any::<u8>(), 0..4),
        on in capabilities(),
    ) {
        let mut body = body.into_bytes();
        let at = at.index(body.len());
        body.splice(at..(at + 2).min(body.len()), put);
        let target = Target { model: "m", capabilities: &on };
        if let Ok(converted) = super::request(&body, &target) {
            prop_assert_eq!(check(&converted.body, &on), Ok(()), "{}", String::from_utf8_lossy(&body));
        }
    }

    #[test]
    fn any_bytes_do_no_harm(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let target = Target { model: "m", capabilities: &Capabilities::ANTHROPIC };
        prop_assert!(super::request(&body, &target).is_err());
    }
}
