//! Ordered rows packed into pages, so that the index has few keys. Pure.
//!
//! ```text
//! page   0  version, u8 = 1
//!        1  length of the prefix that all keys share, u16
//!        3  that prefix
//!        …  row: length of the rest of the key, u16 │ length of the value, u16 │ rest │ value
//! ```
//!
//! A page is stored under its lower bound: it holds every row from there up to the next page's bound. Bounds never
//! change while a page lives, so a reader that was between two pages when one was split misses nothing.

use crate::limits::{INDEX_PAGE_BYTES, INDEX_ROW_BYTES_MAX};

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 3;
const ROW_HEAD_BYTES: usize = 4;

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);
/// A key and its new value; `None` removes the row.
pub type Mutation = (Vec<u8>, Option<Vec<u8>>);

/// The lower bound of a page, and its bytes.
pub type BoundedPage = (Vec<u8>, Vec<u8>);

/// The bytes of a page are not those of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a page of the index is not readable")]
pub struct PageError;

fn u16_at(bytes: &[u8], at: usize) -> Result<usize, PageError> {
    let pair = bytes.get(at..at + 2).ok_or(PageError)?;
    Ok(usize::from(u16::from_le_bytes(pair.try_into().map_err(|_| PageError)?)))
}

/// The rows of a page, in order.
pub fn decode(page: &[u8]) -> Result<Vec<Row>, PageError> {
    if page.first() != Some(&VERSION) {
        return Err(PageError);
    }
    let prefix_bytes = u16_at(page, 1)?;
    let prefix = page.get(HEAD_BYTES..HEAD_BYTES + prefix_bytes).ok_or(PageError)?;
    let mut at = HEAD_BYTES + prefix_bytes;
    let mut rows = Vec::new();
    while at < page.len() {
        let (rest_bytes, value_bytes) = (u16_at(page, at)?, u16_at(page, at + 2)?);
        let rest_at = at + ROW_HEAD_BYTES;
        let value_at = rest_at + rest_bytes;
        let rest = page.get(rest_at..value_at).ok_or(PageError)?;
        let value = page.get(value_at..value_at + value_bytes).ok_or(PageError)?;
        rows.push(([prefix, rest].concat(), value.to_vec()));
        at = value_at + value_bytes;
    }
    Ok(rows)
}

/// The value of one row, without taking the others apart.
pub fn find(page: &[u8], key: &[u8]) -> Result<Option<Vec<u8>>, PageError> {
    if page.first() != Some(&VERSION) {
        return Err(PageError);
    }
    let prefix_bytes = u16_at(page, 1)?;
    let prefix = page.get(HEAD_BYTES..HEAD_BYTES + prefix_bytes).ok_or(PageError)?;
    let Some(wanted) = key.strip_prefix(prefix) else { return Ok(None) };
    let mut at = HEAD_BYTES + prefix_bytes;
    while at < page.len() {
        let (rest_bytes, value_bytes) = (u16_at(page, at)?, u16_at(page, at + 2)?);
        let rest_at = at + ROW_HEAD_BYTES;
        let value_at = rest_at + rest_bytes;
        if page.get(rest_at..value_at).ok_or(PageError)? == wanted {
            return Ok(Some(page.get(value_at..value_at + value_bytes).ok_or(PageError)?.to_vec()));
        }
        at = value_at + value_bytes;
    }
    Ok(None)
}

/// Rows are in order, so what the first and the last share all share.
fn shared_prefix_bytes(rows: &[Row]) -> usize {
    let (Some((first, _)), Some((last, _))) = (rows.first(), rows.last()) else { return 0 };
    first.iter().zip(last).take_while(|(a, b)| a == b).count()
}

fn encode(rows: &[Row]) -> Vec<u8> {
    let first = rows.first().map_or(&[][..], |(key, _)| key);
    let prefix_bytes = shared_prefix_bytes(rows);
    let mut page = vec![VERSION];
    let short = |bytes: usize| u16::try_from(bytes).expect("a row is within INDEX_ROW_BYTES_MAX").to_le_bytes();
    page.extend_from_slice(&short(prefix_bytes));
    page.extend_from_slice(&first[..prefix_bytes]);
    for (key, value) in rows {
        page.extend_from_slice(&short(key.len() - prefix_bytes));
        page.extend_from_slice(&short(value.len()));
        page.extend_from_slice(&key[prefix_bytes..]);
        page.extend_from_slice(value);
    }
    page
}

/// What becomes of a page.
#[derive(Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// Pages in order, each with its lower bound; the first keeps the bound of the old page. None: the page is removed.
    pub pages: Vec<BoundedPage>,
    /// How many rows there are more than before.
    pub rows_added: i64,
}

/// Applies `mutations`, which are in order and all belong to the page with this lower bound.
pub fn rewrite(bound: &[u8], page: Option<&[u8]>, mutations: &[Mutation]) -> Result<Rewritten, PageError> {
    let old = page.map_or_else(|| Ok(Vec::new()), decode)?;
    let old_count = old.len();
    let mut rows = Vec::with_capacity(old.len() + mutations.len());
    let mut mutations = mutations.iter().peekable();
    let changed = |mutation: &Mutation, rows: &mut Vec<Row>| {
        let (key, value) = mutation;
        let Some(value) = value else { return };
        assert!(key.len() + value.len() <= INDEX_ROW_BYTES_MAX, "the store bounds what it puts into a row");
        rows.push((key.clone(), value.clone()));
    };
    for row in old {
        while let Some(mutation) = mutations.next_if(|(key, _)| *key < row.0) {
            changed(mutation, &mut rows);
        }
        match mutations.next_if(|(key, _)| *key == row.0) {
            Some(mutation) => changed(mutation, &mut rows),
            None => rows.push(row),
        }
    }
    for mutation in mutations {
        changed(mutation, &mut rows);
    }
    let rows_added = i64::try_from(rows.len()).unwrap_or(i64::MAX) - i64::try_from(old_count).unwrap_or(i64::MAX);
    Ok(Rewritten { pages: split(bound, &rows), rows_added })
}

/// Shares rows out evenly over as few pages as hold them.
fn split(bound: &[u8], rows: &[Row]) -> Vec<BoundedPage> {
    if rows.is_empty() {
        return Vec::new();
    }
    let whole = encode(rows);
    if whole.len() <= INDEX_PAGE_BYTES || rows.len() == 1 {
        return vec![(bound.to_vec(), whole)];
    }
    let target = whole.len() / whole.len().div_ceil(INDEX_PAGE_BYTES);
    let shared_bytes = shared_prefix_bytes(rows);
    let fixed_bytes = HEAD_BYTES + shared_bytes;
    let mut pages = Vec::new();
    let mut begin = 0;
    let mut bytes = fixed_bytes;
    for (at, (key, value)) in rows.iter().enumerate() {
        let row_bytes = key.len() - shared_bytes + value.len() + ROW_HEAD_BYTES;
        if at > begin && (bytes >= target || bytes + row_bytes > INDEX_PAGE_BYTES) {
            pages.push(&rows[begin..at]);
            begin = at;
            bytes = fixed_bytes;
        }
        bytes += row_bytes;
    }
    pages.push(&rows[begin..]);
    let mut split = Vec::with_capacity(pages.len());
    for (number, page) in pages.into_iter().enumerate() {
        let lower = if number == 0 { bound } else { &page[0].0 };
        split.push((lower.to_vec(), encode(page)));
    }
    split
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::{any, proptest};

    use super::{Mutation, PageError, decode, find, rewrite};
    use crate::limits::INDEX_PAGE_BYTES;

    #[test]
    fn an_emptied_page_is_removed() {
        let full = rewrite(b"", None, &[(b"a".to_vec(), Some(b"1".to_vec()))]).unwrap();
        assert_eq!(full.rows_added, 1);
        let emptied = rewrite(b"", Some(&full.pages[0].1), &[(b"a".to_vec(), None)]).unwrap();
        assert_eq!((emptied.pages.len(), emptied.rows_added), (0, -1));
    }

    #[test]
    fn bytes_that_are_no_page_are_refused() {
        for wrong in [&[][..], &[2, 0, 0], &[1], &[1, 9, 0], &[1, 0, 0, 1], &[1, 0, 0, 5, 0, 5, 0, 1]] {
            assert_eq!(decode(wrong), Err(PageError));
        }
    }

    proptest! {
        #[test]
        fn pages_hold_what_a_map_holds(
            rounds in proptest::collection::vec(
                proptest::collection::btree_map(
                    proptest::collection::vec(0u8..4, 1..6),
                    any::<Option<u8>>(),
                    0..40
                ),
                1..6
            )
        ) {
            let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
            let mut pages: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
            for round in rounds {
                for (key, value) in round {
                    let value = value.map(|byte| vec![byte; 300]);
                    let (bound, page) = pages
                        .range(..=key.clone())
                        .next_back()
                        .map_or((Vec::new(), None), |(bound, page)| (bound.clone(), Some(page.clone())));
                    let mutation: Mutation = (key.clone(), value.clone());
                    let rewritten = rewrite(&bound, page.as_deref(), &[mutation]).unwrap();
                    pages.remove(&bound);
                    for (lower, page) in rewritten.pages {
                        assert!(page.len() <= INDEX_PAGE_BYTES);
                        pages.insert(lower, page);
                    }
                    match value {
                        Some(value) => model.insert(key, value),
                        None => model.remove(&key),
                    };
                }
                let packed: BTreeMap<_, _> = pages.values().flat_map(|page| decode(page).unwrap()).collect();
                assert_eq!(packed, model);
                for (key, value) in &model {
                    let page = pages.range(..=key.clone()).next_back().unwrap().1;
                    assert_eq!(find(page, key).unwrap().as_ref(), Some(value));
                }
            }
        }
    }
}
