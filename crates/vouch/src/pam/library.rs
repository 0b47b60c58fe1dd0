//! The system's PAM library, as far as a password is checked with it.
//!
//! It is loaded when the first client comes by PAM and not linked: the program starts where there is none, and is built
//! without its headers. What is declared here is Linux-PAM's ABI, which has not changed since its `libpam.so.0`
//! (`security/_pam_types.h`, `security/pam_appl.h`).

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;

use libloading::Library as Loaded;
use plimsoll_types::Secret;

use crate::Claim;
use crate::outcome::Outcome;

/// Linux-PAM's name for six major versions of Debian and their kin.
const FILE: &str = "libpam.so.0";

const PAM_SUCCESS: c_int = 0;
const PAM_CONV_ERR: c_int = 19;
/// The client's address.
const PAM_RHOST: c_int = 4;
/// No messages but those that have to be answered.
const PAM_SILENT: c_int = 0x8000;
/// Who has no password does not get in without one.
const PAM_DISALLOW_NULL_AUTHTOK: c_int = 0x0001;

const PROMPT_ECHO_OFF: c_int = 1;
const ERROR_MESSAGE: c_int = 3;
const TEXT: c_int = 4;

/// Most messages of one turn (`PAM_MAX_NUM_MSG`).
const MESSAGES_MAX: usize = 32;

/// Answers that are about the user or its password: `PAM_SYSTEM_ERR`, which is what `pam_exec` says of a program that
/// ends with anything but 0, `PAM_PERM_DENIED`, `PAM_AUTH_ERR`, `PAM_CRED_INSUFFICIENT`,
/// `PAM_USER_UNKNOWN`, `PAM_MAXTRIES`, `PAM_NEW_AUTHTOK_REQD`, `PAM_ACCT_EXPIRED`, `PAM_CRED_EXPIRED`,
/// `PAM_AUTHTOK_EXPIRED`.
const REFUSALS: [c_int; 10] = [4, 6, 7, 8, 10, 11, 12, 13, 16, 27];

/// `struct pam_handle`, which nobody sees.
#[repr(C)]
struct Handle {
    _opaque: [u8; 0],
}

#[repr(C)]
struct Message {
    style: c_int,
    text: *const c_char,
}

#[repr(C)]
struct Response {
    text: *mut c_char,
    code: c_int,
}

type Converse = extern "C" fn(c_int, *mut *const Message, *mut *mut Response, *mut c_void) -> c_int;

#[repr(C)]
struct Conversation {
    converse: Converse,
    data: *mut c_void,
}

type Start =
    unsafe extern "C" fn(*const c_char, *const c_char, *const Conversation, *mut *mut Handle) -> c_int;
type SetItem = unsafe extern "C" fn(*mut Handle, c_int, *const c_void) -> c_int;
type Step = unsafe extern "C" fn(*mut Handle, c_int) -> c_int;
type Text = unsafe extern "C" fn(*mut Handle, c_int) -> *const c_char;

/// The functions; they are there as long as the library is, which is held with them.
pub(crate) struct Library {
    start: Start,
    set_item: SetItem,
    authenticate: Step,
    account: Step,
    end: Step,
    text: Text,
    _loaded: Loaded,
}

impl std::fmt::Debug for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(FILE)
    }
}

impl Library {
    /// Loads it.
    #[allow(unsafe_code)]
    pub(crate) fn load() -> Result<Library, String> {
        let told = |error: libloading::Error| format!("cannot load {FILE}: {error}");
        // SAFETY: the system's PAM library, whose initialisers are meant to run in any program; the symbols have the
        // types that its headers declare.
        unsafe {
            let loaded = Loaded::new(FILE).map_err(told)?;
            Ok(Library {
                start: *loaded.get::<Start>(b"pam_start\0").map_err(told)?,
                set_item: *loaded.get::<SetItem>(b"pam_set_item\0").map_err(told)?,
                authenticate: *loaded.get::<Step>(b"pam_authenticate\0").map_err(told)?,
                account: *loaded.get::<Step>(b"pam_acct_mgmt\0").map_err(told)?,
                end: *loaded.get::<Step>(b"pam_end\0").map_err(told)?,
                text: *loaded.get::<Text>(b"pam_strerror\0").map_err(told)?,
                _loaded: loaded,
            })
        }
    }

    /// Whether a password is good and its user may log in now. Takes as long as the modules take.
    #[allow(unsafe_code)]
    pub(crate) fn check(&self, service: &str, claim: &Claim) -> Outcome {
        if claim.password.is_empty() {
            return Outcome::Bad("an empty password is never asked about".to_string());
        }
        let (Ok(service), Ok(user)) = (CString::new(service), CString::new(&*claim.user)) else {
            return Outcome::Bad("the user's name has a zero byte in it".to_string());
        };
        let Ok(from) = CString::new(claim.from.map_or("local".to_string(), |ip| ip.to_string())) else {
            return Outcome::Unknown("the address has a zero byte in it".to_string());
        };
        let mut asked = Asked { password: claim.password.clone(), said: String::new() };
        let conversation = Conversation { converse, data: ptr::from_mut(&mut asked).cast() };
        let mut handle: *mut Handle = ptr::null_mut();
        // SAFETY: the texts end in zeros; conversation, what it points to, and the texts live until `end` has returned;
        // the handle is used by this thread only, and not after `end`.
        let (status, step) = unsafe {
            let started = (self.start)(service.as_ptr(), user.as_ptr(), &conversation, &mut handle);
            if started != PAM_SUCCESS || handle.is_null() {
                return Outcome::Unknown(format!("pam_start() failed: error {started}"));
            }
            let flags = PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK;
            let (mut status, mut step) =
                ((self.set_item)(handle, PAM_RHOST, from.as_ptr().cast()), "pam_set_item");
            if status == PAM_SUCCESS {
                (status, step) = ((self.authenticate)(handle, flags), "pam_authenticate");
            }
            if status == PAM_SUCCESS {
                (status, step) = ((self.account)(handle, flags), "pam_acct_mgmt");
            }
            let text = self.text_of(handle, status);
            (self.end)(handle, status);
            (status, format!("{step}() failed: {text}"))
        };
        let said = if asked.said.is_empty() { String::new() } else { format!(" ({})", asked.said) };
        match status {
            PAM_SUCCESS => Outcome::Good,
            status if REFUSALS.contains(&status) => Outcome::Bad(format!("{step}{said}")),
            _ => Outcome::Unknown(format!("{step}{said}")),
        }
    }

    #[allow(unsafe_code)]
    fn text_of(&self, handle: *mut Handle, status: c_int) -> String {
        // SAFETY: the handle is alive; what comes back is a constant text, or nothing.
        unsafe {
            let text = (self.text)(handle, status);
            if text.is_null() {
                return format!("error {status}");
            }
            CStr::from_ptr(text).to_string_lossy().into_owned()
        }
    }
}

/// What the conversation needs, and what it hears.
struct Asked {
    password: Secret,
    said: String,
}

/// Answers the modules: they get the password where they ask for something that is not shown, and nothing else.
#[allow(unsafe_code)]
extern "C" fn converse(
    count: c_int,
    messages: *mut *const Message,
    responses: *mut *mut Response,
    data: *mut c_void,
) -> c_int {
    let Some(count) = usize::try_from(count).ok().filter(|count| (1..=MESSAGES_MAX).contains(count)) else {
        return PAM_CONV_ERR;
    };
    if messages.is_null() || responses.is_null() || data.is_null() {
        return PAM_CONV_ERR;
    }
    // SAFETY: `data` is the `Asked` of `check`, which waits for us; Linux-PAM gives as many pointers to messages as it
    // says, and takes over what is allocated with `calloc` and `strdup`, to be freed.
    unsafe {
        let asked = &mut *data.cast::<Asked>();
        let answers = libc::calloc(count, size_of::<Response>()).cast::<Response>();
        if answers.is_null() {
            return PAM_CONV_ERR;
        }
        for at in 0..count {
            if !answer(asked, *messages.add(at), &mut *answers.add(at)) {
                give_up(answers, count);
                return PAM_CONV_ERR;
            }
        }
        *responses = answers;
    }
    PAM_SUCCESS
}

/// Answers one message. False: it cannot be answered.
///
/// # Safety
/// The message is null or one of PAM's.
#[allow(unsafe_code)]
unsafe fn answer(asked: &mut Asked, message: *const Message, response: &mut Response) -> bool {
    // SAFETY: see above; its text is null or ends in a zero.
    unsafe {
        let Some(message) = message.as_ref() else { return false };
        match message.style {
            PROMPT_ECHO_OFF => {
                response.text = copy_of(&asked.password);
                !response.text.is_null()
            }
            ERROR_MESSAGE => {
                if asked.said.is_empty() && !message.text.is_null() {
                    let text = CStr::from_ptr(message.text).to_string_lossy();
                    let shown =
                        text.chars().take(128).map(|letter| if letter.is_control() { '?' } else { letter });
                    asked.said = shown.collect();
                }
                true
            }
            TEXT => true,
            // A question whose answer would be shown: it is not the password that is asked for.
            _ => false,
        }
    }
}

/// A copy that PAM wipes and frees.
#[allow(unsafe_code)]
fn copy_of(password: &Secret) -> *mut c_char {
    let bytes = password.expose();
    // A zero would cut it short.
    if bytes.contains(&0) {
        return ptr::null_mut();
    }
    // SAFETY: there is room for the bytes and for the zero behind them, which `calloc` has written.
    unsafe {
        let copy = libc::calloc(bytes.len() + 1, 1).cast::<u8>();
        if !copy.is_null() {
            ptr::copy_nonoverlapping(bytes.as_ptr(), copy, bytes.len());
        }
        copy.cast()
    }
}

/// Wipes and frees answers that nobody gets.
///
/// # Safety
/// They are ours, and so are their texts.
#[allow(unsafe_code)]
unsafe fn give_up(answers: *mut Response, count: usize) {
    // SAFETY: see above.
    unsafe {
        for at in 0..count {
            let text = (*answers.add(at)).text;
            if !text.is_null() {
                ptr::write_bytes(text, 0, libc::strlen(text));
                std::hint::black_box(text);
                libc::free(text.cast());
            }
        }
        libc::free(answers.cast());
    }
}
