//! What leases, tunnels and floods of hellos cost the router's agent.
//!
//! It is `gateway run` as it is shipped, in a namespace, with its filter attached. Whoever asks it
//! for something is next door, at its uplink; nodes are an echo. The figure is the agent's own CPU
//! time, from the scheduler; what its peers take is not counted, but they share its CPUs.
mod clients;
mod dtls;
mod flood;
mod flow;
mod https;
mod leases;
mod relay;
mod site;
mod table;
mod tunnels;
mod vpn;

use std::time::Duration;

use anyhow::Result;
use tests::lab::Lab;

use self::{clients::Clients, site::Site};
pub(crate) use relay::run as relay;

/// Names that targets refer to.
pub(crate) mod name {
    pub(crate) const RENEWED: &str = "by key, renewed in an open session";
    pub(crate) const RELAY: &str = "plain UDP relay, nothing proved or hidden";
    pub(crate) const DTLS: &str = "tunnel over DTLS, PSK CCM_8";
    pub(crate) const TLS: &str = "tunnel over TLS 1.3";
    pub(crate) const XDP: &str = "20,000 a second, cookies in XDP";
    pub(crate) const XDP_MOST: &str = "as many as come, cookies in XDP";
    pub(crate) const AGENT: &str = "20,000 a second, cookies in the agent";
    pub(crate) const AGENT_MOST: &str = "as many as come, cookies in the agent";
}

/// Everything of this family.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) leases: Vec<leases::Measured>,
    pub(crate) tunnels: Vec<tunnels::Measured>,
    pub(crate) floods: Vec<flood::Measured>,
}

/// Measures all of it, round by round.
pub(crate) fn measure(rounds: u32, time: Duration) -> Result<Outcome> {
    let lab = Lab::new()?;
    site::number(&lab)?;
    let mut outcome = Outcome::default();
    {
        eprintln!("bench: an agent");
        let site = Site::start(&lab, site::UPLINK, site::UNLIMITED)?;
        let clients = Clients::new(&site)?;
        outcome.leases = leases::measure(&site, &clients, rounds, time)?;
        outcome.tunnels = tunnels::measure(&site, rounds, time)?;
    }
    outcome.floods = flood::measure(&lab, rounds, time)?;
    Ok(outcome)
}
