//! Whether a text ends a transaction, by its words.

use crate::text::{Lexer, Token};

/// What a text means to a client that is in a failed transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    /// There is no statement in it.
    Empty,
    /// It does not end the transaction, or begins another one with it (`AND CHAIN`).
    No,
    /// It ends the transaction and does nothing else.
    Alone,
    /// It ends the transaction, and another statement begins at this byte.
    Then(usize),
}

/// What PostgreSQL takes for an end in a failed transaction: COMMIT, END, ROLLBACK, ABORT and PREPARE TRANSACTION, all of
/// which roll back there (xact.c, `EndTransactionBlock`). ROLLBACK TO is none, nor are COMMIT and ROLLBACK PREPARED.
pub(crate) fn ending_of(text: &[u8]) -> Ends {
    let mut lexer = Lexer::new(text);
    let mut token = next_statement(&mut lexer);
    let Token::Word(first) = token else {
        return if token == Token::End { Ends::Empty } else { Ends::No };
    };
    let is = |token: Token<'_>, word: &str| matches!(token, Token::Word(text) if text.eq_ignore_ascii_case(word.as_bytes()));
    let names = |words: &[&str]| words.iter().any(|word| first.eq_ignore_ascii_case(word.as_bytes()));
    token = lexer.next();
    if names(&["prepare"]) {
        if !is(token, "transaction") || lexer.next() != Token::Literal {
            return Ends::No;
        }
        token = lexer.next();
    } else if names(&["commit", "end", "rollback", "abort"]) {
        if is(token, "work") || is(token, "transaction") {
            token = lexer.next();
        }
        if is(token, "and") {
            if !is(lexer.next(), "no") || !is(lexer.next(), "chain") {
                return Ends::No;
            }
            token = lexer.next();
        }
    } else {
        return Ends::No;
    }
    match token {
        Token::End => Ends::Alone,
        Token::Symbol(b';') => match next_statement(&mut lexer) {
            Token::End => Ends::Alone,
            _ => Ends::Then(lexer.began()),
        },
        _ => Ends::No,
    }
}

/// The first token of the next statement that is not empty.
fn next_statement<'a>(lexer: &mut Lexer<'a>) -> Token<'a> {
    loop {
        match lexer.next() {
            Token::Symbol(b';') => {}
            token => return token,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Ends, ending_of};

    #[test]
    fn what_ends_a_failed_transaction() {
        let alone = [
            "ROLLBACK",
            "commit",
            "End;",
            " abort work ;; ",
            "/* site: a */ rollback transaction -- b",
            "COMMIT AND NO CHAIN",
            "rollback and no chain;",
            ";;end",
            "prepare transaction 'x''y'",
            "PREPARE TRANSACTION $a$x$a$;",
        ];
        for text in alone {
            assert_eq!(ending_of(text.as_bytes()), Ends::Alone, "{text}");
        }
        let no = [
            "select 1",
            "rollback to a",
            "rollback to savepoint a",
            "rollback work to a",
            "ROLLBACK AND CHAIN",
            "commit transaction and chain",
            "commit prepared 'a'",
            "rollback prepared 'a'",
            "prepare transaction",
            "prepare a as select 1",
            "\"rollback\"",
            "rollback 1",
            "rollbac",
            "rollback /* torn",
            "'rollback'",
            "begin; rollback",
            "release a",
        ];
        for text in no {
            assert_eq!(ending_of(text.as_bytes()), Ends::No, "{text}");
        }
        for text in ["", " ; ", "-- nothing", "/* rollback */;"] {
            assert_eq!(ending_of(text.as_bytes()), Ends::Empty, "{text}");
        }
    }

    #[test]
    fn what_comes_behind_the_end() {
        let rest = |text: &'static str| match ending_of(text.as_bytes()) {
            Ends::Then(at) => &text[at..],
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(rest("rollback; select 1"), "select 1");
        assert_eq!(rest("end;; /* a */ ; begin; select 2"), "begin; select 2");
        assert_eq!(rest("rollback; 'torn"), "'torn");
        assert_eq!(rest("commit;\n\u{fc}"), "\u{fc}");
    }
}
