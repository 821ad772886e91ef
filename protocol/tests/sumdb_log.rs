//! Hashes, proofs, heads and tiles against RFC 6962 written down plainly.

use bytes::Bytes;
use dipylon_protocol::sumdb::Tile;
use dipylon_protocol::sumdb::proof::{check_record, check_tree};
use dipylon_protocol::sumdb::tile::{FULL_WIDTH, ReadPlan};
use dipylon_protocol::sumdb::tlog::{
    Hash, MAX_TREE_SIZE, Node, TlogError, TreeHead, format_record, node_hash, parse_record,
    record_hash,
};
use dipylon_protocol::sumdb::tree::Tree;
use proptest::prelude::*;

fn text(n: u64) -> String {
    format!("example.com/m{n} v1.0.0 h1:x\nexample.com/m{n} v1.0.0/go.mod h1:y\n")
}

fn tree(size: u64) -> Tree {
    let mut tree = Tree::new();
    (0..size).for_each(|n| assert_eq!(tree.append(&text(n)), Ok(n)));
    tree
}

fn leaves(size: u64) -> Vec<Hash> {
    (0..size).map(|n| record_hash(text(n).as_bytes())).collect()
}

/// RFC 6962 §2.1, as it is written.
fn plain_hash(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::of_empty_tree(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node_hash(plain_hash(left), plain_hash(right))
        }
    }
}

/// RFC 6962 §2.1.1.
fn plain_record_proof(leaves: &[Hash], n: usize) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    let (mut proof, other) = if n < left.len() {
        (plain_record_proof(left, n), right)
    } else {
        (plain_record_proof(right, n - left.len()), left)
    };
    proof.push(plain_hash(other));
    proof
}

/// RFC 6962 §2.1.2.
fn plain_tree_proof(leaves: &[Hash], old: usize, is_whole: bool) -> Vec<Hash> {
    if old == leaves.len() {
        return if is_whole { Vec::new() } else { vec![plain_hash(leaves)] };
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    let (mut proof, other) = if old <= left.len() {
        (plain_tree_proof(left, old, is_whole), right)
    } else {
        (plain_tree_proof(right, old - left.len(), false), left)
    };
    proof.push(plain_hash(other));
    proof
}

/// The largest power of two below `len`.
fn split(len: usize) -> usize {
    len.next_power_of_two() / 2
}

fn from_hex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn the_published_vectors_of_certificate_transparency_hold() {
    let records = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ];
    let roots = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let leaves: Vec<Hash> = records.iter().map(|record| record_hash(&from_hex(record))).collect();
    for (size, root) in roots.iter().enumerate() {
        assert_eq!(plain_hash(&leaves[..size]).0.to_vec(), from_hex(root), "{size} records");
    }
}

#[test]
fn every_tree_up_to_300_records_has_the_plain_hash() {
    let (tree, leaves) = (tree(300), leaves(300));
    for size in 0..=300 {
        let want = TreeHead { size, hash: plain_hash(&leaves[..size as usize]) };
        assert_eq!(tree.head_at(size), Some(want));
    }
    assert_eq!(tree.head_at(301), None);
    assert_eq!(Some(tree.head()), tree.head_at(300));
}

#[test]
fn every_record_proof_is_the_plain_one_and_holds() {
    let (tree, leaves) = (tree(300), leaves(300));
    for size in (1..=70).chain([127, 128, 129, 255, 256, 257, 300]) {
        let head = tree.head_at(size).unwrap();
        for n in 0..size {
            let proof = tree.prove_record(size, n).unwrap();
            assert_eq!(
                proof,
                plain_record_proof(&leaves[..size as usize], n as usize),
                "{n} of {size}"
            );
            assert_eq!(check_record(&proof, &head, n, leaves[n as usize]), Ok(()), "{n} of {size}");
        }
        assert_eq!(tree.prove_record(size, size), None);
    }
    assert_eq!(tree.prove_record(301, 0), None);
}

#[test]
fn every_tree_proof_is_the_plain_one_and_holds() {
    let (tree, leaves) = (tree(300), leaves(300));
    for size in (1..=70).chain([127, 128, 129, 255, 256, 257, 300]) {
        let head = tree.head_at(size).unwrap();
        for old in 1..=size {
            let proof = tree.prove_tree(size, old).unwrap();
            assert_eq!(
                proof,
                plain_tree_proof(&leaves[..size as usize], old as usize, true),
                "{old} of {size}"
            );
            assert_eq!(
                check_tree(&proof, &head, &tree.head_at(old).unwrap()),
                Ok(()),
                "{old} of {size}"
            );
        }
    }
}

#[test]
fn a_record_proof_with_anything_changed_does_not_hold() {
    let (tree, leaves) = (tree(40), leaves(40));
    for (size, n) in [(1, 0), (2, 1), (7, 3), (8, 0), (33, 32), (40, 17)] {
        let (head, leaf) = (tree.head_at(size).unwrap(), leaves[n as usize]);
        let proof = tree.prove_record(size, n).unwrap();
        for at in 0..proof.len() {
            let mut wrong = proof.clone();
            wrong[at].0[31] ^= 1;
            assert_eq!(check_record(&wrong, &head, n, leaf), Err(TlogError::InvalidProof));
            wrong.remove(at);
            assert_eq!(check_record(&wrong, &head, n, leaf), Err(TlogError::InvalidProof));
        }
        let longer = [&proof[..], &[leaf]].concat();
        assert_eq!(check_record(&longer, &head, n, leaf), Err(TlogError::InvalidProof));
        assert_eq!(
            check_record(&proof, &head, n, record_hash(b"other\n")),
            Err(TlogError::InvalidProof)
        );
        for other in (0..size).filter(|&other| other != n) {
            assert!(
                check_record(&proof, &head, other, leaf).is_err(),
                "{n} of {size} passes as {other}"
            );
        }
    }
}

#[test]
fn a_tree_proof_with_anything_changed_does_not_hold() {
    let tree = tree(40);
    for (size, old) in [(2, 1), (7, 3), (8, 4), (33, 32), (40, 17), (40, 40)] {
        let (head, old_head) = (tree.head_at(size).unwrap(), tree.head_at(old).unwrap());
        let proof = tree.prove_tree(size, old).unwrap();
        for at in 0..proof.len() {
            let mut wrong = proof.clone();
            wrong[at].0[0] ^= 1;
            assert_eq!(check_tree(&wrong, &head, &old_head), Err(TlogError::InvalidProof));
            wrong.remove(at);
            assert_eq!(check_tree(&wrong, &head, &old_head), Err(TlogError::InvalidProof));
        }
        let longer = [&proof[..], &[head.hash]].concat();
        assert_eq!(check_tree(&longer, &head, &old_head), Err(TlogError::InvalidProof));
        let other = TreeHead { hash: record_hash(b"other\n"), ..old_head };
        assert_eq!(check_tree(&proof, &head, &other), Err(TlogError::InvalidProof));
    }
}

#[test]
fn questions_outside_a_tree_are_refused() {
    let hash = Hash::of_empty_tree();
    let head = |size| TreeHead { size, hash };
    for (size, n) in [(0, 0), (5, 5), (5, u64::MAX), (u64::MAX, 0)] {
        assert!(matches!(
            check_record(&[], &head(size), n, hash),
            Err(TlogError::NotInTree { .. })
        ));
    }
    for (size, old) in [(0, 0), (5, 0), (5, 6), (u64::MAX, 1)] {
        assert!(matches!(
            check_tree(&[], &head(size), &head(old)),
            Err(TlogError::NotInTree { .. })
        ));
    }
    assert_eq!(
        check_record(&[hash; 62], &head(MAX_TREE_SIZE), 1, hash),
        Err(TlogError::InvalidProof)
    );
    assert_eq!(
        check_tree(&[hash; 62], &head(MAX_TREE_SIZE), &head(1)),
        Err(TlogError::InvalidProof)
    );
    assert!(ReadPlan::new(head(u64::MAX), &[]).is_err());
    assert!(ReadPlan::new(head(300), &[Node { level: 8, n: 1 }]).is_err());
    assert!(ReadPlan::new(head(300), &[Node { level: 63, n: 0 }]).is_err());
    assert!(ReadPlan::new(head(300), &[Node { level: u32::MAX, n: u64::MAX }]).is_err());
    assert!(ReadPlan::new(head(0), &[Node::record(0)]).is_err());
    assert!(ReadPlan::new(head(MAX_TREE_SIZE), &[Node::record(MAX_TREE_SIZE - 1)]).is_ok());
}

#[test]
fn stored_indexes_are_dense_and_in_order_of_completion() {
    let mut next = 0;
    for n in 0..5000_u64 {
        for level in 0..=n.trailing_ones() {
            assert_eq!(Node { level, n: n >> level }.stored_index(), Some(next));
            next += 1;
        }
    }
    assert_eq!(Node { level: 62, n: 0 }.stored_index(), Some((1 << 63) - 2));
    for (level, n) in [(0, u64::MAX), (63, 0), (64, 0), (62, 1), (u32::MAX, 0), (3, 1 << 60)] {
        assert_eq!(Node { level, n }.stored_index(), None);
    }
}

#[test]
fn tile_paths_print_as_they_parse() {
    let tile = |level, n, width| Tile { level, n, width };
    for (path, want) in [
        ("tile/8/0/000", tile(Some(0), 0, 256)),
        ("tile/8/4/x001/x234/067", tile(Some(4), 1_234_067, 256)),
        ("tile/8/4/x001/x234/067.p/1", tile(Some(4), 1_234_067, 1)),
        ("tile/8/0/x001/000.p/255", tile(Some(0), 1000, 255)),
        ("tile/8/data/999", tile(None, 999, 256)),
        ("tile/8/63/005", tile(Some(63), 5, 256)),
    ] {
        assert_eq!(Tile::parse(path), Ok(want));
        assert_eq!(want.to_string(), path);
    }
}

#[test]
fn other_spellings_of_tile_paths_are_refused() {
    for path in [
        "",
        "tile",
        "tile/8/0",
        "tile/8/0/",
        "/tile/8/0/000",
        "tile/8/0/000/",
        "tile/8/0/0",
        "tile/8/0/0000",
        "tile/8/0/x000/000",
        "tile/8/0/001/000",
        "tile/8/0/x001",
        "tile/8/0/x001/x000",
        "tile/8/0/000.p/0",
        "tile/8/0/000.p/256",
        "tile/8/0/000.p/01",
        "tile/8/0/000.p/+1",
        "tile/8/0/000.p",
        "tile/8/0/000.p/1/1",
        "tile/8/00/000",
        "tile/8/64/000",
        "tile/8/-1/000",
        "tile/9/0/000",
        "tile/08/0/000",
        "tile/8/Data/000",
        "tile/8/0/+01",
        "tile/8/0/x1/000",
        "tile/8/0/..",
        "tile/8/0/x999/x999/x999/x999/x999/x999/999",
        "tile/8/0/x001/x000/x000/x000/x000/x000/x000/000",
    ] {
        assert_eq!(Tile::parse(path), Err(TlogError::Malformed("tile path")), "{path}");
    }
}

#[test]
fn tree_heads_print_as_they_parse() {
    let text = "go.sum database tree\n71179353\nnND/nri/U0xuHUrYSy0HtMeal2vzD9V4k/BO79C+QeI=\n";
    let head = TreeHead::parse(text).unwrap();
    assert_eq!((head.size, head.format().as_str()), (71_179_353, text));
    assert_eq!(TreeHead::parse(&format!("{text}something new\n")), Ok(head));
}

#[test]
fn malformed_tree_heads_are_refused() {
    let hash = "nND/nri/U0xuHUrYSy0HtMeal2vzD9V4k/BO79C+QeI=";
    for text in [
        String::new(),
        format!("go.sum database tree\n1\n{hash}"),
        format!("go.sum database tree v2\n1\n{hash}\n"),
        format!("go.sum database tree\n-1\n{hash}\n"),
        format!("go.sum database tree\n+1\n{hash}\n"),
        format!("go.sum database tree\n01\n{hash}\n"),
        format!("go.sum database tree\n\n{hash}\n"),
        format!("go.sum database tree\n9223372036854775807\n{hash}\n"),
        format!("go.sum database tree\n99999999999999999999\n{hash}\n"),
        "go.sum database tree\n1\nnND/\n".to_owned(),
        "go.sum database tree\n1\n!\n".to_owned(),
    ] {
        assert!(matches!(TreeHead::parse(&text), Err(TlogError::Malformed(_))), "{text:?}");
    }
}

#[test]
fn records_parse_up_to_the_blank_line() {
    let parsed = parse_record(b"17\na b c\nd e f\n\ngo.sum database tree\n");
    assert_eq!(parsed, Ok((17, "a b c\nd e f\n", &b"go.sum database tree\n"[..])));
    assert_eq!(format_record(17, "a b c\nd e f\n").as_deref(), Ok("17\na b c\nd e f\n\n"));
    let malformed: [&[u8]; 9] = [
        b"",
        b"17",
        b"17\n",
        b"17\na\n",
        b"x\na\n\n",
        b"-1\na\n\n",
        b"17\na\tb\n\n",
        b"17\n\xff\n\n",
        b"017\na\n\n",
    ];
    for answer in malformed {
        assert_eq!(
            parse_record(answer),
            Err(TlogError::Malformed("record")),
            "{}",
            answer.escape_ascii()
        );
    }
    for text in ["", "a", "a\n\nb\n", "a\tb\n"] {
        assert_eq!(format_record(0, text), Err(TlogError::Malformed("record")));
    }
}

fn read(tree: &Tree, head: TreeHead, wanted: &[Node]) -> Result<Vec<Hash>, TlogError> {
    let plan = ReadPlan::new(head, wanted)?;
    let data: Vec<Bytes> =
        plan.tiles().iter().map(|tile| tree.tile(tile).unwrap().into()).collect();
    plan.check(&data)
}

#[test]
fn hashes_read_through_tiles_are_those_of_the_tree() {
    let tree = tree(70_000);
    for size in (0..600).chain([65_535, 65_536, 65_537, 66_000, 70_000]) {
        let head = tree.head_at(size).unwrap();
        let mut wanted: Vec<Node> =
            [0, 1, 255, 256, size / 2, size.saturating_sub(1)].map(Node::record).to_vec();
        wanted.extend([
            Node { level: 1, n: 0 },
            Node { level: 8, n: 1 },
            Node { level: 9, n: 0 },
            Node { level: 16, n: 0 },
        ]);
        wanted.retain(|node| (node.n + 1) << node.level <= size);
        let hashes: Vec<Hash> = wanted.iter().map(|&node| tree.hash(node).unwrap()).collect();
        assert_eq!(read(&tree, head, &wanted), Ok(hashes), "{size}");
    }
}

#[test]
fn a_changed_bit_in_any_tile_is_noticed() {
    let tree = tree(66_000);
    for size in [1, 255, 256, 257, 300, 512, 65_536, 66_000] {
        let plan = ReadPlan::new(tree.head_at(size).unwrap(), &[Node::record(size / 3)]).unwrap();
        let data: Vec<Bytes> =
            plan.tiles().iter().map(|tile| tree.tile(tile).unwrap().into()).collect();
        assert!(plan.check(&data).is_ok());
        for tile in 0..data.len() {
            for at in (0..data[tile].len()).step_by(13).chain([data[tile].len() - 1]) {
                let mut wrong = data[tile].to_vec();
                wrong[at] ^= 0x10;
                let mut data = data.clone();
                data[tile] = wrong.into();
                assert_eq!(plan.check(&data), Err(TlogError::InvalidProof), "{size} {tile} {at}");
            }
            let mut short = data.clone();
            short[tile] = short[tile].slice(1..);
            assert!(matches!(plan.check(&short), Err(TlogError::TileSize { .. })));
        }
        assert!(plan.check(&data[1..]).is_err());
        assert!(plan.check(&[]).is_err());
    }
}

#[test]
fn a_data_tile_holds_the_texts_of_its_records() {
    let tree = tree(300);
    let tile = Tile { level: None, n: 1, width: 2 };
    assert_eq!(tree.tile(&tile), Some(format!("{}\n{}\n", text(256), text(257)).into_bytes()));
    assert_eq!(tree.tile(&tile.full()), None);
}

proptest! {
    #[test]
    fn any_tile_path_that_parses_prints_as_itself(
        path in "tile/[89]/(data|[0-9]{1,3})/(x?[0-9]{3}/){0,7}[0-9]{3}(\\.p/[0-9]{1,3})?",
    ) {
        if let Ok(tile) = Tile::parse(&path) {
            prop_assert_eq!(tile.to_string(), path);
            prop_assert!((1..=FULL_WIDTH).contains(&tile.width));
        }
    }

    #[test]
    fn any_tile_prints_as_it_parses(
        level in prop::option::of(0..=63_u32),
        n: u64,
        width in 1..=256_u64,
    ) {
        let tile = Tile { level, n, width };
        prop_assert_eq!(Tile::parse(&tile.to_string()), Ok(tile));
    }

    #[test]
    fn plans_for_any_size_are_small(size in 1..=MAX_TREE_SIZE, at in any::<u64>()) {
        let head = TreeHead { size, hash: Hash::of_empty_tree() };
        let plan = ReadPlan::new(head, &[Node::record(at % size)]).unwrap();
        prop_assert!(plan.tiles().len() <= 16, "{}", plan.tiles().len());
        prop_assert!(plan.check(&[]).is_err());
    }
}
