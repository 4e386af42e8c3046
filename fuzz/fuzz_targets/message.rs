#![no_main]

// The rules name it as they do within the library.
#[allow(unused_imports, reason = "used by the modules below")]
use luna::wire;

#[path = "../convert.rs"]
#[allow(dead_code, reason = "each target uses one of them")]
mod convert;

libfuzzer_sys::fuzz_target!(|data: &[u8]| convert::message(data));
