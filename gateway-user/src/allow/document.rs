//! Edits of the file's text that leave alone what the administrator wrote.
use super::entry::KEYS;
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table};

const NAME: &str = "allow";

/// Puts an entry behind all others, and behind comments at the end.
pub(super) fn append(document: &mut DocumentMut, mut entry: Table) {
    drop_empty_array(document);
    let trailing = trailing(document);
    document.set_trailing("");
    let Some(entries) = tables(document) else {
        return;
    };
    let gap = match &*trailing {
        "" if entries.is_empty() => "",
        text if text.is_empty() || text.ends_with('\n') => "\n",
        _ => "\n\n",
    };
    set_prefix(&mut entry, &format!("{trailing}{gap}"));
    entries.push(entry);
}

/// Takes an entry out, with the comment on it but not what stands apart above it.
pub(super) fn remove(document: &mut DocumentMut, place: usize) {
    let Some(entries) = tables(document).filter(|entries| place < entries.len()) else {
        return;
    };
    let gone = entries.remove(place);
    let kept = apart(&prefix(&gone)).to_owned();
    let join = |below: String| {
        let whole = format!("{kept}{below}");
        let opens = place == 0 && kept.is_empty();
        if opens { whole.trim_start_matches(['\r', '\n']).to_owned() } else { whole }
    };
    match entries.get_mut(place) {
        Some(next) => {
            let joined = join(prefix(next));
            set_prefix(next, &joined);
        }
        None => {
            let joined = join(trailing(document));
            document.set_trailing(joined);
        }
    }
}

/// Writes the values of an entry that changed from `before` to `after`.
pub(super) fn replace(document: &mut DocumentMut, place: usize, before: &Table, after: &Table) {
    let Some(entry) = tables(document).and_then(|entries| entries.get_mut(place)) else {
        return;
    };
    for key in KEYS {
        let (old, new) = (before.get(key), after.get(key));
        if shown(old) == shown(new) {
            continue;
        }
        match new {
            None => drop(entry.remove(key)),
            Some(new) => put(entry, key, new.clone()),
        }
    }
}

/// Sets a value and keeps the comment behind it.
fn put(entry: &mut Table, key: &str, mut new: Item) {
    match entry.get_mut(key) {
        Some(old) => {
            if let (Some(old), Some(new)) = (old.as_value(), new.as_value_mut()) {
                *new.decor_mut() = old.decor().clone();
            }
            *old = new;
        }
        None => drop(entry.insert(key, new)),
    }
}

fn shown(item: Option<&Item>) -> Option<String> {
    item.map(|item| item.to_string().trim().to_owned())
}

fn tables(document: &mut DocumentMut) -> Option<&mut ArrayOfTables> {
    let item = document.entry(NAME);
    item.or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new())).as_array_of_tables_mut()
}

/// Takes `allow = []` out, with the comment above it left where it is.
fn drop_empty_array(document: &mut DocumentMut) {
    if !document.contains_value(NAME) {
        return;
    }
    let key = document.key(NAME).map(toml_edit::Key::leaf_decor);
    let above = key.and_then(|decor| decor.prefix()?.as_str()).unwrap_or("");
    let joined = format!("{above}{}", trailing(document));
    document.remove(NAME);
    document.set_trailing(joined);
}

/// What stands above the last blank line of the text before an entry.
fn apart(prefix: &str) -> &str {
    let blank = prefix.rfind("\n\n").max(prefix.rfind("\n\r\n"));
    let end = blank.map_or(0, |at| at + 1);
    prefix.get(..end).unwrap_or("")
}

fn prefix(table: &Table) -> String {
    let prefix = table.decor().prefix();
    prefix.and_then(|text| text.as_str()).unwrap_or("").to_owned()
}

fn set_prefix(table: &mut Table, prefix: &str) {
    table.decor_mut().set_prefix(prefix);
}

fn trailing(document: &DocumentMut) -> String {
    document.trailing().as_str().unwrap_or("").to_owned()
}
