//! The REST interface, sans-IO: what a request asks for. `openapi.json` describes it.
use super::problem::{Kind, Problem};
use crate::{config::units::Invalid, lease::Id};
use core::{net::IpAddr, time::Duration};
use gateway_common::decide::admission::NODES_MAX;
use ipnet::IpNet;
use serde::Deserialize;
use serde_json::{Number, Value};

/// Largest body, in bytes.
pub const BODY_MAX: usize = 4096;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Whether the interface works, and who asks.
    Health,
    /// The description of the interface.
    Describe,
    /// What a kind of problems is.
    Explain(Kind),
    /// The leases of who asks.
    List,
    /// A lease, new or renewed.
    Grant(Terms),
    /// One lease.
    Show(Id),
    /// A lease's renewal by name.
    Renew(Id, Terms),
    /// A lease's end.
    End(Id),
}

/// What a lease is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// How long.
    pub ttl: Option<Duration>,
    /// Nodes; none means all of the policy.
    pub nodes: Vec<IpNet>,
}

/// A problem, and the methods that would do where it is one with the method.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// Why.
    pub problem: Problem,
    /// For the header `Allow`.
    pub allow: Option<&'static str>,
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self { problem, allow: None }
    }
}

/// Reads a request. `media` is its `Content-Type`.
///
/// # Errors
/// [`Refused`], with a problem that says why.
pub fn read(method: &str, path: &str, media: Option<&str>, body: &[u8]) -> Result<Action, Refused> {
    let missing = || Problem::new(Kind::NotFound, format_args!("nothing is at {path}"));
    let parts: Vec<&str> = path.split('/').collect();
    let ["", "v1", rest @ ..] = parts.as_slice() else { return Err(missing().into()) };
    let lease = |text: &str| text.parse::<Id>().map_err(|_| no_lease(text));
    match (rest, method) {
        (["health"], "GET") => Ok(Action::Health),
        (["openapi.json"], "GET") => Ok(Action::Describe),
        (["problems", name], "GET") => {
            Ok(Action::Explain(Kind::from_name(name).ok_or_else(missing)?))
        }
        (["leases"], "GET") => Ok(Action::List),
        (["leases"], "POST") => Ok(Action::Grant(terms(media, body)?)),
        (["leases", id], "GET") => Ok(Action::Show(lease(id)?)),
        (["leases", id], "PUT") => Ok(Action::Renew(lease(id)?, terms(media, body)?)),
        (["leases", id], "DELETE") => Ok(Action::End(lease(id)?)),
        (["health" | "openapi.json"] | ["problems", _], _) => Err(other(method, "GET")),
        (["leases"], _) => Err(other(method, "GET, POST")),
        (["leases", _], _) => Err(other(method, "GET, PUT, DELETE")),
        _ => Err(missing().into()),
    }
}

/// The problem with a lease that is not there, or not the asker's.
pub fn no_lease(id: impl core::fmt::Display) -> Problem {
    Problem::new(Kind::NotFound, format_args!("you hold no lease {id}"))
}

fn other(method: &str, allow: &'static str) -> Refused {
    let problem = Problem::new(Kind::MethodNotAllowed, format_args!("{method} is not {allow}"));
    Refused { problem, allow: Some(allow) }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Body {
    ttl: Option<Number>,
    nodes: Option<Vec<String>>,
}

fn terms(media: Option<&str>, body: &[u8]) -> Result<Terms, Problem> {
    if body.is_empty() {
        return Ok(Terms::default());
    }
    let kind = media.and_then(|media| media.split(';').next()).map(str::trim);
    if !kind.is_some_and(|kind| kind.eq_ignore_ascii_case("application/json")) {
        let found = media.unwrap_or("without a Content-Type");
        return Err(Problem::new(Kind::MediaType, format_args!("the body is {found}")));
    }
    let bad = |detail: String| Problem::new(Kind::BadRequest, detail);
    // an object and nothing else: serde would take a list of the fields too
    let value: Value = serde_json::from_slice(body).map_err(|error| bad(error.to_string()))?;
    if !value.is_object() {
        return Err(bad("the body is no JSON object".to_owned()));
    }
    let body: Body = serde_json::from_value(value).map_err(|error| bad(error.to_string()))?;
    let nodes = body.nodes.unwrap_or_default();
    if nodes.len() > NODES_MAX {
        return Err(bad(format!("nodes: {} elements, at most {NODES_MAX}", nodes.len())));
    }
    Ok(Terms {
        ttl: body.ttl.map(|ttl| seconds(&ttl)).transpose()?,
        nodes: nodes.iter().map(|text| node(text)).collect::<Result<_, _>>()?,
    })
}

/// Whole seconds, at least one; `10.0` is ten (RFC 8259 §6, JSON Schema's integer).
fn seconds(ttl: &Number) -> Result<Duration, Problem> {
    let whole = |number: f64| (number.fract() == 0.0 && number >= 1.0).then_some(number as u64);
    let seconds = ttl.as_u64().or_else(|| ttl.as_f64().and_then(whole)).filter(|ttl| *ttl > 0);
    let wrong =
        || Problem::new(Kind::BadRequest, format_args!("ttl {ttl}: expected whole seconds"));
    seconds.map(Duration::from_secs).ok_or_else(wrong)
}

/// What is no address at all is a bad request; what is one that no node can have is not allowed.
fn node(text: &str) -> Result<IpNet, Problem> {
    let like = text.parse::<IpAddr>().is_ok() || text.parse::<IpNet>().is_ok();
    let kind = if like { Kind::NodeNotAllowed } else { Kind::BadRequest };
    crate::config::prefix::unicast(text).map_err(|Invalid { value, allowed }| {
        Problem::new(kind, format_args!("node {value}: {allowed}")).with("node", text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const JSON: Option<&str> = Some("application/json; charset=utf-8");
    const ID: &str = "/v1/leases/000102030405060708090a0b0c0d0e0f";

    fn post(body: &str) -> Result<Action, Kind> {
        read("POST", "/v1/leases", JSON, body.as_bytes()).map_err(|refused| refused.problem.kind)
    }

    #[test]
    fn requests_mean_what_they_say() {
        assert_eq!(post(""), Ok(Action::Grant(Terms::default())));
        assert_eq!(post("{}"), Ok(Action::Grant(Terms::default())));
        let node = IpNet::from("2001:db8::1".parse::<IpAddr>().unwrap());
        let terms = Terms { ttl: Some(Duration::from_secs(600)), nodes: vec![node] };
        let body = "{\"ttl\": 600.0, \"nodes\": [\"2001:db8::1\"]}";
        assert_eq!(post(body), Ok(Action::Grant(terms)));
        let id = Id(core::array::from_fn(|n| n as u8));
        assert_eq!(read("DELETE", ID, None, b"").unwrap(), Action::End(id));
        assert_eq!(read("PUT", ID, None, b"").unwrap(), Action::Renew(id, Terms::default()));
    }

    #[test]
    fn wrong_bodies_are_told_apart() {
        let bad = Err(Kind::BadRequest);
        for body in [
            "{",
            "[]",
            "[null, null]",
            "7",
            "{\"ttl\": 0}",
            "{\"ttl\": -1}",
            "{\"ttl\": 1.5}",
            "{\"ttl\": \"1h\"}",
            "{\"time\": 1}",
            "{\"nodes\": [\"pump\"]}",
            "{\"nodes\": \"2001:db8::1\"}",
        ] {
            assert_eq!(post(body), bad, "{body}");
        }
        assert_eq!(post("{\"nodes\": [\"ff02::1\"]}"), Err(Kind::NodeNotAllowed));
        assert_eq!(post("{\"nodes\": [\"::ffff:192.0.2.1\"]}"), Err(Kind::NodeNotAllowed));
        let media = read("POST", "/v1/leases", Some("text/plain"), b"{}").unwrap_err();
        assert_eq!(media.problem.kind, Kind::MediaType);
    }

    #[test]
    fn another_method_is_told_those_that_do() {
        let refused = read("PATCH", ID, None, b"").unwrap_err();
        assert_eq!(
            (refused.problem.kind, refused.allow),
            (Kind::MethodNotAllowed, Some("GET, PUT, DELETE"))
        );
        for path in ["", "/", "/v1", "/v1/", "/v2/leases", "/v1/leases/", "/v1/leases/1/2"] {
            assert_eq!(
                read("GET", path, None, b"").unwrap_err().problem.kind,
                Kind::NotFound,
                "{path}"
            );
        }
    }

    /// The committed description and the code name the same paths, methods and problems.
    #[test]
    fn the_description_is_of_this_interface() {
        let description: Value = serde_json::from_str(super::super::OPENAPI).unwrap();
        let paths = description["paths"].as_object().unwrap();
        let mut described = 0;
        for (path, item) in paths {
            let path = path.replace("{id}", "000102030405060708090a0b0c0d0e0f");
            for (method, _) in
                item.as_object().unwrap().iter().filter(|(key, _)| *key != "parameters")
            {
                let path = path.replace("{name}", "failed");
                read(&method.to_ascii_uppercase(), &path, None, b"").unwrap();
                described += 1;
            }
        }
        assert_eq!(described, 8);
        let named = &description["components"]["schemas"]["ProblemName"]["enum"];
        let names: Vec<&str> = Kind::all().map(Kind::name).collect();
        assert_eq!(*named, serde_json::json!(names));
        assert_eq!(description["openapi"], "3.1.0");
    }

    proptest! {
        #[test]
        fn nothing_panics(method in "GET|POST|PUT|DELETE", path in "/v1/(leases|problems|health)(/.{0,40})?", body: Vec<u8>) {
            let _ = read(&method, &path, JSON, &body);
        }

        #[test]
        fn no_json_panics(ttl: f64, node in "[0-9a-f:./]{0,20}") {
            let _ = post(&format!("{{\"ttl\": {ttl}, \"nodes\": [\"{node}\"]}}"));
        }
    }
}
