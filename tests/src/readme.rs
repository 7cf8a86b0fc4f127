//! The README's own words, for tests that type them.

const README: &str = include_str!("../../README.md");
const FENCE: &str = "```";

/// What is to be typed under a heading and those below it, block by block.
///
/// # Panics
/// The README has no such heading.
pub fn blocks(heading: &str) -> Vec<String> {
    blocks_of(README, heading, "sh")
}

/// What is to be written into the configuration, in the same way.
///
/// # Panics
/// The README has no such heading.
pub fn configurations(heading: &str) -> Vec<String> {
    blocks_of(README, heading, "toml")
}

fn blocks_of(text: &str, heading: &str, wanted: &str) -> Vec<String> {
    let mut lines = text.lines().skip_while(|line| *line != heading);
    assert!(lines.next().is_some(), "the README has no heading {heading:?}");
    let (mut found, mut open) = (Vec::<String>::new(), None);
    for line in lines {
        match (open, line.strip_prefix(FENCE)) {
            (None, None) if level(line).is_some_and(|own| Some(own) <= level(heading)) => break,
            (None, None) | (Some(false), None) => {}
            (None, Some(language)) => {
                open = Some(language == wanted);
                found.extend((language == wanted).then(String::new));
            }
            (Some(true), None) => {
                found.last_mut().into_iter().for_each(|block| *block += &format!("{line}\n"));
            }
            (Some(_), Some(_)) => open = None,
        }
    }
    found
}

fn level(line: &str) -> Option<usize> {
    let depth = line.chars().take_while(|c| *c == '#').count();
    (depth > 0).then_some(depth)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_a_heading_and_below_are_found_in_order() {
        let text = "# a\n```sh\nno\n```\n## b\n```sh\none # 1\n# two\n```\n```toml\nno\n```\n### c\n\
                    ```sh\nthree\n```\n## d\n```sh\nno\n```\n";
        assert_eq!(blocks_of(text, "## b", "sh"), ["one # 1\n# two\n", "three\n"]);
        assert_eq!(blocks_of(text, "## b", "toml"), ["no\n"]);
        assert_eq!(blocks_of(text, "### c", "sh"), ["three\n"]);
    }
}
