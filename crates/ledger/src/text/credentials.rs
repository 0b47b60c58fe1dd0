//! Statements that carry credentials: their text must never be kept.
//!
//! What is missed is still redacted before anybody sees it, unless the operator asked for whole texts; what is found too
//! much costs a text that would have helped. So in doubt a statement is said to carry some.

use super::lexer::{Kind, Lexer, Token};
use super::{first_keyword, skip_to_statement, trim_end};

/// What names of settings and options, and literals with credentials in them, have in them.
const SECRETS: [&[u8]; 12] = [
    b"passw",
    b"pwd",
    b"secret",
    b"token",
    b"passphrase",
    b"credential",
    b"api_key",
    b"apikey",
    b"private_key",
    b"access_key",
    b"jwt",
    b"conninfo",
];

/// What bodies of functions that run such statements have in them, besides; and URLs.
const IN_BODIES: [&[u8]; 5] = [b"mapping", b"subscription", b"dblink", b"set_config", b"://"];

/// First words of statements that carry credentials only in the call of a function.
const QUIET: [&[u8]; 33] = [
    b"select",
    b"begin",
    b"commit",
    b"insert",
    b"update",
    b"delete",
    b"with",
    b"rollback",
    b"end",
    b"start",
    b"execute",
    b"fetch",
    b"savepoint",
    b"release",
    b"discard",
    b"deallocate",
    b"show",
    b"values",
    b"merge",
    b"close",
    b"declare",
    b"move",
    b"listen",
    b"unlisten",
    b"notify",
    b"abort",
    b"reset",
    b"truncate",
    b"lock",
    b"table",
    b"vacuum",
    b"analyze",
    b"checkpoint",
];

/// Whether [`carries_credentials`] needs to be asked. Quick: the first keyword, a `;` before the end, and for what
/// has parentheses the names of the functions that matter.
pub fn may_carry_credentials(text: &[u8]) -> bool {
    let text = skip_to_statement(text);
    if !is_quiet(first_keyword(text)) {
        return true;
    }
    let text = trim_end(text);
    let marks = marks(text);
    marks & SEMICOLON != 0
        || (marks & PARENTHESIS != 0
            && (contains(text, b"dblink") || contains(text, b"set_config") || contains(text, b"u&\"")))
}

/// Whether a statement, or one of several behind each other, carries credentials, as far as can be told from its text;
/// in doubt true. To be asked about as much of the text as would be kept.
///
/// These are: CREATE or ALTER of a role with PASSWORD; of a user mapping, a subscription, a server or foreign-data
/// wrapper with OPTIONS; ALTER SYSTEM; SET, `set_config` and options of whatever sounds like a secret; `dblink…()`; COPY …
/// PROGRAM; and DO or the body of a function with any of them in it.
pub fn carries_credentials(text: &[u8]) -> bool {
    if !may_carry_credentials(text) {
        return false;
    }
    let mut watch = Watch::default();
    Lexer::new(text).filter(|token| !token.is_comment()).any(|token| watch.finds(&token))
}

fn is_quiet(keyword: &[u8]) -> bool {
    QUIET.iter().any(|quiet| quiet.eq_ignore_ascii_case(keyword))
}

const SEMICOLON: u8 = 1;
const PARENTHESIS: u8 = 2;

/// Which of the two are in a text. Written so that the compiler looks at 16 bytes at once.
fn marks(text: &[u8]) -> u8 {
    let mark = |byte: u8| (u8::from(byte == b';') * SEMICOLON) | (u8::from(byte == b'(') * PARENTHESIS);
    let (chunks, rest) = text.as_chunks::<16>();
    let in_chunk = |chunk: &[u8; 16]| chunk.iter().fold(0, |marks, byte| marks | mark(*byte));
    let marks = rest.iter().fold(0, |marks, byte| marks | mark(*byte));
    chunks.iter().fold(marks, |marks, chunk| marks | in_chunk(chunk))
}

/// Whether `needle` (in lower case) is in a text in any case. Only where its first and last byte may be in place the bytes
/// between are compared; 16 places at once.
fn contains(text: &[u8], needle: &[u8]) -> bool {
    let ([first, .., last], Some(places)) = (needle, (text.len() + 1).checked_sub(needle.len())) else {
        return false;
    };
    let (firsts, firsts_rest) = text.get(..places).unwrap_or_default().as_chunks::<16>();
    let (lasts, _) = text.get(needle.len() - 1..).unwrap_or_default().as_chunks::<16>();
    let (first, last) = (first | CASE, last | CASE);
    let fits = |(a, b): (&u8, &u8)| (a | CASE == first) & (b | CASE == last);
    let is_at = |start: usize, places: usize| {
        let mut windows = text.get(start..).unwrap_or_default().windows(needle.len()).take(places);
        windows.any(|window| window.eq_ignore_ascii_case(needle))
    };
    let may_be = |(firsts, lasts): (&[u8; 16], &[u8; 16])| {
        firsts.iter().zip(lasts).fold(false, |any, pair| any | fits(pair))
    };
    let mut chunks = firsts.iter().zip(lasts).enumerate();
    chunks.any(|(at, pair)| may_be(pair) && is_at(at * 16, 16)) || is_at(firsts.len() * 16, firsts_rest.len())
}

/// The bit in which the cases of an ASCII letter differ.
const CASE: u8 = 0x20;

fn sounds_secret(text: &[u8]) -> bool {
    SECRETS.iter().any(|secret| contains(text, secret))
}

/// Words that matter.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Class {
    /// None of them, or no word at all.
    #[default]
    Other,
    Create,
    Alter,
    Set,
    Copy,
    Program,
    /// EXPLAIN and PREPARE: what they are about follows, and can only be a quiet statement or CREATE TABLE AS.
    Around,
    Role,
    User,
    Password,
    Mapping,
    Subscription,
    Server,
    Wrapper,
    Options,
    System,
    SetConfig,
    Dblink,
    /// A first word of quiet statements.
    Quiet,
    /// A name that sounds like a secret.
    Secret,
}

fn class(word: &[u8]) -> Class {
    let mut folded = [0; 12];
    let Some(place) = folded.get_mut(..word.len()) else { return class_of_name(word) };
    place.copy_from_slice(word);
    place.make_ascii_lowercase();
    match &*place {
        b"create" => Class::Create,
        b"alter" => Class::Alter,
        b"set" => Class::Set,
        b"copy" => Class::Copy,
        b"program" => Class::Program,
        b"explain" | b"prepare" => Class::Around,
        b"role" | b"group" => Class::Role,
        b"user" => Class::User,
        b"password" => Class::Password,
        b"mapping" => Class::Mapping,
        b"subscription" => Class::Subscription,
        b"server" => Class::Server,
        b"wrapper" => Class::Wrapper,
        b"options" => Class::Options,
        b"system" => Class::System,
        b"set_config" => Class::SetConfig,
        _ => class_of_name(word),
    }
}

fn class_of_name(name: &[u8]) -> Class {
    if name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case(b"dblink")) {
        Class::Dblink
    } else if sounds_secret(name) {
        Class::Secret
    } else if is_quiet(name) {
        Class::Quiet
    } else {
        Class::Other
    }
}

/// What is being defined.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Subject {
    #[default]
    Other,
    Role,
    /// Something whose OPTIONS can be credentials.
    Server,
}

/// Where in the call of `set_config` we are.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Setting {
    #[default]
    None,
    /// SET was said: names follow.
    Named,
    /// The next token is the name.
    Next,
}

/// Goes through the tokens of one statement after the other.
#[derive(Default)]
struct Watch {
    /// The first word of the statement.
    first: Option<Class>,
    previous: Class,
    subject: Subject,
    setting: Setting,
}

impl Watch {
    /// Whether credentials are, or may be, where this token is.
    fn finds(&mut self, token: &Token<'_>) -> bool {
        if self.setting == Setting::Next {
            self.setting = Setting::None;
            // A name that is put together from parts is not known.
            return match token.kind {
                Kind::String => token.text.contains(&b'\\') || sounds_secret(token.text),
                Kind::Parameter => false,
                _ => true,
            };
        }
        let previous = std::mem::take(&mut self.previous);
        match token.kind {
            Kind::Semicolon => {
                *self = Self::default();
                false
            }
            Kind::Word => self.finds_word(previous, class(token.text)),
            Kind::QuotedWord => {
                let is_coded = !token.text.starts_with(b"\"") && token.text.contains(&b'\\');
                let name = token.text.split(|byte| *byte == b'"').nth(1).unwrap_or_default();
                is_coded || self.finds_word(previous, class(name))
            }
            Kind::String => self.finds_in_literal(previous, token.text),
            Kind::Open => {
                if previous == Class::SetConfig {
                    self.setting = Setting::Next;
                }
                previous == Class::Dblink
            }
            Kind::LineComment
            | Kind::BlockComment
            | Kind::Number
            | Kind::Parameter
            | Kind::Operator
            | Kind::Close
            | Kind::Comma
            | Kind::Cast
            | Kind::Other => false,
        }
    }

    fn finds_word(&mut self, previous: Class, class: Class) -> bool {
        let first = *self.first.get_or_insert(class);
        self.previous = class;
        let defines = matches!(first, Class::Create | Class::Alter | Class::Around);
        let follows = matches!(previous, Class::Create | Class::Alter);
        match class {
            Class::Role | Class::User if follows => {
                self.subject = Subject::Role;
                false
            }
            Class::Server | Class::Wrapper if defines => {
                self.subject = Subject::Server;
                false
            }
            Class::Set if matches!(first, Class::Create | Class::Alter | Class::Set) => {
                self.setting = Setting::Named;
                false
            }
            Class::Password | Class::Secret => {
                self.setting == Setting::Named || (class == Class::Password && self.subject == Subject::Role)
            }
            Class::Options => self.subject == Subject::Server,
            Class::Mapping => previous == Class::User,
            Class::Subscription => defines,
            Class::System => previous == Class::Alter,
            Class::Program => first == Class::Copy,
            Class::Create
            | Class::Alter
            | Class::Set
            | Class::Copy
            | Class::Around
            | Class::Role
            | Class::User
            | Class::Server
            | Class::Wrapper
            | Class::SetConfig
            | Class::Dblink
            | Class::Quiet
            | Class::Other => false,
        }
    }

    /// Options (`password 'x'`), connection strings, and bodies of functions.
    fn finds_in_literal(&self, previous: Class, literal: &[u8]) -> bool {
        if matches!(self.first, Some(Class::Quiet | Class::Around) | None) {
            return false;
        }
        matches!(previous, Class::Password | Class::Secret)
            || sounds_secret(literal)
            || IN_BODIES.iter().any(|part| contains(literal, part))
    }
}
