//! A store that breaks off in the middle of a page of a list.

use dipylon_testkit::module::FakeModule;

use crate::backend::Backend;
use crate::relay::Relay;
use crate::world::{MODULE, Site};

/// Times that one page is asked for at most, by the kind whose client tries most.
const MAX_ASKED: u32 = 4;

/// Of a long list all pages before would be lost. A store that breaks off whatever it says is given up.
async fn a_page_that_breaks_off_is_asked_for_again(backend: Backend) {
    let relay = Relay::to(&backend.server).await;
    let site = Site::start(backend.kind, backend.settings(&relay.address.to_string())).await;
    let module = FakeModule::new(MODULE, "v1.0.0");
    site.fill(&module).await;
    relay.break_off(1);
    let whole = site.get("/catalog").await;
    assert_eq!((whole.status.as_u16(), relay.breaks_left()), (200, 0), "{}", whole.text());
    assert!(whole.text().contains(module.path()), "{}", whole.text());
    relay.break_off(u32::MAX);
    let broken = site.get("/catalog").await;
    assert_eq!(broken.status, 503, "{}", broken.text());
    let asked = u32::MAX - relay.breaks_left();
    assert!((2..=MAX_ASKED).contains(&asked), "asked {asked} times");
}

over! { a_page_that_breaks_off_is_asked_for_again:
minio, s3, s3_of_versitygw, gcp, azureblob, external }
