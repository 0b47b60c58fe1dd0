//! What the operating system knows of its users.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::ptr;

/// Room for the strings of a user's record, bytes; more is made when it does not suffice.
const RECORD_BYTES: usize = 1024;

/// Beyond this a record is none, bytes.
const RECORD_BYTES_MAX: usize = 1 << 20;

/// The name of a user, wherever the system keeps its users. May read files or ask a directory service.
pub(crate) fn user_name(uid: u32) -> Option<String> {
    let mut strings = vec![0; RECORD_BYTES];
    loop {
        let mut record = MaybeUninit::<libc::passwd>::uninit();
        let mut found = ptr::null_mut();
        // SAFETY: all pointers are valid for the lengths given, and the function writes nowhere else (POSIX,
        // getpwuid_r).
        #[allow(unsafe_code, reason = "the C library alone knows where users are kept")]
        let code = unsafe {
            libc::getpwuid_r(uid, record.as_mut_ptr(), strings.as_mut_ptr(), strings.len(), &mut found)
        };
        match code {
            0 if !found.is_null() => {
                // SAFETY: it was found, so `found` points to the record, whose name is a string that ends in `strings`.
                #[allow(unsafe_code, reason = "as above")]
                let name = unsafe { CStr::from_ptr((*found).pw_name) };
                return name.to_str().ok().map(str::to_string);
            }
            libc::ERANGE if strings.len() < RECORD_BYTES_MAX => strings.resize(strings.len() * 2, 0),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn users_are_known_by_their_names() {
        assert_eq!(super::user_name(0).as_deref(), Some("root"));
        assert_eq!(super::user_name(u32::MAX - 7), None);
    }
}
