//! `RELEASE HOLD n [IDLE seconds] [CLOSE] [FORCE]` and `CAP [APP name | HOST address] [n [FOR seconds] | OFF]`.

use std::time::Duration;

use plimsoll_pool::{CapOf, CapView};
use plimsoll_proxy::{ReleaseAsk, ReleaseClient, ReleaseExecuting, Reply, Until, Visitor};

use crate::answer;
use crate::failure::Failure;
use crate::pooler::Pooler;
use crate::table::{Column, Row, Table, big, cell, int, text};

/// Most seconds of a cap: a year.
const CAP_SECONDS_MAX: u64 = 366 * 86_400;

const RELEASED: &[Column] = &[big("hold"), text("result")];

const CAPS: &[Column] =
    &[text("of"), text("name"), int("max"), int("used"), int("waiting"), big("left_s"), text("by")];

fn is(word: &str, known: &str) -> bool {
    word.eq_ignore_ascii_case(known)
}

fn said(usage: &'static str) -> Failure {
    Failure::Usage(usage)
}

const RELEASE_USAGE: &str = "RELEASE HOLD number [IDLE seconds] [CLOSE] [FORCE]";
const CAP_USAGE: &str =
    "CAP, CAP APP 'name' number [FOR seconds], CAP HOST 'address' number [FOR seconds], CAP APP 'name' OFF";

/// What is to be released.
pub(crate) fn ask(words: &[String]) -> Result<ReleaseAsk, Failure> {
    let usage = || said(RELEASE_USAGE);
    let mut words = words.iter().map(String::as_str);
    let (what, number) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let hold = number.parse().ok().filter(|_| is(what, "hold")).ok_or_else(usage)?;
    let mut ask = ReleaseAsk {
        hold,
        idle_min: Duration::ZERO,
        client: ReleaseClient::Stays,
        executing: ReleaseExecuting::GoesOn,
    };
    while let Some(word) = words.next() {
        if is(word, "idle") {
            let seconds: u32 = words.next().and_then(|text| text.parse().ok()).ok_or_else(usage)?;
            ask.idle_min = Duration::from_secs(seconds.into());
        } else if is(word, "close") {
            ask.client = ReleaseClient::Closes;
        } else if is(word, "force") {
            ask.executing = ReleaseExecuting::Ends;
        } else {
            return Err(usage());
        }
    }
    Ok(ask)
}

/// `RELEASE`: answered when it is known what has come of it.
pub(crate) fn release(pooler: &dyn Pooler, visitor: Visitor<'_>, words: &[String]) -> Result<Reply, Failure> {
    let ask = ask(words)?;
    let released = pooler.release(ask, &by("RELEASE", visitor))?;
    let of = released.clone();
    let reply = move || {
        let row: Row = vec![cell(ask.hold), cell(of.text())];
        answer::table(&Table { columns: RELEASED.to_vec(), rows: vec![row] })
    };
    Ok(Reply::When(Until::Released(released), Box::new(reply)))
}

fn by(verb: &str, visitor: Visitor<'_>) -> String {
    format!("{verb} by {} ({})", visitor.user, visitor.from)
}

/// `CAP`: without words, the list.
pub(crate) fn cap(pooler: &dyn Pooler, visitor: Visitor<'_>, words: &[String]) -> Result<Reply, Failure> {
    let usage = || said(CAP_USAGE);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (kind, name, rest) = match words.as_slice() {
        [] => return Ok(Reply::Now(answer::table(&caps(&pooler.caps())))),
        [kind, name, rest @ ..] => (*kind, (*name).to_string(), rest),
        [_] => return Err(usage()),
    };
    let of = if is(kind, "app") {
        CapOf::Application(name)
    } else if is(kind, "host") {
        CapOf::Host(name)
    } else {
        return Err(usage());
    };
    match rest {
        [off] if is(off, "off") => {
            if !pooler.remove_cap(&of, &by("CAP", visitor)) {
                return Err(Failure::NoSuchCap);
            }
        }
        [max] => pooler.set_cap(of, number(max)?, None, &by("CAP", visitor)),
        [max, word, seconds] if is(word, "for") => {
            let seconds = seconds.parse().ok().filter(|seconds| (1..=CAP_SECONDS_MAX).contains(seconds));
            let lasting = Duration::from_secs(seconds.ok_or_else(usage)?);
            pooler.set_cap(of, number(max)?, Some(lasting), &by("CAP", visitor));
        }
        _ => return Err(usage()),
    }
    Ok(Reply::Now(answer::table(&caps(&pooler.caps()))))
}

fn number(text: &str) -> Result<u32, Failure> {
    text.parse().map_err(|_| said(CAP_USAGE))
}

fn caps(caps: &[(CapView, Option<Duration>)]) -> Table {
    let row = |(cap, left): &(CapView, Option<Duration>)| {
        let (of, name) = match &cap.of {
            CapOf::Application(name) => ("app", name),
            CapOf::Host(host) => ("host", host),
            CapOf::Grant(id) => ("grant", id),
        };
        vec![
            cell(of),
            cell(name),
            cell(cap.max),
            cell(cap.used),
            cell(cap.waiting),
            left.map(|left| left.as_secs().to_string()),
            cell(&cap.by),
        ]
    };
    Table { columns: CAPS.to_vec(), rows: caps.iter().map(row).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_string).collect()
    }

    #[test]
    fn what_is_to_be_released() {
        let plain = ask(&words("hold 12")).expect("fits");
        assert_eq!((plain.hold, plain.idle_min), (12, Duration::ZERO));
        assert_eq!((plain.client, plain.executing), (ReleaseClient::Stays, ReleaseExecuting::GoesOn));
        let all = ask(&words("HOLD 7 FORCE IDLE 60 CLOSE")).expect("fits");
        assert_eq!((all.hold, all.idle_min), (7, Duration::from_secs(60)));
        assert_eq!((all.client, all.executing), (ReleaseClient::Closes, ReleaseExecuting::Ends));
        for wrong in ["", "hold", "hold x", "client 1", "hold 1 idle", "hold 1 idle -1", "hold 1 now"] {
            assert_eq!(ask(&words(wrong)), Err(Failure::Usage(RELEASE_USAGE)), "{wrong}");
        }
    }
}
