//! The file of a snapshot, made of what it gives out, in memory.

use std::collections::BTreeMap;

use base::crc::crc64;
use rdb::WriteOptions;
use store::snapshot::{Block, Output, Region};

/// A snapshot's file, made of encoded blocks and of regions that are filled in any order.
pub struct File {
    bytes: Vec<u8>,
    /// That it should hold.
    pub keys: usize,
    open: BTreeMap<Region, Body>,
    /// Values that came in pieces.
    pub regions: usize,
}

/// Where a region's body is, and which bytes of it have come.
struct Body {
    start: usize,
    filled: Vec<bool>,
}

impl Default for File {
    fn default() -> File {
        let bytes = rdb::write_header(rdb::format::VERSION_FIELD_TTL).to_vec();
        File { bytes, keys: 0, open: BTreeMap::new(), regions: 0 }
    }
}

impl File {
    pub fn add(&mut self, output: &Output) {
        self.keys += output.keys();
        match output {
            Output::Entries(block) => self.add_block(block),
            Output::Opening(opening) => {
                rdb::write_select_db(&mut self.bytes, u64::from(opening.db.0));
                self.bytes.extend_from_slice(&opening.head);
                let (start, len) = (self.bytes.len(), opening.body_len as usize);
                self.bytes.resize(start + len, 0);
                self.open.insert(opening.region, Body { start, filled: vec![false; len] });
                self.regions += 1;
            }
            Output::Piece(piece) => {
                let body = self.open.get_mut(&piece.region).expect("a region is opened before its pieces");
                let mut room = Vec::new();
                let bytes = piece.bytes(&mut room);
                let place = piece.at as usize..piece.at as usize + bytes.len();
                assert!(!body.filled[place.clone()].contains(&true), "a byte is written once");
                body.filled[place.clone()].fill(true);
                self.bytes[body.start..][place].copy_from_slice(bytes);
            }
            Output::Closing(region) => {
                let body = self.open.remove(region).expect("a region is closed once");
                assert!(!body.filled.contains(&false), "a region is filled exactly");
            }
            Output::Garbage(_) | Output::Wait => {}
        }
    }

    fn add_block(&mut self, block: &Block) {
        rdb::write_select_db(&mut self.bytes, u64::from(block.db.0));
        for record in block.records() {
            let rest = record.encode(&mut self.bytes, &WriteOptions { compress: false });
            self.bytes.extend_from_slice(rest);
        }
    }

    /// The whole file.
    pub fn close(mut self) -> Vec<u8> {
        assert!(self.open.is_empty(), "every region is closed");
        let crc = crc64(0, &self.bytes);
        rdb::write_eof(&mut self.bytes, Some(crc));
        self.bytes
    }
}
