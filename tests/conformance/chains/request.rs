//! The request that is sent through the chains.

use super::Dialect::{self, Anthropic, OpenAi};

/// A request with what is hard to carry: a history with two calls, digits, a picture, and a field that the other
/// dialect lacks.
pub fn request(client: Dialect, model: &str, stream: bool) -> String {
    let order = r#"Go on [[sim {\"text\":\"One, two, three.\",\"events\":5,\"input_tokens\":101,\"output_tokens\":9,\"cache_read_input_tokens\":40,\"cache_creation_input_tokens\":0}]]"#;
    let schema = r#"{"type":"object","properties":{"z":{"type":"integer","maximum":1e400},"a":{"type":"string"}},"required":["z"]}"#;
    let picture = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
    match client {
        OpenAi => format!(
            r#"{{"model":"{model}","stream":{stream},"max_completion_tokens":300,"temperature":1.5,"seed":7,"messages":[
                {{"role":"system","content":"Be brief."}},
                {{"role":"user","content":"Twice, please"}},
                {{"role":"assistant","content":"I look.","tool_calls":[
                    {{"id":"call_1","type":"function","function":{{"name":"look_up","arguments":"{{\"z\":2512292042121000001,\"a\":\"\\u00e9\"}}"}}}},
                    {{"id":"call_2","type":"function","function":{{"name":"look_up","arguments":"{{\"z\":1.0}}"}}}}]}},
                {{"role":"tool","tool_call_id":"call_1","content":"first"}},
                {{"role":"tool","tool_call_id":"call_2","content":"second"}},
                {{"role":"user","content":[{{"type":"text","text":"{order}"}},{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{picture}"}}}}]}}],
              "tools":[{{"type":"function","function":{{"name":"look_up","description":"d","parameters":{schema}}}}}]}}"#
        ),
        Anthropic => format!(
            r#"{{"model":"{model}","stream":{stream},"max_tokens":300,"top_k":5,"system":[{{"type":"text","text":"Be brief.","cache_control":{{"type":"ephemeral"}}}}],"messages":[
                {{"role":"user","content":"Twice, please"}},
                {{"role":"assistant","content":[{{"type":"text","text":"I look."}},
                    {{"type":"tool_use","id":"toolu_1","name":"look_up","input":{{"z":2512292042121000001,"a":"\u00e9"}}}},
                    {{"type":"tool_use","id":"toolu_2","name":"look_up","input":{{"z":1.0}}}}]}},
                {{"role":"user","content":[{{"type":"tool_result","tool_use_id":"toolu_1","content":"first"}},
                    {{"type":"tool_result","tool_use_id":"toolu_2","content":"second"}},
                    {{"type":"text","text":"{order}"}},
                    {{"type":"image","source":{{"type":"base64","media_type":"image/png","data":"{picture}"}}}}]}}],
              "tools":[{{"name":"look_up","description":"d","input_schema":{schema}}}]}}"#
        ),
    }
}
