//! Sites as people know them: the same place in the code before and after a deploy, and which deploy it is of.

use std::collections::BTreeMap;

/// Tags that name a deploy and not a place, in lower case and without `-`, `_` and `.`.
const DEPLOY_KEYS: [&str; 17] = [
    "version",
    "appversion",
    "applicationversion",
    "serviceversion",
    "codeversion",
    "release",
    "releaseversion",
    "deploy",
    "deployid",
    "deployment",
    "build",
    "buildid",
    "revision",
    "commit",
    "sha",
    "gitsha",
    "imagetag",
];

/// What a tag says of the deploy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Deploy {
    /// The tag's key.
    pub key: String,
    /// Its value.
    pub value: String,
}

impl Deploy {
    /// Of these tags the first that names one.
    pub fn of(tags: &BTreeMap<String, String>) -> Option<Deploy> {
        let found = tags.iter().find(|(key, _)| names_a_deploy(key));
        found.map(|(key, value)| Deploy { key: key.clone(), value: value.clone() })
    }
}

fn names_a_deploy(key: &str) -> bool {
    let plain: String = key.chars().filter(|c| !matches!(c, '-' | '_' | '.')).collect();
    DEPLOY_KEYS.contains(&plain.to_lowercase().as_str())
}

/// A place for people: application and the tags that do not name a deploy, or the statement where there are none.
pub fn label(application: &str, tags: &BTreeMap<String, String>, statement: Option<&str>) -> String {
    let mut label = match application {
        "" => "(no application_name)".to_string(),
        named => named.to_string(),
    };
    let mut places = tags.iter().filter(|(key, _)| !names_a_deploy(key)).peekable();
    match (places.peek(), statement) {
        (None, Some(statement)) if !statement.is_empty() => label.push_str(&format!(" \"{statement}\"")),
        (None, _) => {}
        (Some(_), _) => places.for_each(|(key, value)| label.push_str(&format!(" {key}={value}"))),
    }
    label
}
