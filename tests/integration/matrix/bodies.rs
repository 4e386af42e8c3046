//! Request bodies of an exact size, with the model in odd places.

use std::ops::Range;

use luna::simulate::filler;

/// A body and where its model's JSON string stands.
pub struct Made {
    pub bytes: Vec<u8>,
    name: String,
    model: Range<usize>,
}

impl Made {
    /// What an upstream is to get that is asked for `model`.
    pub fn for_model(&self, model: &str) -> Vec<u8> {
        if self.name == model {
            return self.bytes.clone();
        }
        let mut bytes = self.bytes.clone();
        bytes.splice(self.model.clone(), format!("\"{model}\"").into_bytes());
        bytes
    }
}

/// A way to write a body: `@M` is the model's string, `@S` whether to stream, `@F` filler.
pub struct Layout {
    pub name: &'static str,
    text: &'static str,
    /// Write the model's own letters as escapes.
    escaped: bool,
}

/// All that a client might think of.
pub const LAYOUTS: [Layout; 6] = [
    Layout {
        name: "model first",
        text: r#"{"model":@M,"max_tokens":200,"stream":@S,"messages":[{"role":"user","content":"first @F"}]}"#,
        escaped: false,
    },
    Layout {
        name: "model in the middle, decoys around it",
        text: r#"{"max_tokens":200,"messages":[{"role":"user","content":[{"type":"text","text":"\"model\":\"decoy\" @F"}]}],"model":@M,"stream":@S,"metadata":{"user_id":"u","model":"decoy","stream":1}}"#,
        escaped: false,
    },
    Layout {
        name: "model last",
        text: r#"{"system":[{"type":"text","text":"@F"}],"messages":[{"role":"user","content":"Hi"}],"stream":@S,"max_tokens":200,"model":@M}"#,
        escaped: false,
    },
    Layout {
        name: "escapes in keys and model",
        text: r#"{"str\u0065am":@S,"x":{"mod\u0065l":"nested","a":[{"model":1}]},"mod\u0065l":@M ,"mess\u0061ges":[{"role":"user","content":"\ud83c\udf19 \u0041 @F"}],"max_tokens":200}"#,
        escaped: true,
    },
    Layout {
        name: "white space everywhere",
        text: " \r\n\t{ \n\"max_tokens\"\t:\r\n200 , \"messages\" : [ { \"role\":\"user\" ,\n\"content\":\"@F\" } ]\n,\t\"model\"\n:\n @M \t , \"stream\" : @S \r\n}\n \t\r\n",
        escaped: false,
    },
    Layout {
        name: "what a full parse would change",
        text: r#"{"zzz":1e400,"aaa":-0.0E-7,"dup":{"a":1,"a":2,"a":{"model":"x"}},"x":1,"x":2,"n":123456789012345678901234567890.10,"model":@M,"stream":@S,"future":[null,true,{"":""}],"messages":[{"role":"user","content":"a\u0000b \\ \/ \b ☾é @F"}],"max_tokens":200,"lone":"\ud800 \udc00"}"#,
        escaped: false,
    },
];

fn literal(model: &str, escaped: bool) -> String {
    let Some((first, rest)) = model.split_at_checked(1).filter(|_| escaped) else {
        return format!("\"{model}\"");
    };
    let first = first.bytes().next().unwrap();
    format!("\"\\u{first:04X}{}\"", rest.replace('-', "\\u002d"))
}

/// A body of exactly `size` bytes.
pub fn make(layout: &Layout, model: &str, stream: bool, size: usize) -> Made {
    let literal = literal(model, layout.escaped);
    let text = layout.text.replace("@S", &stream.to_string());
    let bare = text.len() - "@F".len() - "@M".len() + literal.len();
    let fill = filler(
        7,
        size.checked_sub(bare)
            .expect("a size above the layout's own"),
    );
    let text = text.replace("@F", &fill);
    let at = text.find("@M").unwrap();
    let bytes = text.replacen("@M", &literal, 1).into_bytes();
    assert_eq!(bytes.len(), size);
    Made {
        bytes,
        name: model.to_owned(),
        model: at..at + literal.len(),
    }
}
