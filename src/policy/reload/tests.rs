use super::*;

/// What `look` says of these looks, one after the other, at a file that was read as 0.
fn said(looks: &[u32]) -> Vec<bool> {
    let mut state = Looks::new(0);
    let mut look = |now: &u32| {
        let read = state.look(*now);
        if read {
            state.reads(*now);
        }
        read
    };
    looks.iter().map(&mut look).collect()
}

#[test]
fn what_has_not_changed_is_not_read() {
    assert_eq!(said(&[0, 0, 0]), [false; 3]);
}

#[test]
fn what_has_changed_is_read_once_it_looks_the_same_twice() {
    assert_eq!(said(&[0, 1, 1, 1]), [false, false, true, false]);
    assert_eq!(said(&[1, 2, 3, 3, 3]), [false, false, false, true, false]);
}

#[test]
fn what_is_as_it_was_read_when_it_comes_to_rest_is_not_read() {
    assert_eq!(said(&[1, 0, 0]), [false; 3]);
    assert_eq!(said(&[1, 1, 0, 0]), [false, true, false, true]);
}

#[test]
fn what_is_read_on_demand_is_not_read_again_by_a_look() {
    let mut state = Looks::new(0);
    assert!(!state.look(1));
    state.reads(2);
    assert!(!state.look(2) && !state.look(2));
    assert!(!state.look(1) && state.look(1), "as it was before is another change");
}

#[test]
fn a_file_that_is_replaced_moved_or_written_looks_other() {
    let folder = tempfile::tempdir().unwrap();
    let (path, other) = (folder.path().join("link"), folder.path().join("other"));
    assert_eq!(Stamp::of(&path), Stamp(None));
    std::fs::write(folder.path().join("first"), "1").unwrap();
    std::os::unix::fs::symlink(folder.path().join("first"), &path).unwrap();
    let first = Stamp::of(&path);
    assert!(first.0.is_some());
    assert_eq!(Stamp::of(&path), first);
    // As a config map is swapped: another link takes the name of the first.
    std::fs::write(folder.path().join("second"), "2").unwrap();
    std::os::unix::fs::symlink(folder.path().join("second"), &other).unwrap();
    std::fs::rename(&other, &path).unwrap();
    let second = Stamp::of(&path);
    assert_ne!(second, first);
    std::fs::write(folder.path().join("second"), "22").unwrap();
    assert_ne!(Stamp::of(&path), second);
    std::fs::remove_file(folder.path().join("second")).unwrap();
    assert_eq!(Stamp::of(&path), Stamp(None));
}

#[test]
fn what_has_changed_since_it_was_looked_at_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mode.hcl");
    std::fs::write(&path, "mode = ").unwrap();
    let half = Stamp::of(&path);
    assert_eq!(read_steady(&path, half), Some(Ok("mode = ".to_owned())));
    std::fs::write(&path, "mode = 1").unwrap();
    assert_eq!(read_steady(&path, half), None, "it was written");
    let whole = Stamp::of(&path);
    assert_eq!(read_steady(&path, whole), Some(Ok("mode = 1".to_owned())));
    std::fs::remove_file(&path).unwrap();
    assert_eq!(read_steady(&path, whole), None, "it is gone");
    let reason = read_steady(&path, Stamp::of(&path)).expect("it stays so").expect_err("gone");
    assert!(reason.contains("cannot be read"), "{reason}");
}
