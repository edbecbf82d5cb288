//! What a test says about itself: the YAML comment at its head, of which test262 uses a
//! small part (INTERPRETING.md of tc39/test262). Lists stand in brackets or one item a line.

/// The head of a test.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Metadata {
    pub(crate) flags: Vec<String>,
    pub(crate) features: Vec<String>,
    pub(crate) includes: Vec<String>,
    /// Phase and type of the error that the test must end with.
    pub(crate) negative: Option<(String, String)>,
}

impl Metadata {
    /// Reads the head of a test; a test without one says nothing.
    pub(crate) fn of(source: &str) -> Self {
        let mut found = Self::default();
        let Some(start) = source.find("/*---") else { return found };
        let Some(end) = source[start..].find("---*/") else { return found };
        let (mut phase, mut kind) = (String::new(), String::new());
        let mut section = "";
        for line in source[start + 5..start + end].split(['\n', '\r']) {
            let text = line.trim();
            if !line.starts_with([' ', '\t', '-']) && text.contains(':') {
                section = text.split(':').next().unwrap_or("");
            }
            let item = text.strip_prefix("- ").map(str::trim);
            let value = text.split_once(':').map_or("", |(_, value)| value.trim());
            let list = match section {
                "flags" => &mut found.flags,
                "features" => &mut found.features,
                "includes" => &mut found.includes,
                "negative" => {
                    match text.split(':').next() {
                        Some("phase") => phase = value.to_owned(),
                        Some("type") => kind = value.to_owned(),
                        _ => {}
                    }
                    continue;
                }
                _ => continue,
            };
            if let Some(item) = item {
                list.push(item.to_owned());
            } else if let Some(items) = text.split_once('[').map(|(_, rest)| rest) {
                let items = items.trim_end_matches(']').split(',').map(str::trim);
                list.extend(items.filter(|i| !i.is_empty()).map(str::to_owned));
            }
        }
        if !phase.is_empty() {
            found.negative = Some((phase, kind));
        }
        found
    }

    pub(crate) fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|f| f == flag)
    }
}

#[cfg(test)]
mod tests {
    use super::Metadata;

    #[test]
    fn both_kinds_of_lists_and_the_negative_block() {
        let m = Metadata::of(
            "// c\n/*---\ndescription: flags: no\nflags: [async, onlyStrict]\nfeatures:\n  - let\n  - \
             class\nincludes: [a.js]\nnegative:\n  phase: parse\n  type: SyntaxError\n---*/\nx",
        );
        assert_eq!(m.flags, ["async", "onlyStrict"]);
        assert_eq!(m.features, ["let", "class"]);
        assert_eq!(m.includes, ["a.js"]);
        assert_eq!(m.negative, Some(("parse".into(), "SyntaxError".into())));
        assert_eq!(Metadata::of("1;"), Metadata::default());
    }
}
