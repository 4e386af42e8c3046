//! Body size x framing x HTTP version x what happens on the way: the upstream gets the client's
//! bytes with only the model changed, the client the last tier's answer, and it is counted once.

mod bodies;
mod plain;
mod rig;
mod tls;
