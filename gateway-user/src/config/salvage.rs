//! What still counts of a file that is wrong: where the state lies. The filter runs on meanwhile, and
//! its state can be looked at.
use super::{Config, State, file, locate, read};
use std::path::Path;

/// The defaults, with `[state]` as the file has it if that much can be read.
pub fn salvage(file: &Path) -> Config {
    let state = locate::text(file).ok().and_then(|text| state(&text));
    let default = Config::default();
    Config { state: state.unwrap_or_else(|| default.state.clone()), ..default }
}

fn state(text: &str) -> Option<State> {
    let mut tables: toml::Table = toml::from_str(text).ok()?;
    let written: file::State = tables.remove("state")?.try_into().ok()?;
    read::state(&written).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_the_state_counts_though_the_rest_is_wrong() {
        let text = "[lln]\ndtls_port = 7\n[state]\nbpffs = \"/sys/fs/bpf/mine\"\n";
        let found = state(text).unwrap();
        assert_eq!(found.bpffs, Path::new("/sys/fs/bpf/mine"));
        assert_eq!(found.runtime, Config::default().state.runtime);
        for wrong in ["[state]\nbpffs = \"mine\"\n", "[state\n", "state = 7\n", ""] {
            assert_eq!(state(wrong), None, "{wrong}");
        }
    }
}
