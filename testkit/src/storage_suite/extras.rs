//! Files of the gateway's own beside the versions.

use bytes::Bytes;
use futures::future::join_all;

use super::Subject;
use crate::module::FakeModule;

/// Writers of one extra.
const WRITERS: u8 = 16;
/// Large enough that a write is no single step anywhere.
const VALUE_BYTES: usize = 200_000;

/// Absent is no error.
pub async fn an_extra_that_was_never_written_is_absent(subject: Subject) {
    assert_eq!(subject.storage().read_extra("none").await.unwrap(), None);
    assert_eq!(subject.storage().read_extra("tiles/8/0/000").await.unwrap(), None);
    for long in [format!("tiles/{}/x", "y".repeat(300)), format!("tiles{}", "/yyyy".repeat(900))] {
        assert_eq!(subject.storage().read_extra(&long).await.unwrap(), None);
    }
}

/// What is removed is absent, what lies beside it stays, and removing twice is no error.
pub async fn an_extra_that_is_removed_is_absent(subject: Subject) {
    let value = Bytes::from_static(b"x");
    for key in ["early/a/b/@/v1/info", "early/a/b/@/v1/mod"] {
        subject.storage().write_extra(key, value.clone()).await.unwrap();
    }
    for _ in 0..2 {
        subject.storage().remove_extra("early/a/b/@/v1/info").await.unwrap();
    }
    assert_eq!(subject.storage().read_extra("early/a/b/@/v1/info").await.unwrap(), None);
    assert_eq!(subject.storage().read_extra("early/a/b/@/v1/mod").await.unwrap(), Some(value));
    subject.storage().remove_extra("early/a/b/@/v1/mod").await.unwrap();
    subject.storage().remove_extra("never/written").await.unwrap();
}

/// One of them makes the directories that the other takes away.
pub async fn writers_and_removers_of_neighbours_do_not_disturb_each_other(subject: Subject) {
    let value = Bytes::from_static(b"x");
    let write = async {
        for number in 0..50 {
            let key = format!("early/a/b/@/v{number}/info");
            subject.storage().write_extra(&key, value.clone()).await.unwrap();
        }
    };
    let remove = async {
        for number in 0..50 {
            let key = format!("early/a/b/@/w{number}/info");
            subject.storage().write_extra(&key, value.clone()).await.unwrap();
            subject.storage().remove_extra(&key).await.unwrap();
        }
    };
    futures::join!(write, remove);
    for number in 0..50 {
        let key = format!("early/a/b/@/v{number}/info");
        assert_eq!(subject.storage().read_extra(&key).await.unwrap(), Some(value.clone()), "{key}");
    }
}

/// Keys have elements, and bytes are bytes.
pub async fn an_extra_reads_back(subject: Subject) {
    let value = Bytes::from_static(b"\x00\xffnot text\n");
    for key in ["plain", "tiles/sum/8/0/x001/234", "early/example.com/~A/b@v1.0.0+x.mod"] {
        subject.storage().write_extra(key, value.clone()).await.unwrap();
        assert_eq!(subject.storage().read_extra(key).await.unwrap(), Some(value.clone()), "{key}");
    }
    assert_eq!(subject.storage().read_extra("tiles/sum").await.ok().flatten(), None);
}

/// Extras change, unlike versions.
pub async fn the_last_write_of_an_extra_stays(subject: Subject) {
    for value in ["first and long", "second", ""] {
        let value = Bytes::from_static(value.as_bytes());
        subject.storage().write_extra("queue/1", value.clone()).await.unwrap();
        assert_eq!(subject.storage().read_extra("queue/1").await.unwrap(), Some(value));
    }
}

/// Nothing is something.
pub async fn an_empty_extra_is_not_an_absent_one(subject: Subject) {
    subject.storage().write_extra("mark", Bytes::new()).await.unwrap();
    assert_eq!(subject.storage().read_extra("mark").await.unwrap(), Some(Bytes::new()));
}

/// What looks like a version among the extras is none.
pub async fn extras_are_neither_listed_nor_catalogued(subject: Subject) {
    for name in ["v1.0.0.info", "go.mod", "source.zip"] {
        let key = format!("example.com/a/v1.0.0/{name}");
        subject.storage().write_extra(&key, Bytes::from_static(b"x")).await.unwrap();
    }
    assert!(subject.list("example.com/a").await.is_empty());
    subject.assert_absent(&FakeModule::new("example.com/a", "v1.0.0")).await;
    if subject.has_catalog {
        assert!(subject.catalog(0).await.is_empty());
    }
}

/// A reader gets one of the values, whole.
pub async fn racing_writers_of_an_extra_leave_one_of_their_values(subject: Subject) {
    let storage = subject.storage();
    let writes = (0..WRITERS).map(|number| async move {
        let value = Bytes::from(vec![number; VALUE_BYTES + usize::from(number)]);
        storage.write_extra("raced", value).await.unwrap();
        let read = storage.read_extra("raced").await.unwrap().expect("it was written");
        let writer = read[0];
        assert_eq!(read.len(), VALUE_BYTES + usize::from(writer), "of writer {writer}");
        assert!(read.iter().all(|byte| *byte == writer), "bytes of more than one writer");
    });
    join_all(writes).await;
}

/// A key is a relative path of plain elements; anything else is a defect that must not get through.
pub async fn keys_that_lead_elsewhere_are_refused(subject: Subject) {
    let long = "a/".repeat(2_000) + "a";
    for key in ["", "/etc/passwd", "../up", "a/../../b", "a//b", "a/", ".", "a\\b", "a\0b", &long] {
        let written = subject.storage().write_extra(key, Bytes::from_static(b"x")).await;
        assert!(written.is_err(), "{key:?} was written");
        let read = subject.storage().read_extra(key).await;
        // What is too long for a name cannot have been written: it is absent.
        let refused = if key == long { matches!(read, Ok(None)) } else { read.is_err() };
        assert!(refused, "{key:?} was read");
    }
}
