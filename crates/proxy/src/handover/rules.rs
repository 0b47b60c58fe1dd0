//! The rules by which a hold goes on in the other process, whatever the files say by now.

use plimsoll_session::{CleanWhen, Settings};
use plimsoll_types::PoolMode;

use super::record::{Clean, Mode, Rules};

/// Those that a hold has begun with.
pub(super) fn rules(settings: &Settings) -> Rules {
    Rules {
        mode: match settings.mode {
            PoolMode::Session => Mode::Session,
            PoolMode::Transaction => Mode::Transaction,
            PoolMode::Statement => Mode::Statement,
        },
        prepared_max: settings.prepared_max,
        clean: match settings.clean {
            CleanWhen::Never => Clean::Never,
            CleanWhen::AfterSession => Clean::AfterSession,
            CleanWhen::Always => Clean::Always,
        },
    }
}

/// The usual settings, but for what a hold has begun with.
pub(super) fn by_rules(usual: &Settings, rules: Rules) -> Settings {
    Settings {
        mode: match rules.mode {
            Mode::Session => PoolMode::Session,
            Mode::Transaction => PoolMode::Transaction,
            Mode::Statement => PoolMode::Statement,
        },
        prepared_max: rules.prepared_max,
        clean: match rules.clean {
            Clean::Never => CleanWhen::Never,
            Clean::AfterSession => CleanWhen::AfterSession,
            Clean::Always => CleanWhen::Always,
        },
        ..usual.clone()
    }
}
