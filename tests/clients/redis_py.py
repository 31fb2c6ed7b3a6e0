"""redis-py as an application uses it: both protocols, pools, pipelines, transactions, pub/sub, scanning."""
import os
import sys
import time

import redis

port = int(os.environ["ONEFOLD_PORT"])
passed = failed = 0


def check(name, got, expected):
    global passed, failed
    if got == expected:
        passed += 1
    else:
        failed += 1
        print(f"FAILED {name}: got {got!r}, expected {expected!r}")


def strings_and_keys(r):
    r.flushall()
    check("set", r.set("name", "value", ex=100), True)
    check("get", r.get("name"), b"value")
    check("ttl", 0 < r.ttl("name") <= 100, True)
    check("set nx", r.set("name", "other", nx=True), None)
    check("set get", r.set("name", "new", get=True), b"value")
    check("incr", r.incr("count", 5), 5)
    check("incrbyfloat", r.incrbyfloat("float", 1.5), 1.5)
    check("mset", r.mset({"a": 1, "b": 2}), True)
    check("mget", r.mget("a", "b", "none"), [b"1", b"2", None])
    check("append", r.append("a", "0"), 2)
    check("getrange", r.getrange("a", 0, 0), b"1")
    check("expire", r.expire("a", 50), True)
    check("persist", r.persist("a"), True)
    check("rename", r.rename("a", "z"), True)
    check("exists", r.exists("z", "a", "b"), 2)
    check("delete", r.delete("z", "b"), 2)
    check("type", r.type("count"), b"string")
    check("object", r.object("encoding", "count"), b"int")
    blob = os.urandom(3_000_000)
    check("large set", r.set("large", blob), True)
    check("large get", r.get("large") == blob, True)
    payload = r.dump("count")
    check("restore", r.restore("copy", 0, payload), b"OK")
    check("copied", r.get("copy"), b"5")


def hashes(r):
    r.delete("h")
    check("hset", r.hset("h", mapping={"f": "v", "n": 1}), 2)
    check("hgetall", r.hgetall("h"), {b"f": b"v", b"n": b"1"})
    check("hincrby", r.hincrby("h", "n", 4), 5)
    check("hmget", r.hmget("h", "f", "none"), [b"v", None])
    check("hdel", r.hdel("h", "f"), 1)
    check("hexpire", r.hexpire("h", 100, "n"), [1])
    check("httl", 0 < r.httl("h", "n")[0] <= 100, True)
    for i in range(3000):
        r.hset("big", f"field{i}", i)
    check("hscan", len(dict(r.hscan_iter("big", count=100))), 3000)
    check("hlen", r.hlen("big"), 3000)


def scanning(r):
    pipe = r.pipeline(transaction=False)
    for i in range(5000):
        pipe.set(f"scan:{i}", i)
    check("pipeline", len(pipe.execute()), 5000)
    check("scan", len(set(r.scan_iter("scan:*", count=300))), 5000)
    check("dbsize", r.dbsize() >= 5000, True)


def transactions(r):
    r.set("t", 1)
    with r.pipeline() as pipe:
        pipe.watch("t")
        value = int(pipe.get("t"))
        pipe.multi()
        pipe.set("t", value + 1)
        pipe.get("t")
        check("exec", pipe.execute(), [True, b"2"])
    with r.pipeline() as pipe:
        pipe.watch("t")
        r.set("t", 9)
        pipe.multi()
        pipe.set("t", 0)
        try:
            pipe.execute()
            check("watch", "executed", "WatchError")
        except redis.WatchError:
            check("watch", "WatchError", "WatchError")


def messages(r):
    listener = r.pubsub(ignore_subscribe_messages=True)
    listener.subscribe("news")
    listener.psubscribe("n*s")
    time.sleep(0.1)
    listener.get_message(timeout=1)
    check("publish", r.publish("news", "hello"), 2)
    seen = []
    deadline = time.time() + 5
    while len(seen) < 2 and time.time() < deadline:
        message = listener.get_message(timeout=1)
        if message:
            seen.append((message["type"], message["data"]))
    check("messages", sorted(seen), [("message", b"hello"), ("pmessage", b"hello")])
    listener.close()


def server(r):
    check("ping", r.ping(), True)
    check("info", r.info()["redis_version"], "7.2.4")
    check("config", r.config_get("maxclients")["maxclients"].isdigit(), True)
    check("client name", r.client_setname("me") and r.client_getname() in (b"me", "me"), True)
    check("client list", len(r.client_list()) >= 1, True)
    check("time", abs(r.time()[0] - time.time()) < 5, True)
    check("command", r.command_count() > 100, True)
    check("slowlog", isinstance(r.slowlog_get(), list), True)
    try:
        r.get("h")
        check("wrong type", "no error", "error")
    except redis.ResponseError as error:
        check("wrong type", str(error).startswith("WRONGTYPE"), True)


for protocol in (2, 3):
    client = redis.Redis(host="127.0.0.1", port=port, protocol=protocol)
    for part in (strings_and_keys, hashes, scanning, transactions, messages, server):
        try:
            part(client)
        except Exception as error:  # a client library's exception is a failure, with its name
            failed += 1
            print(f"FAILED {part.__name__} over RESP{protocol}: {error!r}")

print(f"{passed} passed, {failed} failed")
sys.exit(1 if failed else 0)
