//! Costly hashing, detached from the dialogue that needs it.

use plimsoll_types::Secret;

use crate::scram;

/// Costly hashing, detached from the dialogue that needs it. `Send`, so that it can run on another thread.
pub struct Job {
    /// As the user gave it: SASLprep of a long one takes its time, too.
    password: Secret,
    salt: Box<[u8]>,
    iterations: u32,
}

/// The result of a [`Job`].
pub struct Done {
    /// SaltedPassword of RFC 5802.
    pub(crate) salted_password: Secret,
}

impl Job {
    /// SASLprep and PBKDF2 of a password.
    pub(crate) fn new(password: &[u8], salt: Box<[u8]>, iterations: u32) -> Job {
        Job { password: Secret::new(password), salt, iterations }
    }

    /// Does the work: some milliseconds.
    pub fn run(self) -> Done {
        let prepared = scram::prepare(self.password.expose());
        let salted = scram::salted_password(prepared.expose(), &self.salt, self.iterations);
        Done { salted_password: Secret::new(salted) }
    }
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Done").finish_non_exhaustive()
    }
}
