//! Passwords of people: argon2id with what OWASP asks for (19 MiB, 2 passes, 1 lane), kept as PHC strings.
//!
//! Each takes some 20 ms of a core and 19 MiB, on purpose. So that nobody who sends many fills the machine, few are
//! computed at once, few wait, and the rest is told to come again.

use std::sync::Arc;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use plimsoll_types::Secret;
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

/// Memory, KiB.
const MEMORY_KIB: u32 = 19 * 1024;

/// Passes over it.
const PASSES: u32 = 2;

/// Lanes.
const LANES: u32 = 1;

/// What a PHC string of the store may ask for, KiB and passes: one that was written with more is not computed.
const MEMORY_KIB_MAX: u32 = 64 * 1024;
const PASSES_MAX: u32 = 10;

/// Computed at once.
const AT_ONCE: usize = 2;

/// Computed or waiting at once: less than half a second of waiting.
const WAITING_MAX: usize = 32;

/// What is reserved for one, in blocks of 1 KiB; only what is used is touched. The system's allocator (glibc) maps more than
/// 32 MiB for itself and gives it back at once. Anything smaller it keeps from the second time on, for each of its arenas:
/// after a few sign-ins on as many threads that would be hundreds of MiB.
const MAPPED_BLOCKS: usize = 33 * 1024;

/// Random bytes of a salt.
pub const SALT_BYTES: usize = 16;

/// Shortest password that can be set, characters (NIST SP 800-63B, 3.1.1.2, for a password with nothing beside it is 15;
/// 12 is where guessing against 20 ms each has no hope).
pub const PASSWORD_CHARS_MIN: usize = 12;

/// Longest password, bytes.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// Why a password was not set or compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordFault {
    /// It would be guessed.
    #[error("the password is too short: it has at least {PASSWORD_CHARS_MIN} characters")]
    TooShort,
    /// Nobody types that.
    #[error("the password is too long: it has at most {PASSWORD_BYTES_MAX} bytes")]
    TooLong,
    /// Too many at once; again in a second.
    #[error("too many sign-ins at once: try again in a second")]
    Busy,
    /// What the store has is no PHC string of argon2id, or one that asks for too much.
    #[error("the password in the store cannot be read: set it anew")]
    Unreadable,
    /// The computation failed: no memory.
    #[error("the password could not be computed")]
    Failed,
}

/// Whether a password is the right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Right,
    /// It is not; also said of who is unknown or has no password, after the same time.
    Wrong,
}

/// Computes hashes of passwords, few at once. Cheap to clone; clones share the limit.
#[derive(Clone, Debug)]
pub struct Passwords {
    computing: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// The hash of what nobody knows: it is compared when there is nothing to compare with.
    nobody: Arc<str>,
}

impl Passwords {
    /// Takes chance for the hash that stands for unknown people: a salt and a password. Computes one hash.
    ///
    /// # Errors
    /// [`PasswordFault::Failed`].
    pub fn new(chance: &[u8; 32]) -> Result<Passwords, PasswordFault> {
        let (salt, password) = chance.split_at(SALT_BYTES);
        let nobody = compute(password, salt)?.into();
        Ok(Passwords {
            computing: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
            nobody,
        })
    }

    /// The PHC string of a new password. Cancel safe: a computation that has begun goes on, to no effect.
    ///
    /// # Errors
    /// It is too short, too long, or there are too many at once.
    pub async fn hash(&self, password: Secret, salt: [u8; SALT_BYTES]) -> Result<String, PasswordFault> {
        check_new(&password)?;
        self.run(move || compute(password.expose(), &salt)).await
    }

    /// Compares a password with the PHC string of the store; `None`: nobody has that name, or no password. Cancel safe,
    /// as [`Passwords::hash`].
    ///
    /// # Errors
    /// Too many at once, or what the store has cannot be read.
    pub async fn verify(&self, password: Secret, phc: Option<String>) -> Result<Verdict, PasswordFault> {
        if password.expose().len() > PASSWORD_BYTES_MAX {
            return Ok(Verdict::Wrong);
        }
        let nobody = Arc::clone(&self.nobody);
        self.run(move || match phc {
            Some(phc) => compare(password.expose(), &phc),
            None => compare(password.expose(), &nobody).map(|_| Verdict::Wrong),
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T, PasswordFault> + Send + 'static,
    ) -> Result<T, PasswordFault> {
        let place = Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| PasswordFault::Busy)?;
        let turn = Arc::clone(&self.computing).acquire_owned().await.map_err(|_| PasswordFault::Failed)?;
        // Both go along: who gives up waiting makes no room for another computation before this one has ended.
        let task = tokio::task::spawn_blocking(move || {
            let _held = (place, turn);
            job()
        });
        task.await.unwrap_or(Err(PasswordFault::Failed))
    }
}

/// Whether a password may be set.
///
/// # Errors
/// [`PasswordFault::TooShort`], [`PasswordFault::TooLong`].
pub fn check_new(password: &Secret) -> Result<(), PasswordFault> {
    if password.expose().len() > PASSWORD_BYTES_MAX {
        return Err(PasswordFault::TooLong);
    }
    let chars = password.expose_text().map_or(0, |text| text.chars().count());
    if chars < PASSWORD_CHARS_MIN { Err(PasswordFault::TooShort) } else { Ok(()) }
}

fn compute(password: &[u8], salt: &[u8]) -> Result<String, PasswordFault> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|_| PasswordFault::Failed)?;
    let mut out = [0; Params::DEFAULT_OUTPUT_LEN];
    derive(&params, Version::V0x13, password, salt, &mut out)?;
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params).map_err(|_| PasswordFault::Failed)?,
        salt: Some(Salt::new(salt).map_err(|_| PasswordFault::Failed)?),
        hash: Some(Output::new(&out).map_err(|_| PasswordFault::Failed)?),
    };
    Ok(hash.to_string())
}

fn derive(
    params: &Params,
    version: Version,
    password: &[u8],
    salt: &[u8],
    out: &mut [u8],
) -> Result<(), PasswordFault> {
    let mut memory = Vec::with_capacity(params.block_count().max(MAPPED_BLOCKS));
    memory.resize(params.block_count(), Block::default());
    Argon2::new(Algorithm::Argon2id, version, params.clone())
        .hash_password_into_with_memory(password, salt, out, &mut memory)
        .map_err(|_| PasswordFault::Failed)
}

fn compare(password: &[u8], phc: &str) -> Result<Verdict, PasswordFault> {
    let hash = PasswordHash::new(phc).map_err(|_| PasswordFault::Unreadable)?;
    let params = Params::try_from(&hash).map_err(|_| PasswordFault::Unreadable)?;
    let (Some(salt), Some(wanted)) = (&hash.salt, &hash.hash) else { return Err(PasswordFault::Unreadable) };
    let version = hash.version.map_or(Ok(Version::default()), Version::try_from);
    let version = version.map_err(|_| PasswordFault::Unreadable)?;
    if hash.algorithm != Algorithm::Argon2id.ident()
        || params.m_cost() > MEMORY_KIB_MAX
        || params.t_cost() > PASSES_MAX
        || params.p_cost() > LANES
    {
        return Err(PasswordFault::Unreadable);
    }
    let mut out = vec![0; wanted.as_ref().len()];
    derive(&params, version, password, salt.as_ref(), &mut out)?;
    Ok(if bool::from(out.ct_eq(wanted.as_ref())) { Verdict::Right } else { Verdict::Wrong })
}

#[cfg(test)]
mod tests;
