//! What the parts do together when all goes well, over real sockets.

#[path = "../support/mod.rs"]
mod support;

mod basics;
mod connections;
mod matrix;
