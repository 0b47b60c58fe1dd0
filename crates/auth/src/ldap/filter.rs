//! What must hold for a user's entry: `ldapsearchfilter` (RFC 4515), with `$username` where the user's name belongs.
//!
//! The text is understood first and the name is put into what was understood, as a value: whatever a user calls himself,
//! it is compared with something and asks for nothing else.

use super::escape::unescaped;
use super::options::LdapFault;
use super::request::{octets, tlv};

/// How deep filters may stand in each other.
const DEPTH_MAX: usize = 16;

/// Stands for the user's name.
const USER: &str = "$username";

/// Between these a value is any text; as bytes they are written `\2a`.
const SPECIAL: [char; 3] = ['(', ')', '*'];

/// What must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LdapFilter(Node);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    /// Equality, and the three that look like it: the tag, the attribute, the value.
    Compare(Comparison, String, Value),
    Present(String),
    Substrings {
        attribute: String,
        first: Value,
        middle: Vec<Value>,
        last: Value,
    },
    Extensible {
        attribute: Option<String>,
        rule: Option<String>,
        with_dn: bool,
        value: Value,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    AtLeast,
    AtMost,
    About,
}

impl Comparison {
    /// RFC 4511, 4.5.1.
    fn tag(self) -> u8 {
        match self {
            Comparison::Equal => 0xa3,
            Comparison::AtLeast => 0xa5,
            Comparison::AtMost => 0xa6,
            Comparison::About => 0xa8,
        }
    }
}

/// What something is compared with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Value(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Bytes(Vec<u8>),
    User,
}

impl LdapFilter {
    /// Reads a filter. The outermost parentheses may be missing, as with OpenLDAP.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<LdapFilter, LdapFault> {
        let fault = |why: &str| LdapFault::new(format!("bad ldapsearchfilter: {why}"));
        let mut reader = Reader { rest: text.trim() };
        let node = match reader.rest.starts_with('(') {
            true => reader.filter(DEPTH_MAX).map_err(fault)?,
            false => reader.item().map_err(fault)?,
        };
        match reader.rest.trim() {
            "" => Ok(LdapFilter(node)),
            _ => Err(fault("something stands behind the last parenthesis")),
        }
    }

    /// That an attribute has the user's name.
    pub(super) fn user_is(attribute: &str) -> Result<LdapFilter, LdapFault> {
        match is_attribute(attribute) {
            true => Ok(LdapFilter(Node::Compare(
                Comparison::Equal,
                attribute.to_string(),
                Value(vec![Piece::User]),
            ))),
            false => Err(LdapFault::new("ldapsearchattribute is no name of an attribute")),
        }
    }

    /// Whether the user's name is in it. If it is not, every user is the same entry.
    pub fn names_user(&self) -> bool {
        self.0.names_user()
    }

    pub(super) fn encode(&self, user: &str, out: &mut Vec<u8>) {
        self.0.encode(user.as_bytes(), out);
    }
}

impl Node {
    fn names_user(&self) -> bool {
        match self {
            Node::And(nodes) | Node::Or(nodes) => nodes.iter().any(Node::names_user),
            Node::Not(node) => node.names_user(),
            Node::Compare(_, _, value) | Node::Extensible { value, .. } => value.names_user(),
            Node::Present(_) => false,
            Node::Substrings { first, middle, last, .. } => {
                first.names_user() || last.names_user() || middle.iter().any(Value::names_user)
            }
        }
    }

    fn encode(&self, user: &[u8], out: &mut Vec<u8>) {
        match self {
            Node::And(nodes) => tlv(out, 0xa0, |out| nodes.iter().for_each(|node| node.encode(user, out))),
            Node::Or(nodes) => tlv(out, 0xa1, |out| nodes.iter().for_each(|node| node.encode(user, out))),
            Node::Not(node) => tlv(out, 0xa2, |out| node.encode(user, out)),
            Node::Compare(comparison, attribute, value) => tlv(out, comparison.tag(), |out| {
                octets(out, 0x04, attribute.as_bytes());
                value.encode(0x04, user, out);
            }),
            Node::Present(attribute) => octets(out, 0x87, attribute.as_bytes()),
            Node::Substrings { attribute, first, middle, last } => tlv(out, 0xa4, |out| {
                octets(out, 0x04, attribute.as_bytes());
                tlv(out, 0x30, |out| {
                    first.encode_unless_empty(0x80, user, out);
                    middle.iter().for_each(|value| value.encode(0x81, user, out));
                    last.encode_unless_empty(0x82, user, out);
                });
            }),
            Node::Extensible { attribute, rule, with_dn, value } => tlv(out, 0xa9, |out| {
                if let Some(rule) = rule {
                    octets(out, 0x81, rule.as_bytes());
                }
                if let Some(attribute) = attribute {
                    octets(out, 0x82, attribute.as_bytes());
                }
                value.encode(0x83, user, out);
                if *with_dn {
                    octets(out, 0x84, &[0xff]);
                }
            }),
        }
    }
}

impl Value {
    fn names_user(&self) -> bool {
        self.0.contains(&Piece::User)
    }

    fn encode(&self, tag: u8, user: &[u8], out: &mut Vec<u8>) {
        tlv(out, tag, |out| {
            for piece in &self.0 {
                match piece {
                    Piece::Bytes(bytes) => out.extend_from_slice(bytes),
                    Piece::User => out.extend_from_slice(user),
                }
            }
        });
    }

    fn encode_unless_empty(&self, tag: u8, user: &[u8], out: &mut Vec<u8>) {
        if !self.0.is_empty() {
            self.encode(tag, user, out);
        }
    }
}

/// The text that has not been read yet.
struct Reader<'a> {
    rest: &'a str,
}

type Read<T> = Result<T, &'static str>;

impl Reader<'_> {
    fn eat(&mut self, word: &str) -> bool {
        let rest = self.rest.trim_start().strip_prefix(word);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// One filter in its parentheses; `depth` more may stand in it.
    fn filter(&mut self, depth: usize) -> Read<Node> {
        let depth = depth.checked_sub(1).ok_or("filters stand too deep in each other")?;
        if !self.eat("(") {
            return Err("a parenthesis is missing");
        }
        let node = if self.eat("&") {
            Node::And(self.filters(depth)?)
        } else if self.eat("|") {
            Node::Or(self.filters(depth)?)
        } else if self.eat("!") {
            Node::Not(Box::new(self.filter(depth)?))
        } else {
            self.item()?
        };
        if self.eat(")") { Ok(node) } else { Err("a parenthesis is not closed") }
    }

    fn filters(&mut self, depth: usize) -> Read<Vec<Node>> {
        let mut nodes = Vec::new();
        while self.rest.trim_start().starts_with('(') {
            nodes.push(self.filter(depth)?);
        }
        Ok(nodes)
    }

    /// A comparison, up to the parenthesis behind it.
    fn item(&mut self) -> Read<Node> {
        let (left, behind) = self.rest.split_once('=').ok_or("a comparison has no =")?;
        let end = behind.find(['(', ')']).unwrap_or(behind.len());
        let value = &behind[..end];
        self.rest = &behind[end..];
        let left = left.trim();
        for (sign, comparison) in
            [('>', Comparison::AtLeast), ('<', Comparison::AtMost), ('~', Comparison::About)]
        {
            if let Some(attribute) = left.strip_suffix(sign) {
                return Ok(Node::Compare(comparison, attribute_of(attribute)?, value_of(value)?));
            }
        }
        if let Some(left) = left.strip_suffix(':') {
            return extensible(left, value);
        }
        let attribute = attribute_of(left)?;
        if value == "*" {
            return Ok(Node::Present(attribute));
        }
        let mut parts: Vec<Value> = value.split('*').map(value_of).collect::<Read<_>>()?;
        let last = parts.pop().unwrap_or_default();
        if parts.is_empty() {
            return Ok(Node::Compare(Comparison::Equal, attribute, last));
        }
        let first = parts.remove(0);
        if parts.iter().any(|part| part.0.is_empty())
            || (first.0.is_empty() && parts.is_empty() && last.0.is_empty())
        {
            return Err("two * stand side by side");
        }
        Ok(Node::Substrings { attribute, first, middle: parts, last })
    }
}

/// `attribute:dn:rule`, of which one or the other may be missing.
fn extensible(left: &str, value: &str) -> Read<Node> {
    let mut parts = left.split(':');
    let attribute = Some(parts.next().unwrap_or_default()).filter(|name| !name.is_empty());
    let attribute = attribute.map(attribute_of).transpose()?;
    let mut with_dn = false;
    let mut rule = None;
    for part in parts {
        match part {
            "dn" if !with_dn && rule.is_none() => with_dn = true,
            part if rule.is_none() => rule = Some(attribute_of(part)?),
            _ => return Err("more than one matching rule"),
        }
    }
    if attribute.is_none() && rule.is_none() {
        return Err("neither an attribute nor a matching rule stands before :=");
    }
    Ok(Node::Extensible { attribute, rule, with_dn, value: value_of(value)? })
}

/// RFC 4512, 2.5: a name or numbers with dots, and options behind semicolons.
fn is_attribute(name: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"-.;_".contains(&byte);
    name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric()) && name.bytes().all(is_good)
}

fn attribute_of(name: &str) -> Read<String> {
    let name = name.trim();
    match is_attribute(name) {
        true => Ok(name.to_string()),
        false if name.contains(USER) => Err("$username may stand where a value stands, and nowhere else"),
        false => Err("something that is no name of an attribute stands before a comparison"),
    }
}

/// A value: `\2a` is a byte, `$username` the user's name.
fn value_of(text: &str) -> Read<Value> {
    const WHY: &str = "two hexadecimal digits belong behind a \\ in a value";
    let mut pieces = Vec::new();
    for (at, part) in text.split(USER).enumerate() {
        if at > 0 {
            pieces.push(Piece::User);
        }
        let bytes = unescaped(part, '\\').ok_or(WHY)?;
        if part.contains(SPECIAL) {
            return Err("a ( ) or * in a value is written as \\28, \\29 or \\2a");
        }
        if !bytes.is_empty() {
            pieces.push(Piece::Bytes(bytes));
        }
    }
    Ok(Value(pieces))
}
