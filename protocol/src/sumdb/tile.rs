//! Tiles: how the hashes of the log are served, and how some are read with proof. Follows
//! golang/mod `sumdb/tlog`.
//!
//! A tile holds up to 256 neighbouring hashes of one level; levels are eight apart, so the first
//! hash above a full tile is one hash of the tile over it. Nothing in a tile is believed by itself:
//! [`ReadPlan`] recomputes from the tiles the hash of the tree head, and from there downwards that
//! of every tile.

use std::collections::HashMap;
use std::fmt;

use bytes::Bytes;

use super::tlog::{HASH_BYTES, Hash, MAX_TREE_SIZE, Node, TlogError, TreeHead};
use super::tlog::{fold_subtrees, node_hash, parse_number, subtrees};

/// Levels of the log in a tile. The go command asks for no other height.
pub const TILE_HEIGHT: u32 = 8;
/// Hashes of a full tile.
pub const FULL_WIDTH: u64 = 1 << TILE_HEIGHT;
/// Highest level a tile path may name.
const MAX_TILE_LEVEL: u64 = 63;
/// Most elements of a tile's number: 21 digits are more than 64 bits need.
const MAX_NUMBER_ELEMENTS: usize = 7;

/// Coordinates of a tile; prints and parses as its path, such as `tile/8/0/x001/234.p/5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tile {
    /// Level of the tile, eight levels of the log each; `None` for a tile of record texts (`data`).
    pub level: Option<u32>,
    /// Number of the tile in its level.
    pub n: u64,
    /// Hashes in the tile, 1 to 256; 256 is a full tile.
    pub width: u64,
}

impl Tile {
    /// Reads the path of a tile, without a leading slash; only the canonical spelling is taken.
    ///
    /// # Errors
    /// [`TlogError::Malformed`].
    pub fn parse(path: &str) -> Result<Self, TlogError> {
        Self::read(path)
            .filter(|tile| tile.to_string() == path)
            .ok_or(TlogError::Malformed("tile path"))
    }

    fn read(path: &str) -> Option<Self> {
        let (level, number) = path.strip_prefix("tile/8/")?.split_once('/')?;
        let level = match level {
            "data" => None,
            level => Some(
                u32::try_from(parse_number(level).filter(|&level| level <= MAX_TILE_LEVEL)?)
                    .ok()?,
            ),
        };
        let (number, width) = match number.split_once(".p/") {
            Some((number, width)) => (number, parse_number(width)?),
            None => (number, FULL_WIDTH),
        };
        if !(1..=FULL_WIDTH).contains(&width) || number.split('/').count() > MAX_NUMBER_ELEMENTS {
            return None;
        }
        let n = number.split('/').try_fold(0_u64, |n, element| {
            let digits: u64 = element.strip_prefix('x').unwrap_or(element).parse().ok()?;
            n.checked_mul(1000)?.checked_add(digits)
        })?;
        Some(Self { level, n, width })
    }

    /// Whether it has all its hashes.
    pub fn is_full(&self) -> bool {
        self.width == FULL_WIDTH
    }

    /// The full tile at the same place.
    pub fn full(&self) -> Self {
        Self { width: FULL_WIDTH, ..*self }
    }

    /// Bytes of its hashes.
    pub fn len_bytes(&self) -> usize {
        // The width is at most 256 by construction of every tile that is read.
        usize::try_from(self.width).unwrap_or(usize::MAX).saturating_mul(HASH_BYTES)
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level {
            Some(level) => write!(f, "tile/{TILE_HEIGHT}/{level}/")?,
            None => write!(f, "tile/{TILE_HEIGHT}/data/")?,
        }
        // No directory may become too large: the number is written in groups of three digits.
        let mut groups = vec![self.n % 1000];
        let mut rest = self.n / 1000;
        while rest > 0 {
            groups.push(rest % 1000);
            rest /= 1000;
        }
        for group in groups.iter().skip(1).rev() {
            write!(f, "x{group:03}/")?;
        }
        write!(f, "{:03}", self.n % 1000)?;
        if self.is_full() { Ok(()) } else { write!(f, ".p/{}", self.width) }
    }
}

/// Where a node's hash is to be computed from: `count` hashes of a tile from `start`.
#[derive(Clone, Copy, Debug)]
struct Place {
    tile: usize,
    start: usize,
    count: usize,
}

/// Which tiles are needed to learn the hashes of some nodes of a tree, and the proof that they are
/// right.
#[derive(Clone, Debug)]
pub struct ReadPlan {
    head: TreeHead,
    tiles: Vec<Tile>,
    /// The row of subtrees that the tree's hash is made of.
    row: Vec<Place>,
    /// For each tile that the row does not prove: itself and its hash in the tile above.
    children: Vec<(usize, Place)>,
    wanted: Vec<Place>,
}

impl ReadPlan {
    /// Plans to read the hashes of `wanted` in the tree of `head`.
    ///
    /// The plan has at most eight tiles for the tree and eight for each wanted node.
    ///
    /// # Errors
    /// [`TlogError::NotInTree`] when a node is not within the tree or the tree is over
    /// [`MAX_TREE_SIZE`].
    pub fn new(head: TreeHead, wanted: &[Node]) -> Result<Self, TlogError> {
        if head.size > MAX_TREE_SIZE {
            return Err(TlogError::NotInTree {
                what: "tree size",
                number: head.size,
                size: MAX_TREE_SIZE,
            });
        }
        let mut plan = Self {
            head,
            tiles: Vec::new(),
            row: Vec::new(),
            children: Vec::new(),
            wanted: Vec::new(),
        };
        let mut known = HashMap::new();
        for node in subtrees(0, head.size) {
            let place = plan.place(node, &mut known)?;
            plan.row.push(place);
        }
        // The row's tiles prove each other; only those added from here on need a parent.
        for &node in wanted {
            let first_new = plan.tiles.len();
            let place = plan.place(node, &mut known)?;
            plan.wanted.push(place);
            let mut child = first_new;
            while let Some(&tile) = plan.tiles.get(child) {
                let parent = plan.place(parent_node(tile)?, &mut known)?;
                plan.children.push((child, parent));
                child += 1;
            }
        }
        Ok(plan)
    }

    /// The tiles to fetch.
    pub fn tiles(&self) -> &[Tile] {
        &self.tiles
    }

    /// Finds a node's place, adding its tile to the plan if it is new.
    fn place(
        &mut self,
        node: Node,
        known: &mut HashMap<(u32, u64), usize>,
    ) -> Result<Place, TlogError> {
        let outside = TlogError::NotInTree { what: "record", number: node.n, size: self.head.size };
        if node.stored_index().is_none() || (node.n + 1) << node.level > self.head.size {
            return Err(outside);
        }
        let (level, inner) = (node.level / TILE_HEIGHT, node.level % TILE_HEIGHT);
        let first = node.n << inner;
        let n = first / FULL_WIDTH;
        let in_level = self.head.size >> (level * TILE_HEIGHT);
        let width = FULL_WIDTH.min(in_level - n * FULL_WIDTH);
        let next = self.tiles.len();
        let tile = *known.entry((level, n)).or_insert(next);
        if tile == next {
            self.tiles.push(Tile { level: Some(level), n, width });
        }
        // Both are at most 256.
        Ok(Place { tile, start: (first % FULL_WIDTH) as usize, count: 1 << inner })
    }

    /// Checks the content of the tiles, in the order of [`tiles`](Self::tiles), and returns the
    /// wanted hashes.
    ///
    /// # Errors
    /// [`TlogError::TileSize`] for a tile of another length, [`TlogError::InvalidProof`] when the
    /// tiles are not those of the tree. Which of them is wrong cannot be told.
    pub fn check(&self, data: &[Bytes]) -> Result<Vec<Hash>, TlogError> {
        for (at, tile) in self.tiles.iter().enumerate() {
            let bytes = data.get(at).map_or(0, Bytes::len);
            if bytes != tile.len_bytes() {
                return Err(TlogError::TileSize {
                    path: tile.to_string(),
                    bytes,
                    wanted: tile.len_bytes(),
                });
            }
        }
        let row: Option<Vec<Hash>> = self.row.iter().map(|&place| hash_at(data, place)).collect();
        let row = row.ok_or(TlogError::InvalidProof)?;
        if fold_subtrees(&row).unwrap_or_else(Hash::of_empty_tree) != self.head.hash {
            return Err(TlogError::InvalidProof);
        }
        for &(child, parent) in &self.children {
            let whole = Place { tile: child, start: 0, count: FULL_WIDTH as usize };
            let hash = hash_at(data, whole);
            if hash.is_none() || hash != hash_at(data, parent) {
                return Err(TlogError::InvalidProof);
            }
        }
        let wanted: Option<Vec<Hash>> =
            self.wanted.iter().map(|&place| hash_at(data, place)).collect();
        wanted.ok_or(TlogError::InvalidProof)
    }
}

/// The node whose hash stands for a full tile in the level above.
fn parent_node(tile: Tile) -> Result<Node, TlogError> {
    match tile.level {
        // Every partial tile is part of the row, so a tile that is not has a parent.
        Some(level) if tile.is_full() => Ok(Node { level: (level + 1) * TILE_HEIGHT, n: tile.n }),
        _ => Err(TlogError::InvalidProof),
    }
}

/// Hash of the subtree over a power of two of neighbouring hashes.
fn hash_at(data: &[Bytes], place: Place) -> Option<Hash> {
    let tile = data.get(place.tile)?;
    let bytes = tile.get(place.start * HASH_BYTES..(place.start + place.count) * HASH_BYTES)?;
    let mut hashes: Vec<Hash> = bytes.as_chunks().0.iter().map(|hash| Hash(*hash)).collect();
    while hashes.len() > 1 {
        hashes = hashes.as_chunks().0.iter().map(|&[left, right]| node_hash(left, right)).collect();
    }
    hashes.first().copied()
}
