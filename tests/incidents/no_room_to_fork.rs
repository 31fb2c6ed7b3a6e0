//! "Can't save in background: fork: Cannot allocate memory", with half of the memory free: an instance filled
//! with 1 MB values cannot be saved. Onefold is filled to nine tenths of the address space it may have, and
//! saves.

use base::random::Rng;
use testkit::{Server, Value, onefold};

use super::{begin_save, field, process_bytes, wait_for};

const LIMIT: u64 = 256 << 20;
const VALUE_LEN: usize = 1 << 20;

#[test]
fn a_save_succeeds_at_nine_tenths_of_the_limit() {
    let mut server = Server::start_within(onefold(), &["--save", ""], LIMIT);
    let mut client = server.client();
    let (mut rng, mut values) = (Rng::from_seed(1), Vec::new());
    while process_bytes(&server, "VmSize") < LIMIT / 10 * 9 {
        let value: Vec<u8> = (0..VALUE_LEN / 8).flat_map(|_| rng.next_u64().to_le_bytes()).collect();
        let key = format!("{:016x}", rng.next_u64());
        assert_eq!(client.call(&[b"SET", key.as_bytes(), &value]), Value::Simple(b"OK".to_vec()));
        values.push((key, base::hash::digest(&value)));
    }
    assert!(values.len() as u64 * VALUE_LEN as u64 > LIMIT / 3, "{} values", values.len());
    begin_save(&mut client);
    wait_for(&mut client, "rdb_bgsave_in_progress", "0");
    assert_eq!(field(&mut client, "rdb_last_bgsave_status").as_deref(), Some("ok"));
    for line in ["Background saving started by pid", "DB saved on disk", "terminated with success"] {
        assert!(server.log().contains(line), "the log has no {line:?}");
    }
    assert!(!server.log().contains("overcommit"), "the kernel's setting does not matter");
    server.kill_hard();
    server.start_again();
    let mut client = server.client();
    wait_for(&mut client, "loading", "0");
    for (key, digest) in values {
        let found = client.call(&["GET", &key]);
        assert!(matches!(found, Value::Bulk(Some(value)) if base::hash::digest(&value) == digest), "{key}");
    }
}
