//! How clients find the proxy function: `/.well-known/core` with the resource type `core.hc` (RFC
//! 8075 §5.5), filtered as RFC 6690 §4.1 says.

use alloc::{format, string::String, vec::Vec};

use super::uri::HC;

const RESOURCE_TYPE: &str = "core.hc";

/// The templates of RFC 8075 §5.3 and §5.4 that are understood; no `hct` means `{+tu}`.
const TEMPLATES: [Option<&str>; 3] = [None, Some("?target_uri={+tu}"), Some("{+s}/{+hp}{+p}{+qq}")];

/// The links in `application/link-format`. `anchor` is the HTTP origin, which CoAP clients must be
/// told and HTTP clients know.
pub(crate) fn links(query: &str, anchor: Option<&str>) -> String {
    let links: Vec<_> = TEMPLATES
        .into_iter()
        .filter(|template| query.split('&').all(|filter| matches(filter, *template)))
        .map(|template| {
            let anchor = anchor.map(|a| format!(";anchor=\"{a}\"")).unwrap_or_default();
            let hct = template.map(|t| format!(";hct=\"{t}\"")).unwrap_or_default();
            format!("<{HC}>{anchor};rt=\"{RESOURCE_TYPE}\"{hct}")
        })
        .collect();
    links.join(",")
}

fn matches(filter: &str, template: Option<&str>) -> bool {
    let Some((name, wanted)) = filter.split_once('=') else { return filter.is_empty() };
    let value = match name {
        "href" => Some(HC),
        "rt" => Some(RESOURCE_TYPE),
        "hct" => template,
        _ => None,
    };
    value.is_some_and(|value| match wanted.strip_suffix('*') {
        Some(prefix) => value.starts_with(prefix),
        None => value == wanted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxy_function_is_found_by_its_type() {
        let all = "</hc/>;rt=\"core.hc\",</hc/>;rt=\"core.hc\";hct=\"?target_uri={+tu}\",\
                   </hc/>;rt=\"core.hc\";hct=\"{+s}/{+hp}{+p}{+qq}\"";
        for query in ["", "rt=core.hc", "rt=core*", "href=/hc/", "rt=core.hc&href=/*"] {
            assert_eq!(links(query, None), all, "{query}");
        }
        for query in ["rt=core.rd", "if=x", "rt"] {
            assert_eq!(links(query, None), "", "{query}");
        }
        let with_template = "</hc/>;rt=\"core.hc\";hct=\"?target_uri={+tu}\"";
        assert_eq!(links("hct=?target*", None), with_template);
    }

    #[test]
    fn coap_clients_are_told_the_origin() {
        let link = links("hct={*", Some("https://p.example.com"));
        let expected = "</hc/>;anchor=\"https://p.example.com\";rt=\"core.hc\";\
                        hct=\"{+s}/{+hp}{+p}{+qq}\"";
        assert_eq!(link, expected);
    }
}
