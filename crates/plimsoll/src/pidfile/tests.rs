use super::*;

/// A path where nothing is.
fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("plimsoll-pidfile-{name}-{}", std::process::id()))
}

#[test]
fn a_pidfile_has_the_id_and_goes_with_the_process() {
    let path = path("own");
    free(&path).expect("there is none");
    let pidfile = Pidfile::write(&path).expect("written");
    assert_eq!(fs::read_to_string(&path).expect("there"), format!("{}\n", std::process::id()));
    let error = Pidfile::write(&path).expect_err("it is there");
    assert!(error.starts_with(&format!("could not write pidfile '{}': ", path.display())), "{error}");
    drop(pidfile);
    assert!(!path.exists());
}

#[test]
fn one_that_was_left_behind_is_removed() {
    let path = path("stale");
    // Above the highest id Linux gives (4194304).
    for text in ["5000000\n".to_string(), format!("{}\n", std::process::id())] {
        fs::write(&path, text).expect("written");
        free(&path).expect("nobody has it");
        assert!(!path.exists());
    }
}

#[test]
fn one_of_a_living_process_is_respected() {
    let path = path("alive");
    for text in ["1\n", "", "no number", "-1"] {
        fs::write(&path, text).expect("written");
        let error = free(&path).expect_err("somebody may have it");
        assert_eq!(error, format!("pidfile '{}' exists, another instance running?", path.display()));
    }
    fs::remove_file(&path).expect("it is still there");
}

#[test]
fn one_that_was_taken_over_stays_when_its_first_owner_goes() {
    let path = path("taken");
    let first = Pidfile::write(&path).expect("written");
    fs::write(&path, "1\n").expect("another process has it now");
    drop(first);
    assert_eq!(fs::read_to_string(&path).expect("there"), "1\n");
    let second = Pidfile::take_over(&path).expect("taken over");
    assert_eq!(fs::read_to_string(&path).expect("there"), format!("{}\n", std::process::id()));
    drop(second);
    assert!(!path.exists());
}
