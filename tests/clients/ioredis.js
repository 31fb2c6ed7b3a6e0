// ioredis as an application uses it: pipelines, transactions, scans, pub/sub, buffers.
const Redis = require("ioredis");
const { check, conclude, run } = require("./lib/check");

const port = Number(process.env.ONEFOLD_PORT);

async function stringsAndHashes(redis) {
  await redis.flushall();
  check("set", await redis.set("name", "value", "EX", 100), "OK");
  check("get", await redis.get("name"), "value");
  check("incr", await redis.incr("count"), 1);
  check("mset", await redis.mset({ a: "1", b: "2" }), "OK");
  check("mget", await redis.mget("a", "b", "none"), ["1", "2", null]);
  check("hset", await redis.hset("h", { f: "v", g: "w" }), 2);
  check("hgetall", await redis.hgetall("h"), { f: "v", g: "w" });
  check("ttl", (await redis.ttl("name")) > 0, true);
  const blob = Buffer.alloc(2_000_000, 7);
  await redis.set("blob", blob);
  check("buffer", blob.equals(await redis.getBuffer("blob")), true);
}

async function pipelines(redis) {
  const pipeline = redis.pipeline();
  for (let i = 0; i < 1000; i += 1) pipeline.set(`key:${i}`, i);
  check("pipeline", (await pipeline.exec()).length, 1000);
  check("multi", await redis.multi().set("t", 1).incr("t").exec(), [[null, "OK"], [null, 2]]);
  const seen = new Set();
  for await (const keys of redis.scanStream({ match: "key:*", count: 100 })) keys.forEach((key) => seen.add(key));
  check("scan", seen.size, 1000);
  try {
    await redis.hget("t", "f");
    check("error", "none", "WRONGTYPE");
  } catch (error) {
    check("error", error.message.split(" ")[0], "WRONGTYPE");
  }
}

async function messages(redis) {
  const listener = new Redis(port, "127.0.0.1");
  await listener.subscribe("news");
  await listener.psubscribe("n*");
  const seen = [];
  listener.on("message", (channel, message) => seen.push(["message", channel, message]));
  listener.on("pmessage", (pattern, channel, message) => seen.push(["pmessage", channel, message]));
  check("publish", await redis.publish("news", "hello"), 2);
  for (let i = 0; i < 50 && seen.length < 2; i += 1) await new Promise((done) => setTimeout(done, 20));
  check("messages", seen.sort(), [["message", "news", "hello"], ["pmessage", "news", "hello"]]);
  listener.disconnect();
}

(async () => {
  const redis = new Redis(port, "127.0.0.1");
  await run([stringsAndHashes, pipelines, messages], redis);
  check("ready check", (await redis.info()).includes("redis_version:7.2.4"), true);
  redis.disconnect();
  conclude();
})();
