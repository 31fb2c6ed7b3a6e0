//! A large string of which a snapshot takes one page after the other while it is edited in place.
//!
//! It keeps one bit for each page of the string as it was; it never copies more than the pages that somebody
//! is about to change.

use std::ops::Range;
use std::sync::Arc;

use ds::saving::{Piece, Savable, Saver};

pub struct PagedText {
    text: Arc<Vec<u8>>,
    /// Bytes that it had at the beginning.
    len: usize,
    saver: Option<Box<dyn Saver>>,
    /// A bit for each page that is saved.
    saved: Vec<u64>,
    /// Pages before are saved.
    next: usize,
}

impl PagedText {
    pub(crate) fn new(text: Arc<Vec<u8>>) -> PagedText {
        PagedText { len: text.len(), text, saver: None, saved: Vec::new(), next: 0 }
    }

    pub(crate) fn text(&self) -> &Arc<Vec<u8>> {
        &self.text
    }

    pub(crate) fn into_text(self) -> Arc<Vec<u8>> {
        self.text
    }

    /// The string for changes in a range and behind its end.
    pub(crate) fn text_mut(&mut self, changed: Range<usize>) -> &mut Arc<Vec<u8>> {
        let end = changed.end.min(self.len);
        if self.saver.is_some() && changed.start < end {
            (changed.start / PAGE_LEN..end.div_ceil(PAGE_LEN)).for_each(|page| self.save(page..page + 1));
        }
        &mut self.text
    }

    fn page_count(&self) -> usize {
        self.len.div_ceil(PAGE_LEN)
    }

    fn is_saved(&self, page: usize) -> bool {
        self.saved[page / 64] >> (page % 64) & 1 == 1
    }

    /// Saves neighbouring pages, of which all are saved or none is.
    fn save(&mut self, pages: Range<usize>) {
        if self.is_saved(pages.start) {
            return;
        }
        for page in pages.clone() {
            self.saved[page / 64] |= 1 << (page % 64);
        }
        let at = pages.start * PAGE_LEN;
        let bytes = &self.text[at..(pages.end * PAGE_LEN).min(self.len)];
        if let Some(saver) = &mut self.saver {
            let _ = saver.save(Piece::Bytes { at: at as u64, bytes });
        }
    }
}

impl Savable for PagedText {
    fn begin_saving(&mut self, _: u32, saver: Box<dyn Saver>) {
        self.len = self.text.len();
        self.saved = vec![0; self.page_count().div_ceil(64)];
        (self.saver, self.next) = (Some(saver), 0);
    }

    fn save_on(&mut self) -> bool {
        let Some(first) = (self.next..self.page_count()).find(|page| !self.is_saved(*page)) else {
            return false;
        };
        let most = self.page_count().min(first + PAGES_AT_ONCE);
        let end = (first..most).find(|page| self.is_saved(*page)).unwrap_or(most);
        self.save(first..end);
        self.next = end;
        end < self.page_count()
    }

    fn end_saving(&mut self) -> Option<Box<dyn Saver>> {
        self.saver.take()
    }

    fn saver(&self) -> Option<&dyn Saver> {
        self.saver.as_deref()
    }

    fn saver_mut(&mut self) -> Option<&mut dyn Saver> {
        self.saver.as_deref_mut()
    }
}

/// What a write to one byte copies, at most.
const PAGE_LEN: usize = 64 * 1024;
/// Pages copied under one lock.
const PAGES_AT_ONCE: usize = 1;
