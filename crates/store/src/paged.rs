//! A large string of which snapshots take one page after the other while it is edited in place.
//!
//! It keeps one bit for each page of the string as it was at each one's beginning; it never copies more than
//! the pages that somebody is about to change.

use std::ops::Range;
use std::sync::Arc;

use ds::saving::{Ended, Piece, Savable, Saver, Saving, Savings};

pub struct PagedText {
    text: Arc<Vec<u8>>,
    savings: Savings<Progress>,
}

/// How far a saving has come.
struct Progress {
    /// Bytes that the string had at the beginning.
    len: usize,
    /// A bit for each page that is saved.
    saved: Vec<u64>,
    /// Pages before are saved.
    next: usize,
}

impl PagedText {
    pub(crate) fn new(text: Arc<Vec<u8>>) -> PagedText {
        PagedText { text, savings: Savings::default() }
    }

    pub(crate) fn is_saved_by_any(&self) -> bool {
        self.savings.any()
    }

    pub(crate) fn text(&self) -> &Arc<Vec<u8>> {
        &self.text
    }

    pub(crate) fn into_text(self) -> Arc<Vec<u8>> {
        self.text
    }

    /// The string for changes in a range and behind its end.
    pub(crate) fn text_mut(&mut self, changed: Range<usize>) -> &mut Arc<Vec<u8>> {
        for saving in self.savings.iter_mut() {
            let end = changed.end.min(saving.progress.len);
            if changed.start < end {
                let pages = changed.start / PAGE_LEN..end.div_ceil(PAGE_LEN);
                pages.for_each(|page| save(saving, &self.text, page));
            }
        }
        &mut self.text
    }
}

impl Progress {
    fn page_count(&self) -> usize {
        self.len.div_ceil(PAGE_LEN)
    }

    fn is_saved(&self, page: usize) -> bool {
        self.saved[page / 64] >> (page % 64) & 1 == 1
    }

    /// The next page that is not saved.
    fn next_page(&self) -> Option<usize> {
        (self.next..self.page_count()).find(|page| !self.is_saved(*page))
    }
}

/// Saves a page if it is not saved yet.
fn save(saving: &mut Saving<Progress>, text: &[u8], page: usize) {
    let Saving { saver, progress, .. } = saving;
    if progress.is_saved(page) {
        return;
    }
    progress.saved[page / 64] |= 1 << (page % 64);
    let at = page * PAGE_LEN;
    let bytes = &text[at..(at + PAGE_LEN).min(progress.len)];
    let _ = saver.save(Piece::Bytes { at: at as u64, bytes });
}

impl Savable for PagedText {
    fn begin_saving(&mut self, number: u32, saver: Box<dyn Saver>) {
        let len = self.text.len();
        let saved = vec![0; len.div_ceil(PAGE_LEN).div_ceil(64)];
        self.savings.begin(number, saver, Progress { len, saved, next: 0 });
    }

    fn save_on(&mut self, number: u32) -> bool {
        let Some(saving) = self.savings.get_mut(number) else { return false };
        let Some(page) = saving.progress.next_page() else { return false };
        saving.progress.next = page + 1;
        save(saving, &self.text, page);
        page + 1 < saving.progress.page_count()
    }

    fn part_len(&self) -> u64 {
        PAGE_LEN as u64
    }

    fn end_saving(&mut self, number: u32) -> Option<Ended> {
        self.savings.end(number).map(Ended::alone)
    }

    fn saver(&self, number: u32) -> Option<&dyn Saver> {
        self.savings.saver(number)
    }

    fn each_saver(&mut self, visit: &mut dyn FnMut(&mut dyn Saver)) {
        self.savings.each_saver(visit);
    }
}

/// What a write to one byte copies, at most, and what is copied under one lock. With smaller pages a file
/// that is written in random places takes many times as long.
const PAGE_LEN: usize = 64 * 1024;
