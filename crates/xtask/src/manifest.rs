//! Reads what the checks need from a `Cargo.toml`: its sections and the keys in them.
//!
//! A subset of TOML that cargo manifests here stay within: one key per line, no multi-line strings.

#[cfg(test)]
mod tests;

/// One `key = value` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The section it stands in, such as `dev-dependencies`.
    pub(crate) section: String,
    /// The key, dots and all: `plimsoll-types.workspace`.
    pub(crate) key: String,
    /// The value as written.
    pub(crate) value: String,
    /// Line, from 1.
    pub(crate) line: usize,
}

/// All entries of a manifest.
pub(crate) fn entries(text: &str) -> Vec<Entry> {
    let mut section = String::new();
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']).trim().to_owned();
        } else if let Some((key, value)) = line.split_once('=') {
            found.push(Entry {
                section: section.clone(),
                key: key.trim().trim_matches('"').to_owned(),
                value: value.trim().to_owned(),
                line: index + 1,
            });
        }
    }
    found
}

/// What a dependency is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// In the program.
    Normal,
    /// In tests only.
    Dev,
}

/// A dependency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dependency {
    /// The package.
    pub(crate) name: String,
    /// What for.
    pub(crate) used: Use,
    /// Line, from 1.
    pub(crate) line: usize,
}

/// The dependencies of a manifest, those of single platforms and of build scripts too.
pub(crate) fn dependencies(text: &str) -> Vec<Dependency> {
    let mut found: Vec<Dependency> = Vec::new();
    for entry in entries(text) {
        let Some((used, rest)) = dependency_section(&entry.section) else { continue };
        let key = rest.unwrap_or(&entry.key);
        let name = key.split('.').next().unwrap_or(key).to_owned();
        if !found.iter().any(|known| known.name == name && known.used == used) {
            found.push(Dependency { name, used, line: entry.line });
        }
    }
    found
}

/// What a section's dependencies are for; the package where the section is one package's (`[dependencies.x]`).
fn dependency_section(section: &str) -> Option<(Use, Option<&str>)> {
    // `target.'cfg(…)'.dependencies`: the condition may have dots in it.
    let section = match section.strip_prefix("target.") {
        Some(rest) => rest.rsplit_once("'.").map_or(rest, |(_, end)| end),
        None => section,
    };
    let (kind, package) = match section.split_once('.') {
        Some((kind, package)) => (kind, Some(package)),
        None => (section, None),
    };
    match kind {
        "dependencies" | "build-dependencies" => Some((Use::Normal, package)),
        "dev-dependencies" => Some((Use::Dev, package)),
        _ => None,
    }
}
