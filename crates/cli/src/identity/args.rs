//! The part of the command line that is about identities.

mod fields;
mod filters;
#[cfg(test)]
mod tests;
mod values;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};

pub(crate) use fields::{
    AppFields, AppMade, DatasetFields, DatasetMade, GrantFields, GrantMade, KeyFields, KeyMade, LimitFields,
    OrgFields, OrgMade, Party, Scope, UserFields, UserMade, YesNo,
};
pub(crate) use filters::{AuditFilter, GrantFilter, KeyFilter, OfOrg, OrgFilter, State};
pub(crate) use values::Expires;
use values::{overlap, parse_expires};

/// How many of a list are shown when it is not told.
const LIST_LIMIT: &str = "50";

/// What is to be done about identities, or asked about them.
#[derive(Subcommand, Clone, Debug, PartialEq, Eq)]
pub enum Manage {
    /// Organisations, which own data sets, users and applications
    #[command(
        subcommand,
        after_help = "Examples:\n  plimsoll org create --name acme\n  plimsoll org disable acme"
    )]
    Org(Verb<OrgFilter, OrgMade, OrgFields>),
    /// Applications: pieces of software, of one's own or of others
    #[command(
        subcommand,
        after_help = "Examples:\n  plimsoll app create --org acme --name web\n  plimsoll app list --org acme"
    )]
    App(Verb<OfOrg, AppMade, AppFields>),
    /// Keys of applications, by which they show who they are
    #[command(
        subcommand,
        after_help = "Examples:\n  plimsoll key create --app web --env live --expires 90d\n  plimsoll key rotate 0a1B2c3D4e5F6g7H --overlap 1h\n  plimsoll key revoke 0a1B2c3D4e5F6g7H"
    )]
    Key(KeyVerb),
    /// Users: people, who sign in with a password
    #[command(
        subcommand,
        after_help = "Examples:\n  plimsoll user create --org acme --login ada\n  plimsoll user password ada"
    )]
    User(UserVerb),
    /// Data sets: databases of the pooler, or parts of one
    #[command(
        subcommand,
        after_help = "Example:\n  plimsoll dataset create --org acme --name orders --database shop"
    )]
    Dataset(Verb<OfOrg, DatasetMade, DatasetFields>),
    /// Grants: who may enter which data set, as which login role, within which limits
    #[command(
        subcommand,
        after_help = "Examples:\n  plimsoll grant create --app web --dataset orders --role shop_web --clients 200 --holds 10\n  plimsoll grant list --app web"
    )]
    Grant(Verb<GrantFilter, GrantMade, GrantFields>),
    /// Who did what to identities, from where: the newest last
    #[command(after_help = "Examples:\n  plimsoll audit --since 1h\n  plimsoll audit --follow")]
    Audit(AuditArgs),
    /// Whether an application or a user may do something, by which grant, and why
    ///
    /// Exit status 0: allowed, 3: not allowed.
    #[command(
        after_help = "Examples:\n  plimsoll authorize --app web --dataset orders\n  plimsoll authorize --user ada --dataset orders --action export"
    )]
    Authorize(AuthorizeArgs),
}

/// What can be done with every noun.
#[derive(Subcommand, Clone, Debug, PartialEq, Eq)]
pub enum Verb<L: Args, C: Args, S: Args> {
    /// List them
    List(ListArgs<L>),
    /// Show one, with all that is known of it
    Show(OneArgs),
    /// Make one
    Create(MakeArgs<C>),
    /// Change what is named, and leave the rest
    Set(SetArgs<S>),
    /// Take it out of use, until it is enabled again
    Disable(CutArgs),
    /// Take it into use again
    Enable(OneArgs),
    /// Take it out of use for ever; it stays in the lists
    Revoke(CutArgs),
    /// Remove it; what is in use by something else stays
    Delete(CutArgs),
}

/// What can be done with users.
#[derive(Subcommand, Clone, Debug, PartialEq, Eq)]
pub enum UserVerb {
    #[command(flatten)]
    Common(Verb<OfOrg, UserMade, UserFields>),
    /// Set the password: it is asked for without being shown, or read from standard input
    Password(PasswordArgs),
}

/// What can be done with keys.
#[derive(Subcommand, Clone, Debug, PartialEq, Eq)]
pub enum KeyVerb {
    /// List them
    List(ListArgs<KeyFilter>),
    /// Show one, with all that is known of it
    Show(OneArgs),
    /// Make one; it is shown once
    Create(MakeArgs<KeyMade>),
    /// Make another one in its place; the old one stays good for the overlap
    Rotate(RotateArgs),
    /// Change what is named, and leave the rest
    Set(SetArgs<KeyFields>),
    /// Take it out of use, until it is enabled again
    Disable(CutArgs),
    /// Take it into use again
    Enable(OneArgs),
    /// Take it out of use for ever; it stays in the lists
    Revoke(CutArgs),
}

/// Where the API is, and how its answers look.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ApiArgs {
    /// The identity API [default: PLIMSOLL_API, else http://127.0.0.1:6433]
    #[arg(long, value_name = "URL", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) api: Option<String>,
    /// A file with the key to come with [default: PLIMSOLL_KEY]
    #[arg(long, value_name = "PATH")]
    pub(crate) key_file: Option<PathBuf>,
    /// Certificates of who is trusted with https [default: those of the system]
    #[arg(long, value_name = "FILE.pem")]
    pub(crate) ca_file: Option<PathBuf>,
    /// One JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
    /// Is refused with the reason, which is better than "unexpected argument".
    #[arg(long = "key", hide = true, num_args = 0..=1, default_missing_value = "")]
    pub(crate) key_in_the_open: Option<String>,
}

/// Of `list`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ListArgs<L: Args> {
    #[command(flatten)]
    pub(crate) filter: L,
    /// At most so many
    #[arg(long, value_name = "N", default_value = LIST_LIMIT, conflicts_with = "all")]
    pub(crate) limit: NonZeroUsize,
    /// All of them
    #[arg(long)]
    pub(crate) all: bool,
    /// Nothing cut
    #[arg(long)]
    pub(crate) wide: bool,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

/// Of what is about one thing.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct OneArgs {
    /// Its id, or its name
    #[arg(value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) which: String,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

/// Of what cuts access.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct CutArgs {
    #[command(flatten)]
    pub(crate) one: OneArgs,
    /// Do it without asking
    #[arg(long)]
    pub(crate) yes: bool,
}

/// Of `user password`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct PasswordArgs {
    #[command(flatten)]
    pub(crate) cut: CutArgs,
    /// Take the password away: nobody can sign in as the user
    #[arg(long)]
    pub(crate) remove: bool,
}

/// Of `create`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct MakeArgs<C: Args> {
    #[command(flatten)]
    pub(crate) fields: C,
    /// Print its id alone; of a key, the key alone
    #[arg(long, conflicts_with = "json")]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

/// Of `set`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct SetArgs<S: Args> {
    #[command(flatten)]
    pub(crate) one: OneArgs,
    #[command(flatten)]
    pub(crate) fields: S,
}

/// Of `key rotate`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct RotateArgs {
    #[command(flatten)]
    pub(crate) cut: CutArgs,
    /// How long the old one stays good: 0, 90s, 15min, 1h, 2d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = overlap)]
    pub(crate) overlap: Duration,
    /// When the new one ends: 90d, 2026-12-31, never [default: after as long a life as the old one's]
    #[arg(long, value_name = "WHEN", value_parser = parse_expires)]
    pub(crate) expires: Option<Expires>,
    /// Print the new key alone
    #[arg(long, conflicts_with = "json")]
    pub(crate) quiet: bool,
}

/// Of `audit`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct AuditArgs {
    #[command(flatten)]
    pub(crate) list: ListArgs<AuditFilter>,
    /// Go on with what comes
    #[arg(long)]
    pub(crate) follow: bool,
}

/// Of `authorize`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct AuthorizeArgs {
    /// Who: an application
    #[arg(long, value_name = "APP", group = "whom", required_unless_present = "user")]
    pub(crate) app: Option<String>,
    /// Who: a user
    #[arg(long, value_name = "USER", group = "whom")]
    pub(crate) user: Option<String>,
    /// On which data set
    #[arg(long, value_name = "DATASET")]
    pub(crate) dataset: String,
    /// What
    #[arg(long, value_name = "ACTION", default_value = "connect")]
    pub(crate) action: String,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}

/// Of `identity status`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct StatusArgs {
    #[command(flatten)]
    pub(crate) api: ApiArgs,
}
