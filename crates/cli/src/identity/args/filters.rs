//! Which of a list are wanted.

use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};

/// Whether something may be used.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It may be used
    Active,
    /// Not now
    Disabled,
    /// Never again
    Revoked,
}

impl State {
    /// As the API calls it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            State::Active => "active",
            State::Disabled => "disabled",
            State::Revoked => "revoked",
        }
    }
}

/// Of organisations.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct OrgFilter {
    /// Only those in this state
    #[arg(long, value_name = "STATE")]
    pub(crate) state: Option<State>,
}

/// Of what belongs to an organisation.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct OfOrg {
    /// Only those of this organisation
    #[arg(long, value_name = "ORG")]
    pub(crate) org: Option<String>,
    /// Only those in this state
    #[arg(long, value_name = "STATE")]
    pub(crate) state: Option<State>,
}

/// Of keys.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyFilter {
    /// Only those of this application
    #[arg(long, value_name = "APP")]
    pub(crate) app: Option<String>,
    /// Only those of applications of this organisation
    #[arg(long, value_name = "ORG")]
    pub(crate) org: Option<String>,
    /// Only those in this state
    #[arg(long, value_name = "STATE")]
    pub(crate) state: Option<State>,
}

/// Of grants.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct GrantFilter {
    /// Only those of this application
    #[arg(long, value_name = "APP", conflicts_with = "user")]
    pub(crate) app: Option<String>,
    /// Only those of this user
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// Only those on this data set
    #[arg(long, value_name = "DATASET")]
    pub(crate) dataset: Option<String>,
    /// Only those of applications and users of this organisation
    #[arg(long, value_name = "ORG")]
    pub(crate) org: Option<String>,
    /// Only those in this state
    #[arg(long, value_name = "STATE")]
    pub(crate) state: Option<State>,
}

/// Of entries of the audit log.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AuditFilter {
    /// Of the last so long: 90s, 15min, 1h, 2d
    #[arg(long, value_name = "TIME", value_parser = crate::args::lasting)]
    pub(crate) since: Option<Duration>,
    /// About this: an id, or a key id
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) object: Option<String>,
    /// By this: an id, "key KEYID", or init
    #[arg(long, value_name = "ACTOR", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) actor: Option<String>,
}
