//! Words that nobody has used before.

use super::fault::Fault;

/// A word of 128 random bits.
///
/// # Errors
/// The system has none.
pub(crate) fn word() -> Result<String, Fault> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Fault::Input(format!("the system gives no random numbers: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
