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
    let beside = Mark::set(Some(&path), Some(1)).expect("written beside it");
    assert_eq!(fs::read_to_string(&path).expect("there"), "1\n");
    let second = beside.taken();
    assert_eq!(fs::read_to_string(&path).expect("there"), format!("{}\n", std::process::id()));
    drop(second);
    assert!(!path.exists());
}

fn beside(path: &Path) -> PathBuf {
    PathBuf::from(format!("{}.new", path.display()))
}

#[test]
fn who_does_not_take_over_leaves_nothing() {
    let path = path("given-up");
    fs::write(&path, "1\n").expect("another process has it");
    // Left behind by one that was killed.
    fs::write(beside(&path), "2\n").expect("written");
    drop(Mark::set(Some(&path), Some(1)).expect("written beside it"));
    assert_eq!(fs::read_to_string(&path).expect("there"), "1\n");
    assert!(!beside(&path).exists());
    fs::remove_file(&path).expect("it is still there");
}

#[test]
fn a_link_that_lies_in_the_way_is_not_followed() {
    let (path, victim) = (path("link"), path("victim"));
    fs::write(&victim, "precious").expect("written");
    std::os::unix::fs::symlink(&victim, beside(&path)).expect("a link");
    let mark = Mark::set(Some(&path), Some(1)).expect("written beside it").taken();
    assert_eq!(fs::read_to_string(&victim).expect("there"), "precious");
    assert!(fs::symlink_metadata(&path).expect("there").is_file());
    drop(mark);
    fs::remove_file(&victim).expect("it is still there");
}

#[test]
fn one_that_cannot_be_written_is_known_before_anything_is_taken() {
    let path = path("no-folder").join("pid");
    let error = Mark::set(Some(&path), Some(1)).expect_err("there is no folder");
    assert!(error.starts_with(&format!("could not write pidfile '{}': ", path.display())), "{error}");
}

#[test]
fn the_same_file_is_left_to_the_next_process_even_before_that_has_written_it() {
    let path = path("left");
    let folder = std::env::temp_dir();
    let roundabout = folder.join(".").join(path.file_name().expect("a name"));
    for (its, stays) in [(Some(&path), true), (Some(&roundabout), true), (None, false)] {
        let mark = Mark::set(Some(&path), None).expect("written");
        mark.leave_to(its.map(PathBuf::as_path));
        assert_eq!(path.exists(), stays, "{its:?}");
        let _ = fs::remove_file(&path);
    }
    let other = folder.join("another-pidfile");
    Mark::set(Some(&path), None).expect("written").leave_to(Some(&other));
    assert!(!path.exists(), "nobody else has it");
}
