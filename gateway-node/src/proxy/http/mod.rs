//! The HTTP/1.1 that the proxy speaks to clients (RFC 9112): requests in, responses out, one at a
//! time on a connection.

mod body;
mod connection;
mod fields;
mod head;
mod response;

pub(crate) use connection::{Connection, Request};
pub(crate) use fields::{Conditions, Directives, entity_tag};
pub(crate) use response::Answer;
