// bullmq and redlock as an application uses them: queues, retries, delays, flows and locks, all made of Lua scripts.
const { FlowProducer, Queue, QueueEvents, Worker } = require("bullmq");
const Redis = require("ioredis");
const Redlock = require("redlock");
const { check, conclude, run } = require("./lib/check");

const port = Number(process.env.ONEFOLD_PORT);
const connection = { host: "127.0.0.1", port, maxRetriesPerRequest: null };

async function until(name, reached) {
  for (let i = 0; i < 1500; i += 1) {
    if (await reached()) return;
    await new Promise((done) => setTimeout(done, 20));
  }
  check(name, "never", "reached");
}

async function queues() {
  const queue = new Queue("work", { connection });
  const jobs = Array.from({ length: 50 }, (_, i) => ({ name: "job", data: { i, text: "\u00fc".repeat(i) } }));
  check("ids", (await queue.addBulk(jobs)).map((job) => job.id), jobs.map((_, i) => String(i + 1)));
  const order = [];
  const work = async (job) => {
    order.push(job.data.i);
    if (job.data.i % 7 === 0) throw new Error(`bad ${job.data.i}`);
    return { twice: job.data.i * 2 };
  };
  const worker = new Worker("work", work, { connection });
  await until("work", async () => ((counts) => counts.completed + counts.failed === 50)(await queue.getJobCounts()));
  check("order", order, jobs.map((job) => job.data.i));
  check("failed", (await queue.getFailed()).map((job) => job.failedReason).reverse()[1], "bad 7");
  check("returned", (await queue.getCompleted()).find((job) => job.id === "4").returnvalue, { twice: 6 });
  await worker.close();
  await queue.obliterate({ force: true });
  await queue.close();
}

async function retriesAndDelays() {
  const queue = new Queue("later", { connection });
  const events = new QueueEvents("later", { connection });
  await events.waitUntilReady();
  for (const [name, delay] of [["c", 300], ["a", 100], ["b", 200]]) await queue.add(name, {}, { delay });
  check("delayed", (await queue.getDelayed()).map((job) => job.name), ["a", "b", "c"]);
  for (const priority of [10, 1, 5]) await queue.add(`p${priority}`, {}, { priority });
  check("by priority", (await queue.getPrioritized()).map((job) => job.name), ["p1", "p5", "p10"]);
  const work = async (job) => {
    if (job.name === "retried" && job.attemptsMade < 2) throw new Error("once more");
    return job.attemptsMade;
  };
  const worker = new Worker("later", work, { connection });
  const retried = await queue.add("retried", {}, { attempts: 4, backoff: { type: "exponential", delay: 20 } });
  check("retried", await retried.waitUntilFinished(events), 2);
  await until("all done", async () => (await queue.getJobCounts()).completed === 7);
  for (const resource of [worker, events, queue]) await resource.close();
}

async function flows() {
  const kids = new Worker("kids", async (job) => job.data.value, { connection });
  const parents = new Worker("parents", async (job) => Object.values(await job.getChildrenValues()).sort(), { connection });
  const producer = new FlowProducer({ connection });
  const children = [1, 2, 3].map((value) => ({ name: "kid", queueName: "kids", data: { value } }));
  const tree = await producer.add({ name: "root", queueName: "parents", children });
  await until("flow", async () => (await tree.job.getState()) === "completed");
  check("values", (await tree.job.getDependenciesCount()).processed, 3);
  for (const resource of [kids, parents, producer]) await resource.close();
}

async function locks() {
  const redis = new Redis(port, "127.0.0.1");
  const redlock = new Redlock([redis], { retryCount: 1, retryDelay: 10 });
  let lock = await redlock.lock(["{lock}a", "{lock}b"], 60000);
  check("locked", await redlock.lock("{lock}a", 1000).catch((error) => error.name), "LockError");
  lock = await lock.extend(120000);
  check("extended", (await redis.pttl("{lock}b")) > 60000, true);
  await lock.unlock();
  check("unlocked", await redis.exists("{lock}a", "{lock}b"), 0);
  redis.disconnect();
}

run([queues, retriesAndDelays, flows, locks]).then(conclude);
