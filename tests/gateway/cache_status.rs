//! `Cache-Status` through tiers: each cache on the way has its say, the nearest to the origin first.

use crate::world::{MODULE, Setup, VERSION, file, until};

const MISS: &str = "dipylon; fwd=uri-miss; stored; detail=miss_leader";
const HIT: &str = "dipylon; hit; detail=hit_storage";

#[tokio::test]
async fn a_gateway_behind_a_gateway_adds_its_word_to_the_other_s() {
    let central = Setup::disk().start().await;
    central.add_module();
    let list = central.gateway.url();
    let branch = Setup::disk().env("GOPROXY", &list).env("GONOSUMDB", MODULE).start().await;
    for (below, own) in [(MISS, MISS), (HIT, HIT)] {
        let zip = branch.get_ok(&file("zip")).await;
        let said = zip.header("cache-status").expect("told");
        match own {
            MISS => assert_eq!(said, format!("{below}, {own}")),
            _ => assert_eq!(said, own, "nobody else was asked"),
        }
        branch.until_stored(MODULE, VERSION).await;
        branch.until_idle().await;
    }
}

#[tokio::test]
async fn a_near_tier_and_the_far_store_have_their_say() {
    let setup = Setup::disk().env("DIPYLON_TIERED_DIRECTORY", "{folder}/near");
    let mut world = setup.start().await;
    world.add_module();
    world.get_ok(&file("zip")).await;
    world.until_stored(MODULE, VERSION).await;
    world.until_idle().await;
    until("it is found near", async || {
        let zip = world.get_ok(&file("zip")).await;
        zip.header("cache-status") == Some("dipylon-near; hit, dipylon; hit; detail=hit_storage")
    })
    .await;
    std::fs::remove_dir_all(world.file("near")).expect("the copies go");
    world.restart().await;
    let zip = world.get_ok(&file("zip")).await;
    let wanted = "dipylon-far; hit, dipylon-near; fwd=uri-miss, dipylon; hit; detail=hit_storage";
    assert_eq!(zip.header("cache-status"), Some(wanted));
}
