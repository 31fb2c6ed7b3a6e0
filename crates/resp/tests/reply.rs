//! The encoder against the exact bytes of both protocols, and encoder and decoder against each other.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use resp::{DecodeError, DecodeLimits, Decoder, Protocol, Reply, Value, decode};

fn written(protocol: Protocol, write: impl Fn(&mut Reply)) -> Vec<u8> {
    let mut reply = Reply::new(protocol);
    write(&mut reply);
    let bytes: Vec<u8> = reply.chunks().flatten().copied().collect();
    assert_eq!(reply.total_len(), bytes.len());
    bytes
}

fn check(resp2: &str, resp3: &str, write: impl Fn(&mut Reply)) {
    assert_eq!(String::from_utf8_lossy(&written(Protocol::Resp2, &write)), resp2);
    assert_eq!(String::from_utf8_lossy(&written(Protocol::Resp3, &write)), resp3);
}

fn check_both(bytes: &str, write: impl Fn(&mut Reply)) {
    check(bytes, bytes, write);
}

#[test]
fn same_in_both_protocols() {
    check_both("+OK\r\n", |r| r.ok());
    check_both("+PONG\r\n", |r| r.simple("PONG"));
    check_both("-ERR syntax error\r\n", |r| r.error("ERR syntax error"));
    check_both("-ERR a  b\r\n", |r| r.error(b"ERR a\r\nb\r\n"));
    check_both("-\r\n", |r| r.error("\r\n"));
    check_both("*2\r\n", |r| r.array(2));
    for value in [0, 9, 10, -1, -9, 255, 256, 265, i64::MIN, i64::MAX] {
        let text = value.to_string();
        check_both(&format!(":{text}\r\n"), |r| r.integer(value));
        check_both(&format!("${}\r\n{text}\r\n", text.len()), |r| r.bulk_i64(value));
    }
    for len in [0, 1, 9, 10, 99, 100, 12345] {
        let text = "x".repeat(len);
        check_both(&format!("${len}\r\n{text}\r\n"), |r| r.bulk(text.as_bytes()));
        check_both(&format!("${len}\r\n{text}\r\n"), |r| {
            r.bulk_shared(&Arc::new([b"behind ", text.as_bytes(), b" before"].concat()), 7..7 + text.len());
        });
    }
}

#[test]
fn different_in_the_protocols() {
    check("$-1\r\n", "_\r\n", |r| r.null());
    check("*-1\r\n", "_\r\n", |r| r.null_array());
    check("*4\r\n", "%2\r\n", |r| r.map(2));
    check("*2\r\n", "~2\r\n", |r| r.set(2));
    check("*3\r\n", ">3\r\n", |r| r.push(3));
    check(":1\r\n:0\r\n", "#t\r\n#f\r\n", |r| [true, false].map(|value| r.bool(value)).into_iter().collect());
    check("$3\r\n123\r\n", "(123\r\n", |r| r.big_number("123"));
    check("$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n", |r| r.verbatim("txt", b"hi"));
    check("$3\r\n1.5\r\n", ",1.5\r\n", |r| r.double_text("1.5"));
    let infinities = [(f64::INFINITY, "inf"), (f64::NEG_INFINITY, "-inf")];
    for (value, text) in
        [(3.0, "3"), (1.5, "1.5"), (0.1, "0.1"), (1e18, "1000000000000000000")].into_iter().chain(infinities)
    {
        let bulk = format!("${}\r\n{text}\r\n", text.len());
        check(&bulk, &format!(",{text}\r\n"), |r| r.double(value));
    }
    assert_eq!(written(Protocol::Resp3, |r| r.attribute(1)), b"|1\r\n");
}

fn deferred(reply: &mut Reply, outer: usize, inner: usize) {
    reply.bulk_shared(&Arc::new(b"before".to_vec()), 0..6);
    let mark = reply.defer_array();
    for _ in 0..outer {
        let mark = reply.defer();
        (0..inner).for_each(|_| reply.bulk_shared(&Arc::new(b"v".to_vec()), 0..1));
        reply.close_set(mark, inner);
    }
    reply.close_array(mark, outer);
    reply.bulk_shared(&Arc::new(b"after".to_vec()), 0..5);
}

fn announced(reply: &mut Reply, outer: usize, inner: usize) {
    reply.bulk(b"before");
    reply.array(outer);
    for _ in 0..outer {
        reply.set(inner);
        (0..inner).for_each(|_| reply.bulk(b"v"));
    }
    reply.bulk(b"after");
}

#[test]
fn deferred_lengths() {
    for outer in [0, 1, 9, 10, 123] {
        for inner in [0, 1, 10, 1000] {
            for protocol in [Protocol::Resp2, Protocol::Resp3] {
                let expected = written(protocol, |r| announced(r, outer, inner));
                assert!(written(protocol, |r| deferred(r, outer, inner)) == expected, "{outer} {inner}");
            }
        }
    }
    check("*24\r\n", "%12\r\n", |r| {
        let mark = r.defer();
        r.close_map(mark, 12);
    });
}

#[test]
fn truncate_takes_back_shared_parts() {
    let mut reply = Reply::default();
    let value = Arc::new(vec![b'x'; 10]);
    reply.bulk_shared(&value, 0..value.len());
    let kept: Vec<u8> = reply.chunks().flatten().copied().collect();
    let position = reply.len();
    reply.bulk_shared(&value, 0..value.len());
    reply.integer(1);
    reply.truncate(position);
    assert_eq!(reply.chunks().flatten().copied().collect::<Vec<u8>>(), kept);
    reply.clear();
    assert!(reply.is_empty() && reply.total_len() == 0 && Arc::strong_count(&value) == 1);
}

/// Encodes any value; nesting is bounded by the strategy that made it.
fn write(value: &Value, reply: &mut Reply) {
    match value {
        Value::Simple(text) => reply.simple(std::str::from_utf8(text).expect("the strategy makes text")),
        Value::Error(text) => reply.error(text),
        Value::Integer(value) => reply.integer(*value),
        Value::Bulk(Some(bytes)) => reply.bulk(bytes),
        Value::Array(None) => reply.null_array(),
        Value::Bulk(None) | Value::Null => reply.null(),
        Value::Double(value) => reply.double(*value),
        Value::Bool(value) => reply.bool(*value),
        Value::BigNumber(digits) => reply.big_number(std::str::from_utf8(digits).expect("digits")),
        Value::BlobError(text) => reply.raw(&[b"!3\r\n", text.as_slice(), b"\r\n"].concat()),
        Value::Verbatim { text, .. } => reply.verbatim("txt", text),
        Value::Array(Some(items)) => write_items(items, reply, Reply::array),
        Value::Set(items) => write_items(items, reply, Reply::set),
        Value::Push(items) => write_items(items, reply, Reply::push),
        Value::Map(pairs) => {
            reply.map(pairs.len());
            write_pairs(pairs, reply);
        }
        Value::Attribute(pairs, value) => {
            if reply.protocol == Protocol::Resp3 {
                reply.attribute(pairs.len());
                write_pairs(pairs, reply);
            }
            write(value, reply);
        }
    }
}

fn write_items(items: &[Value], reply: &mut Reply, header: fn(&mut Reply, usize)) {
    header(reply, items.len());
    items.iter().for_each(|item| write(item, reply));
}

fn write_pairs(pairs: &[(Value, Value)], reply: &mut Reply) {
    for (key, value) in pairs {
        write(key, reply);
        write(value, reply);
    }
}

/// What is left of a value after it went through RESP2.
fn in_resp2(value: &Value) -> Value {
    let all = |items: &[Value]| Value::Array(Some(items.iter().map(in_resp2).collect()));
    match value {
        Value::Null => Value::Bulk(None),
        Value::Double(_) => Value::Bulk(Some(resp3_text(value))),
        Value::Bool(value) => Value::Integer(i64::from(*value)),
        Value::BigNumber(text) | Value::Verbatim { text, .. } => Value::Bulk(Some(text.clone())),
        Value::Array(Some(items)) | Value::Set(items) | Value::Push(items) => all(items),
        Value::Map(pairs) => Value::Array(Some(
            pairs.iter().flat_map(|(key, value)| [in_resp2(key), in_resp2(value)]).collect(),
        )),
        Value::Attribute(_, value) => in_resp2(value),
        other => other.clone(),
    }
}

/// The same value as RESP3 reads it: there is one null only.
fn in_resp3(value: &Value) -> Value {
    let all = |items: &[Value]| items.iter().map(in_resp3).collect();
    let pairs = |pairs: &[(Value, Value)]| {
        pairs.iter().map(|(key, value)| (in_resp3(key), in_resp3(value))).collect::<Vec<_>>()
    };
    match value {
        Value::Bulk(None) | Value::Array(None) => Value::Null,
        Value::Array(Some(items)) => Value::Array(Some(all(items))),
        Value::Set(items) => Value::Set(all(items)),
        Value::Push(items) => Value::Push(all(items)),
        Value::Map(items) => Value::Map(pairs(items)),
        Value::Attribute(notes, value) => Value::Attribute(pairs(notes), Box::new(in_resp3(value))),
        other => other.clone(),
    }
}

fn resp3_text(value: &Value) -> Vec<u8> {
    let line = written(Protocol::Resp3, |reply| write(value, reply));
    line[1..line.len() - 2].to_vec()
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        "[ -~]{0,20}".prop_map(|text| Value::Simple(text.into_bytes())),
        "ERR [ -~]{0,20}".prop_map(|text| Value::Error(text.into_bytes())),
        any::<i64>().prop_map(Value::Integer),
        proptest::option::of(vec(any::<u8>(), 0..40)).prop_map(Value::Bulk),
        Just(Value::Array(None)),
        Just(Value::Null),
        any::<f64>().prop_filter("NaN equals nothing", |value| !value.is_nan()).prop_map(Value::Double),
        any::<bool>().prop_map(Value::Bool),
        "-?[0-9]{1,40}".prop_map(|text| Value::BigNumber(text.into_bytes())),
        vec(any::<u8>(), 3).prop_map(Value::BlobError),
        vec(any::<u8>(), 0..20).prop_map(|text| Value::Verbatim { ext: *b"txt", text }),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(4, 32, 4, |inner| {
        let pairs = vec((inner.clone(), inner.clone()), 0..4);
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|items| Value::Array(Some(items))),
            vec(inner.clone(), 0..4).prop_map(Value::Set),
            vec(inner.clone(), 0..4).prop_map(Value::Push),
            pairs.clone().prop_map(Value::Map),
            (pairs, inner).prop_map(|(pairs, value)| Value::Attribute(pairs, Box::new(value))),
        ]
    })
}

#[test]
fn malformed_replies() {
    let limits = DecodeLimits { depth_max: 3, bulk_len_max: 10, line_len_max: 20 };
    let cases = [
        ("?\r\n", DecodeError::UnknownMarker(b'?')),
        ("\r\n", DecodeError::InvalidLineEnd),
        ("+a\rb", DecodeError::InvalidLineEnd),
        (":1x\r\n", DecodeError::InvalidNumber),
        ("$-2\r\n", DecodeError::InvalidNumber),
        ("*-2\r\n", DecodeError::InvalidNumber),
        (",one\r\n", DecodeError::InvalidNumber),
        ("#x\r\n", DecodeError::InvalidNumber),
        ("(1a\r\n", DecodeError::InvalidNumber),
        ("(-\r\n", DecodeError::InvalidNumber),
        ("_x\r\n", DecodeError::UnknownMarker(b'_')),
        ("=2\r\nab\r\n", DecodeError::InvalidText),
        ("$2\r\nabcd", DecodeError::InvalidLineEnd),
        ("$11\r\n", DecodeError::TooLong),
        ("+xxxxxxxxxxxxxxxxxxxxxxxxx", DecodeError::TooLong),
        ("*1\r\n*1\r\n*1\r\n*1\r\n", DecodeError::TooDeep),
    ];
    for (input, error) in cases {
        assert_eq!(decode(input.as_bytes(), &limits), Err(error), "{input:?}");
    }
    for input in [
        "",
        "+",
        "+OK\r",
        "$3\r\nab",
        "$3\r\nabc\r",
        "*2\r\n:1\r\n",
        "%9223372036854775807\r\n",
        "|1\r\n:1\r\n:2\r\n",
    ] {
        assert_eq!(decode(input.as_bytes(), &limits), Ok(None), "{input:?}");
    }
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(value in value()) {
        let both = [(Protocol::Resp2, in_resp2(&value)), (Protocol::Resp3, in_resp3(&value))];
        for (protocol, expected) in both {
            let bytes = written(protocol, |reply| write(&value, reply));
            prop_assert_eq!(decode(&bytes, &DecodeLimits::default()), Ok(Some((expected, bytes.len()))));
        }
    }

    #[test]
    fn decoding_resumes_anywhere(value in value()) {
        let bytes = written(Protocol::Resp3, |reply| write(&value, reply));
        let mut decoder = Decoder::default();
        for end in 0..bytes.len() {
            prop_assert_eq!(decoder.next(&bytes[..end]), Ok(None));
        }
        prop_assert_eq!(decoder.next(&bytes), Ok(Some((in_resp3(&value), bytes.len()))));
    }

    #[test]
    fn noise_never_panics(input in "([-+:$*_#,(=!%~>|]{1,2}[-0-9a]{0,4}\r?\n){0,12}", tail in vec(any::<u8>(), 0..50)) {
        let mut bytes = input.into_bytes();
        bytes.extend(tail);
        if let Ok(Some((_, len))) = decode(&bytes, &DecodeLimits::default()) {
            prop_assert!(len <= bytes.len());
        }
    }
}

#[test]
fn what_does_not_fit_is_left_out() {
    let mut reply = Reply::new(Protocol::Resp2);
    reply.simple("of another request");
    let start = reply.len();
    for (bound, count, cut) in [(0, 2000, false), (1 << 20, 10, false), (1 << 20, 100_000, true)] {
        for text in [&[b'a'; 50][..], &[b'b'; 5000]] {
            reply.buf.shrink_to_fit();
            reply.begin(bound);
            (0..count).for_each(|_| reply.bulk(text));
            (0..count).for_each(|_| reply.integer(1_000_000));
            assert_eq!(reply.is_cut(), cut, "{count} of {} bytes, bound {bound}", text.len());
            assert!(!cut || reply.buf.capacity() <= start + 2 * bound, "{}", reply.buf.capacity());
            reply.truncate(start);
        }
    }
    reply.begin(0);
    assert_eq!(reply.buf, b"+of another request\r\n");
}
