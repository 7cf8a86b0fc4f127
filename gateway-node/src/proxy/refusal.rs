//! What the proxy itself answers, in its own words.

use alloc::borrow::Cow;

/// A status and one sentence for the person who debugs the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) why: Cow<'static, str>,
}

impl Refusal {
    pub(crate) const fn new(status: u16, why: &'static str) -> Self {
        Self { status, why: Cow::Borrowed(why) }
    }
}
