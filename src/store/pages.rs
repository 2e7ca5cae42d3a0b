//! Reads a file of redb page by page, without redb: everything in it that can still be known to be there.
//!
//! redb opens a damaged file or does not, and believes every page that it reads. But it writes beside each reference to a
//! page a checksum of that page, so that what hangs on a damaged one can be told from what does not: a page counts when
//! it is what its parent says, even if the parent itself is damaged. Of a page that is not, but whose parent is sound,
//! the rows are shown as doubtful, for those who can tell by themselves whether a row was ever written so. Nothing is
//! looked for in pages that nothing refers to, as they may hold what was removed since.
//!
//! The shape of the file is redb's `docs/design.md`, version 3 of its format; numbers are little-endian. The file begins
//! with a page of its own: at 16 how many pages stand before the data of a region, at 20 how many pages of data it has,
//! and at 64 and 192 the last two commits, of which bit 0 of byte 9 names the one that counts.
//!
//! - a commit: its format (one byte), whether it has tables (one byte), at 8 a reference to the tree of tables, at 112 the
//!   checksum of all this
//! - a reference: a page (eight bytes), its checksum (sixteen), and for a tree its rows (eight)
//! - a page: its place in its region in pages of its size (bits 0 to 19), its region (20 to 39), and how often 4096 bytes
//!   are doubled for its size (59 to 63)
//! - a leaf: 1, a byte, the number of rows (two bytes), where each key ends, where each value ends (four bytes each,
//!   left out where all are of one length), the keys, the values
//! - a branch: 2, a byte, the number of keys (two bytes), four bytes, the checksums of its children, of which there is one
//!   more, their pages, where each key ends, the keys
//! - a row of the tree of tables: the name → 3, the number of its rows (eight bytes), whether it has any (one byte), a
//!   reference, the one length of its keys and that of its values (four bytes each), if a byte before each says so

use std::collections::BTreeMap;

use twox_hash::XxHash3_128;

use super::Error;
use super::overlay::Original;

const PAGE_BYTES: u64 = 4096;
const FILE_FORMAT: u8 = 3;
const COMMITS: [usize; 2] = [64, 192];
const COMMIT_BYTES: usize = 128;
const CHECKSUM_BYTES: usize = 16;
const NUMBER_BYTES: usize = 8;
const LEAF: u8 = 1;
const BRANCH: u8 = 2;
const TABLE: u8 = 3;
/// redb's trees have three or four levels.
const MAX_DEPTH: usize = 32;

/// One commit of a file, as far as it can be found.
pub(super) struct Pages {
    original: Original,
    shape: Shape,
    tables: BTreeMap<String, Tree>,
    /// Can a table be missing in `tables`?
    is_cut: bool,
    pub(super) commit: Commit,
}

/// Which one it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Commit {
    /// The one that the file says is its last.
    Last,
    /// The one before.
    Before,
    /// The last that was found, as the file does not say.
    Found,
}

/// Whether a row must be judged by what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doubt {
    /// Its page is what was written.
    None,
    /// Its page is not, or not only.
    Page,
}

/// How long all keys and values of a table are, where they are of one length.
#[derive(Debug, Clone, Copy, Default)]
struct Widths {
    key: Option<usize>,
    value: Option<usize>,
}

/// Where pages lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    n_before: u64,
    n_pages: u64,
}

/// What a page should be.
#[derive(Debug, Clone, Copy)]
struct Reference {
    page: u64,
    checksum: u128,
}

#[derive(Debug, Clone, Copy)]
struct Tree {
    root: Option<Reference>,
    /// `None`: that is not known.
    n_rows: Option<u64>,
    widths: Widths,
}

/// A reference whose rows have these lengths, and is it said by a page that is what it should be?
#[derive(Debug, Clone, Copy)]
struct Step {
    reference: Reference,
    widths: Widths,
    is_sure: bool,
    depth: usize,
}

type Each<'e> = dyn FnMut(&[u8], &[u8], Doubt) -> Result<(), Error> + 'e;

impl Pages {
    /// The commit that the file says is its last; if nothing of that is there, the one before; if the file does not say,
    /// the one of which most is there, and of several the one for which `age` of this is greatest. `None`: there is none.
    pub(super) fn find(original: &Original, age: impl Fn(&Self) -> u64) -> Option<Self> {
        let search = || Self::search(original).max_by_key(|pages| (pages.tables.len(), age(pages)));
        Self::last(original).or_else(search)
    }

    /// The same if the file says where.
    pub(super) fn last(original: &Original) -> Option<Self> {
        let head = original.bytes(0, usize::try_from(PAGE_BYTES).ok()?).unwrap_or_default();
        let shapes: Vec<Shape> = Shape::of(&head).into_iter().chain([Shape::OF_NEW_FILES]).collect();
        let flag = head.get(9).map_or(0, |flags| usize::from(flags & 1));
        for (which, slot) in [(Commit::Last, flag), (Commit::Before, 1 - flag)] {
            let commit = COMMITS.get(slot).and_then(|at| head.get(*at..)?.get(..COMMIT_BYTES)).and_then(commit);
            let Some((root, is_whole)) = commit else { continue };
            for shape in &shapes {
                let mut pages = Self::at(original, *shape, which);
                match root {
                    // A file without tables was never a store: nothing else tells it from one that lost them.
                    None if is_whole && which == Commit::Last => return Some(pages),
                    None => {}
                    Some(reference) => {
                        let step = Step { reference, widths: Widths::default(), is_sure: is_whole, depth: 0 };
                        pages.find_tables(|pages, each| pages.follow(step, each));
                    }
                }
                if !pages.tables.is_empty() {
                    return Some(pages);
                }
            }
        }
        None
    }

    /// Without anything in it.
    pub(super) fn none(original: &Original) -> Self {
        Self { is_cut: true, ..Self::at(original, Shape { n_before: 0, n_pages: 0 }, Commit::Last) }
    }

    fn at(original: &Original, shape: Shape, commit: Commit) -> Self {
        Self { original: original.clone(), shape, tables: BTreeMap::new(), is_cut: false, commit }
    }

    /// Every commit whose tree of tables is there, by the pages that could be its root.
    fn search(original: &Original) -> impl Iterator<Item = Self> {
        let n_pages = original.n_bytes().unwrap_or(0) / PAGE_BYTES;
        (1..n_pages).filter_map(move |n| {
            let bytes = original.bytes(n * PAGE_BYTES, usize::try_from(PAGE_BYTES).ok()?)?;
            let mut pages = Self::at(original, Shape::OF_NEW_FILES, Commit::Found);
            pages.find_tables(|pages, each| pages.visit(&bytes, Doubt::Page, Widths::default(), 0, each));
            (!pages.tables.is_empty()).then_some(pages)
        })
    }

    /// A row of the tree of tables counts when its page does, or when it names a page that is what the row says, or none.
    fn find_tables(&mut self, visit: impl FnOnce(&Self, &mut Each<'_>) -> Result<bool, Error>) {
        let mut tables = BTreeMap::new();
        let is_whole = visit(self, &mut |name, row, doubt| {
            let (Ok(name), Some(tree)) = (str::from_utf8(name), Tree::read(row)) else { return Ok(()) };
            let is_there = |root| self.page(root, tree.widths).is_some_and(|(_, is_whole)| is_whole);
            let is_certain = doubt == Doubt::None || tree.root.is_none_or(is_there);
            if is_certain {
                let n_rows = tree.n_rows.filter(|_| doubt == Doubt::None);
                tables.insert(name.to_owned(), Tree { n_rows, ..tree });
            }
            Ok(())
        });
        (self.tables, self.is_cut) = (tables, !is_whole.unwrap_or(false));
    }

    /// How many rows a table should have; `None`: that is not known.
    pub(super) fn n_rows(&self, table: &str) -> Option<u64> {
        match self.tables.get(table) {
            Some(tree) => tree.n_rows,
            None => (!self.is_cut).then_some(0),
        }
    }

    /// Can a table of it be missing?
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Was nothing ever written to it?
    pub(super) fn is_new(&self) -> bool {
        self.tables.is_empty() && !self.is_cut
    }

    /// Is nothing of it there?
    pub(super) fn is_lost(&self) -> bool {
        self.tables.is_empty() && self.is_cut
    }

    /// Shows the rows of a table that are there, in the order of their keys where nothing is damaged. Returns whether they
    /// are all.
    pub(super) fn read(
        &self,
        table: &str,
        mut each: impl FnMut(&[u8], &[u8], Doubt) -> Result<(), Error>,
    ) -> Result<bool, Error> {
        let Some(Tree { root, widths, .. }) = self.tables.get(table) else { return Ok(!self.is_cut) };
        let Some(reference) = *root else { return Ok(true) };
        self.follow(Step { reference, widths: *widths, is_sure: true, depth: 0 }, &mut each)
    }

    /// Every row of every leaf that can be made out in the file, whether something refers to it or not, if neither its key
    /// nor its value has a length of its own.
    pub(super) fn search_rows(&self, mut each: impl FnMut(&[u8], &[u8])) {
        let n_pages = self.original.n_bytes().unwrap_or(0) / PAGE_BYTES;
        let len = usize::try_from(PAGE_BYTES).unwrap_or_default();
        for bytes in (1..n_pages).filter_map(|n| self.original.bytes(n * PAGE_BYTES, len)) {
            if let Some(leaf) = Leaf::read(&bytes, Widths::default()) {
                (0..leaf.n_rows).filter_map(|n| leaf.row(n)).for_each(|(key, value)| each(key, value));
            }
        }
    }

    /// Shows what lies at and below a page. Returns whether it is all there.
    fn follow(&self, step: Step, each: &mut Each<'_>) -> Result<bool, Error> {
        match self.page(step.reference, step.widths) {
            Some((page, is_whole)) if is_whole || step.is_sure => {
                let doubt = if is_whole { Doubt::None } else { Doubt::Page };
                self.visit(&page, doubt, step.widths, step.depth, each)
            }
            _ => Ok(false),
        }
    }

    fn visit(
        &self,
        page: &[u8],
        doubt: Doubt,
        widths: Widths,
        depth: usize,
        each: &mut Each<'_>,
    ) -> Result<bool, Error> {
        let mut is_all = doubt == Doubt::None;
        if let Some(leaf) = Leaf::read(page, widths) {
            for n in 0..leaf.n_rows {
                match leaf.row(n) {
                    Some((key, value)) => each(key, value, doubt)?,
                    None => is_all = false,
                }
            }
        } else if let Some(branch) = Branch::read(page, widths).filter(|_| depth < MAX_DEPTH) {
            let is_sure = doubt == Doubt::None;
            for n in 0..=branch.n_keys {
                is_all &= match branch.child(n) {
                    Some(reference) => self.follow(Step { reference, widths, is_sure, depth: depth + 1 }, each)?,
                    None => false,
                };
            }
        } else {
            is_all = false;
        }
        Ok(is_all)
    }

    /// What lies there, and whether it is what it should be; `None` where nothing does.
    fn page(&self, reference: Reference, widths: Widths) -> Option<(Vec<u8>, bool)> {
        let (at, len) = self.shape.place(reference.page)?;
        let bytes = self.original.bytes(at, len)?;
        let end = match Leaf::read(&bytes, widths) {
            Some(leaf) => leaf.n_rows.checked_sub(1).and_then(|last| leaf.value_end(last)),
            None => Branch::read(&bytes, widths).and_then(|branch| branch.key_end(branch.n_keys.checked_sub(1)?)),
        };
        let is_whole = end.and_then(|end| bytes.get(..end)).is_some_and(|all| checksum(all) == reference.checksum);
        Some((bytes, is_whole))
    }
}

impl Shape {
    /// Of files that redb makes, for one that does not say it any more.
    const OF_NEW_FILES: Self = Self { n_before: 0, n_pages: 1 << 20 };

    fn of(head: &[u8]) -> Option<Self> {
        let [n_before, n_pages] = [u32_at(head, 16)?, u32_at(head, 20)?].map(u64::from);
        Some(Self { n_before, n_pages })
    }

    /// Where a page begins, and how long it is.
    fn place(self, page: u64) -> Option<(u64, usize)> {
        let (order, region) = (page >> 59, page >> 20 & 0xf_ffff);
        let index = page & (0xf_ffff >> order);
        let n_bytes = PAGE_BYTES << order;
        let within = index.checked_mul(n_bytes)?;
        let is_there = within.checked_add(n_bytes)? <= self.n_pages * PAGE_BYTES;
        let before = 1 + region * (self.n_before + self.n_pages) + self.n_before;
        let at = before.checked_mul(PAGE_BYTES)?.checked_add(within)?;
        is_there.then_some((at, usize::try_from(n_bytes).ok()?))
    }
}

/// The tree of tables, and whether the commit is what was written; `None`: it is of another format.
fn commit(bytes: &[u8]) -> Option<(Option<Reference>, bool)> {
    let (said, found) = bytes.split_at_checked(COMMIT_BYTES - CHECKSUM_BYTES)?;
    let is_whole = found.first_chunk().is_some_and(|found| u128::from_le_bytes(*found) == checksum(said));
    let root = if *bytes.get(1)? == 0 { None } else { Some(Reference::read(bytes.get(8..)?)?) };
    (*bytes.first()? == FILE_FORMAT).then_some((root, is_whole))
}

impl Reference {
    fn read(bytes: &[u8]) -> Option<Self> {
        Some(Self { page: u64_at(bytes, 0)?, checksum: u128_at(bytes, NUMBER_BYTES)? })
    }
}

impl Tree {
    fn read(bytes: &[u8]) -> Option<Self> {
        let width = |at: usize| match *bytes.get(at)? {
            0 => Some(None),
            _ => Some(Some(usize::try_from(u32_at(bytes, at + 1)?).ok()?)),
        };
        let root = if *bytes.get(9)? == 0 { None } else { Some(Reference::read(bytes.get(10..)?)?) };
        let widths = Widths { key: width(42)?, value: width(47)? };
        // An empty one has zeros in all these places, so no wrong bit makes one of another.
        let is_table = root.is_some() || bytes.get(1..42)?.iter().all(|byte| *byte == 0);
        (*bytes.first()? == TABLE && is_table).then_some(Self { root, n_rows: u64_at(bytes, 1), widths })
    }
}

struct Leaf<'p> {
    page: &'p [u8],
    widths: Widths,
    n_rows: usize,
}

impl<'p> Leaf<'p> {
    fn read(page: &'p [u8], widths: Widths) -> Option<Self> {
        let n_rows = usize::from(u16_at(page, 2)?);
        (*page.first()? == LEAF).then_some(Self { page, widths, n_rows })
    }

    fn row(&self, n: usize) -> Option<(&'p [u8], &'p [u8])> {
        let last = self.n_rows.checked_sub(1)?;
        let key_start = n.checked_sub(1).map_or(Some(self.keys_start()), |before| self.key_end(before))?;
        let value_start = n.checked_sub(1).map_or(self.key_end(last), |before| self.value_end(before))?;
        Some((self.page.get(key_start..self.key_end(n)?)?, self.page.get(value_start..self.value_end(n)?)?))
    }

    fn keys_start(&self) -> usize {
        let n_ends = usize::from(self.widths.key.is_none()) + usize::from(self.widths.value.is_none());
        4 + 4 * n_ends * self.n_rows
    }

    fn key_end(&self, n: usize) -> Option<usize> {
        match self.widths.key {
            Some(width) => (n + 1).checked_mul(width)?.checked_add(self.keys_start()),
            None => usize::try_from(u32_at(self.page, 4 + 4 * n)?).ok(),
        }
    }

    fn value_end(&self, n: usize) -> Option<usize> {
        let key_ends = if self.widths.key.is_none() { self.n_rows } else { 0 };
        match self.widths.value {
            Some(width) => (n + 1).checked_mul(width)?.checked_add(self.key_end(self.n_rows.checked_sub(1)?)?),
            None => usize::try_from(u32_at(self.page, 4 + 4 * (key_ends + n))?).ok(),
        }
    }
}

struct Branch<'p> {
    page: &'p [u8],
    widths: Widths,
    n_keys: usize,
}

impl<'p> Branch<'p> {
    fn read(page: &'p [u8], widths: Widths) -> Option<Self> {
        let n_keys = usize::from(u16_at(page, 2)?);
        (*page.first()? == BRANCH).then_some(Self { page, widths, n_keys })
    }

    fn child(&self, n: usize) -> Option<Reference> {
        let pages = 8 + CHECKSUM_BYTES * (self.n_keys + 1);
        let page = u64_at(self.page, pages + NUMBER_BYTES * n)?;
        Some(Reference { page, checksum: u128_at(self.page, 8 + CHECKSUM_BYTES * n)? })
    }

    fn key_end(&self, n: usize) -> Option<usize> {
        let behind = 8 + (CHECKSUM_BYTES + NUMBER_BYTES) * (self.n_keys + 1);
        match self.widths.key {
            Some(width) => (n + 1).checked_mul(width)?.checked_add(behind),
            None => usize::try_from(u32_at(self.page, behind + 4 * n)?).ok(),
        }
    }
}

fn checksum(bytes: &[u8]) -> u128 {
    XxHash3_128::oneshot(bytes)
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array_at(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array_at(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array_at(bytes, at).map(u64::from_le_bytes)
}

fn u128_at(bytes: &[u8], at: usize) -> Option<u128> {
    array_at(bytes, at).map(u128::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use redb::{Builder, TableDefinition};

    use super::*;

    const TEXTS: TableDefinition<&str, &[u8]> = TableDefinition::new("texts");
    const NUMBERS: TableDefinition<u64, u64> = TableDefinition::new("numbers");

    #[test]
    fn it_reads_what_redb_wrote() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (database, long) = (Builder::new().create(file.path()).unwrap(), vec![7; 20_000]);
        for n in 0..2000_u64 {
            let mut transaction = database.begin_write().unwrap();
            transaction.set_durability(redb::Durability::None).unwrap();
            let text = n.to_string();
            let value = if n % 100 == 0 { &*long } else { text.as_bytes() };
            transaction.open_table(TEXTS).unwrap().insert(&*text, value).unwrap();
            transaction.open_table(NUMBERS).unwrap().insert(n, n * n).unwrap();
            transaction.commit().unwrap();
        }
        database.begin_write().unwrap().commit().unwrap();
        drop(database);
        let original = Original::lock(file.path()).unwrap();
        let head = original.bytes(0, 4096).unwrap();
        assert_eq!(Shape::of(&head), Some(Shape::OF_NEW_FILES));
        let pages = Pages::find(&original, |_| 0).unwrap();
        assert!(!pages.is_lost() && pages.commit == Commit::Last && pages.n_rows("texts") == Some(2000));
        let (mut texts, mut n) = (BTreeMap::new(), 0);
        let is_all = pages.read("texts", |key, value, doubt| {
            assert_eq!(doubt, Doubt::None);
            assert!(texts.insert(key.to_owned(), value.to_owned()).is_none());
            Ok(())
        });
        assert!(is_all.unwrap() && texts.len() == 2000 && texts[&b"500"[..]] == long && texts[&b"501"[..]] == b"501");
        let is_all = pages.read("numbers", |key, value, _| {
            assert_eq!((u64_at(key, 0), u64_at(value, 0)), (Some(n), Some(n * n)));
            n += 1;
            Ok(())
        });
        assert!(is_all.unwrap() && n == 2000);
        assert!(pages.read("others", |_, _, _| Ok(())).unwrap());
    }
}
