use std::future::Future as _;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::*;

const RIGHT: &str = "correct horse battery staple";

fn passwords() -> Passwords {
    Passwords::new(&[9; 32]).expect("computed")
}

fn secret(text: &str) -> Secret {
    Secret::from_text(text)
}

#[tokio::test]
async fn a_password_is_kept_as_owasp_asks() {
    let phc = passwords().hash(secret(RIGHT), [1; SALT_BYTES]).await.expect("computed");
    assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
    assert!(!phc.contains("horse"));
    assert_ne!(phc, passwords().hash(secret(RIGHT), [2; SALT_BYTES]).await.expect("computed"));
}

#[tokio::test]
async fn right_is_told_from_wrong() {
    let passwords = passwords();
    let phc = passwords.hash(secret(RIGHT), [1; SALT_BYTES]).await.expect("computed");
    for (typed, verdict) in [
        (RIGHT, Verdict::Right),
        ("correct horse battery stapl", Verdict::Wrong),
        ("Correct horse battery staple", Verdict::Wrong),
        ("", Verdict::Wrong),
        (&"x".repeat(PASSWORD_BYTES_MAX + 1), Verdict::Wrong),
    ] {
        assert_eq!(passwords.verify(secret(typed), Some(phc.clone())).await, Ok(verdict), "{typed}");
    }
    assert_eq!(passwords.verify(secret(RIGHT), None).await, Ok(Verdict::Wrong));
    // Not even the password that the hash for nobody was made of lets anybody in.
    let nobody = Secret::new([9; 32 - SALT_BYTES]);
    assert_eq!(passwords.verify(nobody, None).await, Ok(Verdict::Wrong));
}

#[tokio::test]
async fn an_unknown_name_takes_as_long_as_a_wrong_password() {
    let passwords = passwords();
    let phc = passwords.hash(secret(RIGHT), [1; SALT_BYTES]).await.expect("computed");
    let (mut known, mut unknown) = (Duration::MAX, Duration::MAX);
    for _ in 0..5 {
        let began = Instant::now();
        assert_eq!(passwords.verify(secret("wrong password"), Some(phc.clone())).await, Ok(Verdict::Wrong));
        known = known.min(began.elapsed());
        let began = Instant::now();
        assert_eq!(passwords.verify(secret("wrong password"), None).await, Ok(Verdict::Wrong));
        unknown = unknown.min(began.elapsed());
    }
    assert!(unknown * 3 > known && known * 3 > unknown, "{known:?} {unknown:?}");
}

#[tokio::test]
async fn what_is_set_has_a_length() {
    let passwords = passwords();
    let umlauts = "ä".repeat(PASSWORD_CHARS_MIN - 1);
    for (typed, fault) in [
        ("", PasswordFault::TooShort),
        ("elevenchars", PasswordFault::TooShort),
        (umlauts.as_str(), PasswordFault::TooShort),
        (&"x".repeat(PASSWORD_BYTES_MAX + 1), PasswordFault::TooLong),
    ] {
        assert_eq!(passwords.hash(secret(typed), [1; SALT_BYTES]).await, Err(fault), "{typed}");
    }
    assert_eq!(check_new(&secret("twelve chars")), Ok(()));
    assert_eq!(check_new(&Secret::new([0xff; 20])), Err(PasswordFault::TooShort));
}

#[tokio::test]
async fn what_the_store_has_is_bounded() {
    let passwords = passwords();
    let hash = "$c29tZXNhbHRzb21lc2FsdA$SBHMqnvqvQFN0fFGfRcXMBlmhvDPuLdYwn9p/1b3cNs";
    for head in [
        "",
        "x",
        "$argon2i$v=19$m=19456,t=2,p=1",
        "$argon2d$v=19$m=19456,t=2,p=1",
        "$argon2id$v=19$m=4000000,t=2,p=1",
        "$argon2id$v=19$m=19456,t=4000000,p=1",
        "$argon2id$v=19$m=19456,t=2,p=200",
        "$scrypt$ln=16,r=8,p=1",
    ] {
        let phc = format!("{head}{hash}");
        assert_eq!(
            passwords.verify(secret(RIGHT), Some(phc.clone())).await,
            Err(PasswordFault::Unreadable),
            "{phc}"
        );
    }
    let bare = "$argon2id$v=19$m=19456,t=2,p=1".to_owned();
    assert_eq!(passwords.verify(secret(RIGHT), Some(bare)).await, Err(PasswordFault::Unreadable));
}

#[tokio::test]
async fn many_at_once_are_told_to_come_again() {
    let passwords = passwords();
    let asked = WAITING_MAX + 20;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..asked {
        let passwords = passwords.clone();
        tasks.spawn(async move { passwords.verify(secret("wrong password"), None).await });
    }
    // All were asked before the first has its answer: this runtime has one thread, and it is here.
    let answers = tasks.join_all().await;
    let busy = answers.iter().filter(|answer| **answer == Err(PasswordFault::Busy)).count();
    assert_eq!(busy, asked - WAITING_MAX);
    assert_eq!(answers.iter().filter(|answer| **answer == Ok(Verdict::Wrong)).count(), WAITING_MAX);
    assert_eq!(passwords.verify(secret(RIGHT), None).await, Ok(Verdict::Wrong));
}

#[tokio::test]
async fn two_are_computed_at_once() {
    let passwords = passwords();
    let turns = Arc::clone(&passwords.computing).acquire_many_owned(2).await.expect("open");
    let mut third = std::pin::pin!(passwords.verify(secret(RIGHT), None));
    let asked = std::future::poll_fn(|context| Poll::Ready(third.as_mut().poll(context))).await;
    assert!(asked.is_pending());
    drop(turns);
    // One of the two turns went to who waited.
    assert_eq!(passwords.computing.available_permits(), AT_ONCE - 1);
    assert_eq!(third.await, Ok(Verdict::Wrong));
}
