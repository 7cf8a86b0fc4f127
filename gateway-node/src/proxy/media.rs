//! Media types and content codings as CoAP Content-Formats, and back (RFC 8075 §6).

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

/// A row of the registry: number, media type with parameters, content coding.
type Row = (u16, &'static str, Option<&'static str>);

/// "CoAP Content-Formats" of the CoRE Parameters registry, less what only its own protocol uses.
/// Where two numbers share a type, the first stands for it.
const REGISTRY: &[Row] = &[
    (0, "text/plain;charset=utf-8", None),
    (16, "application/cose;cose-type=cose-encrypt0", None),
    (17, "application/cose;cose-type=cose-mac0", None),
    (18, "application/cose;cose-type=cose-sign1", None),
    (19, "application/ace+cbor", None),
    (21, "image/gif", None),
    (22, "image/jpeg", None),
    (23, "image/png", None),
    (40, "application/link-format", None),
    (41, "application/xml", None),
    (42, "application/octet-stream", None),
    (47, "application/exi", None),
    (50, "application/json", None),
    (51, "application/json-patch+json", None),
    (52, "application/merge-patch+json", None),
    (60, "application/cbor", None),
    (61, "application/cwt", None),
    (62, "application/multipart-core", None),
    (63, "application/cbor-seq", None),
    (96, "application/cose;cose-type=cose-encrypt", None),
    (97, "application/cose;cose-type=cose-mac", None),
    (98, "application/cose;cose-type=cose-sign", None),
    (101, "application/cose-key", None),
    (102, "application/cose-key-set", None),
    (110, "application/senml+json", None),
    (111, "application/sensml+json", None),
    (112, "application/senml+cbor", None),
    (113, "application/sensml+cbor", None),
    (114, "application/senml-exi", None),
    (115, "application/sensml-exi", None),
    (140, "application/yang-data+cbor;id=sid", None),
    (256, "application/coap-group+json", None),
    (257, "application/concise-problem-details+cbor", None),
    (258, "application/swid+cbor", None),
    (271, "application/dots+cbor", None),
    (272, "application/missing-blocks+cbor-seq", None),
    (284, "application/pkcs8", None),
    (285, "application/csrattrs", None),
    (286, "application/pkcs10", None),
    (287, "application/pkix-cert", None),
    (290, "application/aif+cbor", None),
    (291, "application/aif+json", None),
    (310, "application/senml+xml", None),
    (311, "application/sensml+xml", None),
    (320, "application/senml-etch+json", None),
    (322, "application/senml-etch+cbor", None),
    (340, "application/yang-data+cbor", None),
    (341, "application/yang-data+cbor;id=name", None),
    (432, "application/td+json", None),
    (10000, "application/vnd.ocf+cbor", None),
    (10001, "application/oscore", None),
    (10002, "application/javascript", None),
    (11050, "application/json", Some("deflate")),
    (11060, "application/cbor", Some("deflate")),
    (11542, "application/vnd.oma.lwm2m+tlv", None),
    (11543, "application/vnd.oma.lwm2m+json", None),
    (11544, "application/vnd.oma.lwm2m+cbor", None),
    (20000, "text/css", None),
    (30000, "image/svg+xml", None),
];

/// How freely media types are mapped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mapping {
    /// Generalizes types that have no Content-Format of their own (RFC 8075 §6.3, Table 1).
    pub loose: bool,
    /// Takes `application/coap-payload;cf=N` from clients (RFC 8075 §6.2).
    pub pass_unknown: bool,
}

impl Mapping {
    /// The Content-Format for a Content-Type and Content-Encoding; `None` calls for a 415.
    pub(crate) fn content_format(self, media_type: &str, coding: Option<&str>) -> Option<u16> {
        let wanted = MediaType::read(media_type)?;
        let coding = coding.map(str::trim).filter(|c| !c.eq_ignore_ascii_case("identity"));
        if let Some(number) = wanted.coap_payload() {
            return number.filter(|_| self.pass_unknown && coding.is_none());
        }
        let exact = look_up(&wanted, coding);
        exact.or_else(|| {
            let general = MediaType::read(generalized(&wanted.essence)).filter(|_| self.loose)?;
            look_up(&general, coding)
        })
    }

    /// Content-Formats for an Accept field, the most wanted first and at most four; none where
    /// there is nothing to ask a node for, as RFC 8075 §6.1 says. `Err` calls for a 406.
    pub(crate) fn accept(self, field: &str) -> Result<Vec<u16>, NotMapped> {
        let mut wanted: Vec<(u16, &str)> =
            field.split(',').map(|range| (quality(range), range.trim())).collect();
        wanted.retain(|(quality, range)| *quality > 0 && !range.is_empty());
        if wanted.iter().any(|(_, range)| range.starts_with("*/*")) {
            return Ok(Vec::new());
        }
        wanted.sort_by_key(|(quality, _)| core::cmp::Reverse(*quality));
        let mut formats = Vec::new();
        for (_, range) in wanted.into_iter().take(16) {
            let Some(media_type) = MediaType::read(range) else { continue };
            match media_type.coap_payload() {
                Some(Some(number)) if self.pass_unknown => formats.push(number),
                Some(_) => return Err(NotMapped),
                None => formats.extend(look_up(&media_type, None)),
            }
        }
        formats.truncate(4);
        Ok(formats)
    }
}

/// `application/coap-payload` in an Accept field, which the proxy is not told to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotMapped;

/// Content-Type and Content-Encoding for a Content-Format.
pub(crate) fn content_type(format: u16) -> (String, Option<&'static str>) {
    match REGISTRY.iter().find(|(number, ..)| *number == format) {
        Some((0, ..)) => ("text/plain; charset=utf-8".to_string(), None),
        Some((_, media_type, coding)) => (media_type.replace(';', "; "), *coding),
        None => (format!("application/coap-payload;cf={format}"), None),
    }
}

/// A media type in lower case, with the parameters that distinguish it.
struct MediaType {
    essence: String,
    parameters: Vec<(String, String)>,
}

impl MediaType {
    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(';');
        let essence = parts.next()?.trim().to_ascii_lowercase();
        let (kind, subtype) = essence.split_once('/')?;
        let token = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_graphic() && b != b'*');
        if !token(kind) || !token(subtype) {
            return None;
        }
        let mut parameters = Vec::new();
        for part in parts.filter(|part| !part.trim().is_empty()) {
            let (name, value) = part.split_once('=')?;
            let name = name.trim().to_ascii_lowercase();
            let value = value.trim().trim_matches('"').to_ascii_lowercase();
            // `q` belongs to Accept; utf-8 and its subset are what a Content-Format means by text.
            if name != "q" && !(name == "charset" && matches!(&*value, "utf-8" | "us-ascii")) {
                parameters.push((name, value));
            }
        }
        parameters.sort();
        Some(Self { essence, parameters })
    }

    /// The number in `application/coap-payload;cf=N`, if it is that type.
    fn coap_payload(&self) -> Option<Option<u16>> {
        let cf = || self.parameters.iter().find(|(name, _)| name == "cf");
        (self.essence == "application/coap-payload")
            .then(|| cf().and_then(|(_, value)| value.parse().ok()))
    }
}

fn look_up(wanted: &MediaType, coding: Option<&str>) -> Option<u16> {
    let same_coding = |row: Option<&str>| match (row, coding) {
        (Some(row), Some(coding)) => row.eq_ignore_ascii_case(coding),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    let same_type = |row: &str| {
        row.starts_with(&wanted.essence)
            && MediaType::read(row).is_some_and(|row| {
                row.essence == wanted.essence && row.parameters == wanted.parameters
            })
    };
    let mut rows = REGISTRY.iter();
    rows.find(|(_, row, c)| same_coding(*c) && same_type(row)).map(|(number, ..)| *number)
}

/// RFC 8075 §6.3, Table 1, from top to bottom.
fn generalized(essence: &str) -> &'static str {
    let application = essence.starts_with("application/");
    if application && essence.ends_with("+xml") || essence == "text/xml" {
        "application/xml"
    } else if application && essence.ends_with("+json") {
        "application/json"
    } else if application && essence.ends_with("+cbor") {
        "application/cbor"
    } else if essence.starts_with("text/") {
        "text/plain"
    } else {
        "application/octet-stream"
    }
}

/// The weight of a media range in thousandths (RFC 9110 §12.4.2); what is not understood weighs 0.
fn quality(range: &str) -> u16 {
    let weight = range.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
    });
    let Some(weight) = weight else { return 1000 };
    let (whole, fraction) = weight.split_once('.').unwrap_or((weight, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return 0;
    }
    let thousandths = format!("{fraction:0<3}").parse().unwrap_or(0);
    match whole {
        "0" => thousandths,
        "1" if thousandths == 0 => 1000,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STRICT: Mapping = Mapping { loose: false, pass_unknown: false };
    const LOOSE: Mapping = Mapping { loose: true, pass_unknown: false };
    const OPEN: Mapping = Mapping { loose: false, pass_unknown: true };

    /// The tests of RFC 8075 Appendix A, and the rows that came after it.
    #[test]
    fn registered_types_have_their_numbers() {
        for (media_type, coding, number) in [
            ("text/plain;charset=utf-8", None, 0),
            ("text/plain", None, 0),
            ("Text/Plain; Charset=\"UTF-8\"", None, 0),
            ("application/link-format", None, 40),
            ("application/xml", None, 41),
            ("application/octet-stream", None, 42),
            ("application/exi", None, 47),
            ("application/json", None, 50),
            ("application/json; charset=utf-8", Some("identity"), 50),
            ("application/json", Some("deflate"), 11050),
            ("application/cbor", None, 60),
            ("application/cbor", Some("Deflate"), 11060),
            ("application/senml+json", None, 110),
            ("application/senml+cbor", None, 112),
            ("application/cose; cose-type=\"cose-sign1\"", None, 18),
            ("application/yang-data+cbor", None, 340),
            ("application/yang-data+cbor; id=sid", None, 140),
            ("application/concise-problem-details+cbor", None, 257),
            ("application/vnd.oma.lwm2m+tlv", None, 11542),
        ] {
            assert_eq!(STRICT.content_format(media_type, coding), Some(number), "{media_type}");
        }
    }

    #[test]
    fn unregistered_types_are_refused_when_strict() {
        for media_type in [
            "application/soap+xml",
            "text/html",
            "application/x-www-form-urlencoded",
            "text/plain;charset=latin1",
            "application/coap-payload;cf=60",
            "application/",
            "*/*",
            "json",
            "",
        ] {
            assert_eq!(STRICT.content_format(media_type, None), None, "{media_type}");
        }
        assert_eq!(STRICT.content_format("text/plain", Some("gzip")), None);
    }

    #[test]
    fn loose_mapping_follows_table_1() {
        for (media_type, number) in [
            ("application/soap+xml", 41),
            ("application/problem+json", 50),
            ("application/swid2+cbor", 60),
            ("text/xml", 41),
            ("text/html", 0),
            ("image/webp", 42),
        ] {
            assert_eq!(LOOSE.content_format(media_type, None), Some(number), "{media_type}");
        }
        assert_eq!(LOOSE.content_format("application/soap+xml", Some("deflate")), None);
    }

    #[test]
    fn unknown_formats_pass_only_where_allowed() {
        assert_eq!(OPEN.content_format("application/coap-payload;cf=65000", None), Some(65000));
        assert_eq!(OPEN.content_format("application/coap-payload;cf=65536", None), None);
        assert_eq!(OPEN.content_format("application/coap-payload", None), None);
        assert_eq!(OPEN.accept("application/coap-payload;cf=65000"), Ok(alloc::vec![65000]));
        assert_eq!(LOOSE.content_format("application/coap-payload;cf=60", None), None);
        assert_eq!(STRICT.accept("application/coap-payload;cf=60"), Err(NotMapped));
    }

    #[test]
    fn formats_become_types_and_types_the_same_formats() {
        for (number, ..) in REGISTRY {
            let (media_type, coding) = content_type(*number);
            assert_eq!(STRICT.content_format(&media_type, coding), Some(*number), "{media_type}");
        }
        assert_eq!(content_type(65000), ("application/coap-payload;cf=65000".to_string(), None));
    }

    #[test]
    fn accept_asks_for_the_most_wanted_first() {
        let accept = |field| STRICT.accept(field).expect("mapped");
        assert_eq!(accept("application/json"), [50]);
        assert_eq!(accept("application/json;q=0.5, application/cbor"), [60, 50]);
        assert_eq!(accept("application/json;q=0, application/cbor;q=0.1"), [60]);
        assert_eq!(accept("text/html, application/json;q=0.9"), [50]);
        assert!(accept("text/html,application/json,*/*;q=0.8").is_empty());
        assert!(accept("text/*").is_empty());
        assert!(accept("").is_empty());
    }

    #[test]
    fn weights_are_thousandths() {
        for (range, weight) in [
            ("a/b", 1000),
            ("a/b;q=1", 1000),
            ("a/b; Q=0.5", 500),
            ("a/b;q=0.001", 1),
            ("a/b;q=1.000", 1000),
            ("a/b;q=1.1", 0),
            ("a/b;q=x", 0),
        ] {
            assert_eq!(quality(range), weight, "{range}");
        }
    }

    proptest! {
        #[test]
        fn any_field_is_mapped_or_not(field in "\\PC{0,80}") {
            let _ = OPEN.content_format(&field, Some(&field));
            prop_assert!(OPEN.accept(&field).is_ok_and(|formats| formats.len() <= 4)
                || field.contains("coap-payload"));
        }
    }
}
