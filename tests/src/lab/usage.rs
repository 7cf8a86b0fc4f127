//! What a process and a namespace have done, as the kernel counts it.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};

use super::Namespace;

/// Time that all threads of a process have had on a processor.
pub fn processor_time(pid: u32) -> Result<Duration> {
    let mut total = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // a thread may end between the two
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
        let spent = text.split_whitespace().next().context("an empty schedstat")?;
        total += spent.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(total))
}

/// A counter of a namespace's IPv6 by its name in `/proc/net/snmp6`, such as `Udp6InDatagrams`.
pub fn ipv6_counter(namespace: &Namespace, name: &str) -> Result<u64> {
    let text = namespace.enter(|| fs::read_to_string("/proc/thread-self/net/snmp6"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    line.with_context(|| format!("no {name} in snmp6"))
}

/// A counter of a namespace's TCP by its name in `/proc/net/snmp` or `netstat`, such as
/// `PassiveOpens`.
pub fn tcp_counter(namespace: &Namespace, name: &str) -> Result<u64> {
    let read = |file: &str| namespace.enter(|| fs::read_to_string(file));
    let text = read("/proc/thread-self/net/snmp")? + &read("/proc/thread-self/net/netstat")?;
    let lines: Vec<&str> = text.lines().collect();
    let found = lines.chunks(2).find_map(|pair| {
        let [names, values] = pair else { return None };
        let place = names.split_whitespace().position(|each| each == name)?;
        names.starts_with("Tcp").then_some(())?;
        values.split_whitespace().nth(place)?.parse().ok()
    });
    found.with_context(|| format!("no {name} among TCP's counters"))
}
