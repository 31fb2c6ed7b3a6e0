//! The bytes of an entry's block: numbers, texts and expiry times as they lie there, and the block itself. It
//! does not know in which order they come.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::ptr::NonNull;
use std::slice;

pub(super) fn expiry_form(expires_at: Option<i64>) -> u8 {
    match expires_at {
        None => 0,
        Some(at) if (0..1 << 48).contains(&at) => 1,
        Some(_) => 2,
    }
}

#[inline]
pub(super) const fn expiry_len(form: u8) -> usize {
    match form {
        0 => 0,
        1 => 6,
        _ => 8,
    }
}

/// # Safety
/// `at` has room for the form's bytes.
pub(super) unsafe fn write_expiry(at: *mut u8, form: u8, expires_at: i64) -> *mut u8 {
    let len = expiry_len(form);
    // SAFETY: at most 8 bytes of the number are copied.
    unsafe {
        std::ptr::copy_nonoverlapping(expires_at.to_le_bytes().as_ptr(), at, len);
        at.add(len)
    }
}

#[inline]
pub(super) const fn varint_len(value: usize) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        0x20_0000..0x1000_0000 => 4,
        _ => 5,
    }
}

#[inline]
pub(super) const fn text_len(len: usize) -> usize {
    varint_len(len) + len
}

/// # Safety
/// `at` has room for `varint_len(value)` bytes.
#[inline]
pub(super) unsafe fn write_varint(mut at: *mut u8, mut value: usize) -> *mut u8 {
    // SAFETY: one byte for every seven bits, which is what varint_len counts.
    unsafe {
        while value >= 0x80 {
            *at = value as u8 | 0x80;
            value >>= 7;
            at = at.add(1);
        }
        *at = value as u8;
        at.add(1)
    }
}

/// # Safety
/// `at` has room for `text_len(bytes.len())` bytes.
#[inline]
pub(super) unsafe fn write_text(at: *mut u8, bytes: &[u8]) -> *mut u8 {
    // SAFETY: by the contract above.
    unsafe {
        let at = write_varint(at, bytes.len());
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), at, bytes.len());
        at.add(bytes.len())
    }
}

/// The text at `at` and the bytes it takes with its length.
///
/// # Safety
/// A text written by `write_text` stands at `at` and lives for `'a`.
#[inline]
pub(super) unsafe fn read_text<'a>(at: *const u8) -> (&'a [u8], usize) {
    // SAFETY: by the contract above.
    unsafe {
        let first = *at;
        if first < 0x80 {
            return (slice::from_raw_parts(at.add(1), first as usize), 1 + first as usize);
        }
        let (mut len, mut shift, mut used) = ((first & 0x7f) as usize, 7, 1);
        loop {
            let byte = *at.add(used);
            len |= ((byte & 0x7f) as usize) << shift;
            (shift, used) = (shift + 7, used + 1);
            if byte < 0x80 {
                return (slice::from_raw_parts(at.add(used), len), used + len);
            }
        }
    }
}

fn layout(len: usize) -> Layout {
    Layout::from_size_align(len, 8).expect("an entry is far smaller than the address space")
}

pub(super) fn allocate(len: usize) -> NonNull<u8> {
    // SAFETY: len is never 0: an entry has a head.
    let block = unsafe { alloc(layout(len)) };
    NonNull::new(block).unwrap_or_else(|| handle_alloc_error(layout(len)))
}

/// # Safety
/// `block` was allocated with `old` bytes.
pub(super) unsafe fn reallocate(block: NonNull<u8>, old: usize, new: usize) -> NonNull<u8> {
    // SAFETY: by the contract above; `new` is never 0.
    let block = unsafe { realloc(block.as_ptr(), layout(old), new) };
    NonNull::new(block).unwrap_or_else(|| handle_alloc_error(layout(new)))
}

/// # Safety
/// `block` was allocated with `len` bytes and is not used again.
pub(super) unsafe fn free(block: NonNull<u8>, len: usize) {
    // SAFETY: by the contract above.
    unsafe { dealloc(block.as_ptr(), layout(len)) };
}
