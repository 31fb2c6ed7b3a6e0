//! Entries under random edits, against a model.

use proptest::prelude::*;

use super::*;

/// What an entry should be.
#[derive(Clone, Debug)]
struct Model {
    key: Vec<u8>,
    bytes: Vec<u8>,
    expires_at: Option<i64>,
}

#[derive(Clone, Debug)]
enum Op {
    Expire(Option<i64>),
    Set(Vec<u8>),
    Share(Vec<u8>),
    Splice { at: usize, remove: usize, insert: Vec<u8> },
    Rename(Vec<u8>),
    Append(Vec<u8>),
}

fn check(entry: &Entry, model: &Model) {
    let view = entry.view();
    assert_eq!(view.key(), model.key);
    assert_eq!(view.expires_at(), model.expires_at);
    assert_eq!(view.kind(), Type::String);
    assert_eq!(view.clock(), 0x12_3456);
    match view.payload() {
        Payload::Bytes(bytes) => {
            assert_eq!(bytes, model.bytes);
            let image = view.image().expect("bytes in place have an image").to_vec();
            assert_eq!(EntryRef::from_image(&image).key(), model.key);
        }
        Payload::Shared(shared) => assert_eq!(shared.bytes(), model.bytes),
        other => panic!("an unexpected payload: {:?}", std::mem::discriminant(&other)),
    }
}

fn apply(entry: &mut Entry, model: &mut Model, op: Op) {
    match op {
        Op::Expire(at) => {
            entry.set_expires_at(at);
            model.expires_at = at;
        }
        Op::Set(bytes) => {
            entry.set_payload(NewPayload::Bytes(&bytes));
            model.bytes = bytes;
        }
        Op::Share(bytes) => {
            entry.set_payload(NewPayload::Shared(Arc::new(bytes.clone())));
            model.bytes = bytes;
        }
        Op::Splice { at, remove, insert } if entry.view().image().is_some() => {
            let at = at % (model.bytes.len() + 1);
            let remove = remove % (model.bytes.len() - at + 1);
            entry.packed().splice(at, remove, &[&insert]);
            model.bytes.splice(at..at + remove, insert);
        }
        Op::Append(bytes) => {
            let len = model.bytes.len();
            if let Some(block) = entry.shared_mut(len..len) {
                block.extend_from_slice(&bytes);
                model.bytes.extend_from_slice(&bytes);
            }
        }
        Op::Rename(key) => {
            let old = std::mem::replace(entry, Entry::new(b"", Type::String, NewPayload::Int(0), None, 0));
            *entry = old.with_key(&key);
            model.key = key;
        }
        Op::Splice { .. } => {}
    }
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..20),
        proptest::collection::vec(any::<u8>(), 120..135),
        proptest::collection::vec(any::<u8>(), 16_380..16_390),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let expiry = prop_oneof![
        Just(None),
        (0..1i64 << 48).prop_map(Some),
        (1i64 << 48..i64::MAX).prop_map(Some),
        Just(Some(-5))
    ];
    prop_oneof![
        expiry.prop_map(Op::Expire),
        bytes().prop_map(Op::Set),
        bytes().prop_map(Op::Share),
        bytes().prop_map(Op::Append),
        bytes().prop_map(Op::Rename),
        (any::<usize>(), any::<usize>(), bytes()).prop_map(|(at, remove, insert)| Op::Splice {
            at,
            remove,
            insert
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 256 }))]
    #[test]
    fn an_entry_keeps_its_parts(key in bytes(), ops in proptest::collection::vec(op(), 0..20)) {
        let mut model = Model { key: key.clone(), bytes: b"first".to_vec(), expires_at: None };
        let payload = NewPayload::Bytes(b"first");
        let mut entry = Entry::new(&key, Type::String, payload, None, 0x12_3456);
        check(&entry, &model);
        for op in ops {
            apply(&mut entry, &mut model, op);
            check(&entry, &model);
        }
    }
}

#[test]
fn a_shared_string_survives_its_entry_and_edits_do_not_reach_it() {
    let payload = NewPayload::Shared(Arc::new(b"large".to_vec()));
    let mut entry = Entry::new(b"k", Type::String, payload, None, 0);
    let Payload::Shared(shared) = entry.view().payload() else { panic!("it is shared") };
    let kept = shared.to_arc();
    entry.shared_mut(5..6).expect("a string's block").push(b'!');
    let Payload::Shared(shared) = entry.view().payload() else { panic!("it is shared") };
    assert_eq!((shared.bytes(), kept.as_slice()), (b"large!".as_slice(), b"large".as_slice()));
    drop(entry);
    assert_eq!(kept.as_slice(), b"large");
}

#[test]
fn small_entries_fit_the_blocks_that_the_figures_count_on() {
    let cases = [(16, 8, None, 32), (16, 32, None, 56), (16, 100, Some(1_700_000_000_000), 128)];
    for (key, value, expires_at, block) in cases {
        let (key, value) = (vec![b'k'; key], vec![b'v'; value]);
        let entry = Entry::new(&key, Type::String, NewPayload::Bytes(&value), expires_at, 0);
        assert!(entry.view().block_len() <= block, "{}", entry.view().block_len());
    }
}
