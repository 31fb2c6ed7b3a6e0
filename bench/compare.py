#!/usr/bin/env python3
"""Measures Onefold and its peers side by side, in one run, and prints ratios.

    compare.py WORKLOAD... --ours PATH [--peer NAME=PATH ...] [--quick] [--json FILE]

WORKLOAD: throughput  requests/s and server CPU per request, server and client on a core each
          memory      resident bytes per element, many small keys and a few huge collections
          snapshot    BGSAVE while every key is overwritten: extra memory, longest stall, lost throughput
          load        start-up from a dump of small keys
          scripts     distinct scripts, by EVAL and by SCRIPT LOAD: resident memory, maxmemory 256 MB
          all         each of them in turn
PATH is a server program that takes redis-server's command line (--port N --dir D ...).
Needs valkey-benchmark or redis-benchmark; name another with BENCHMARK=path. See peers/install.
Absolute figures move with the machine: quote the ratios.
"""
import argparse, atexit, glob, json, os, shutil, signal, socket, statistics, subprocess, sys, tempfile, threading, time

PEERS_HOME = os.environ.get("PEERS_HOME", os.path.expanduser("~/.cache/onefold-peers"))


def benchmark_program():
    for path in (os.environ.get("BENCHMARK"), f"{PEERS_HOME}/valkey/valkey-benchmark", shutil.which("redis-benchmark")):
        if path and os.path.exists(path):
            return path
    sys.exit("compare.py: no benchmark program; run peers/install or set BENCHMARK")


def encode(*words):
    out = [b"*%d\r\n" % len(words)]
    for word in words:
        if not isinstance(word, bytes):
            word = str(word).encode()
        out.append(b"$%d\r\n%s\r\n" % (len(word), word))
    return b"".join(out)


class Server:
    """One server process with its own folder, started on a free port."""

    def __init__(self, name, program, *options, core=None, folder=None):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.name, self.folder = name, folder or tempfile.mkdtemp(prefix=f"compare-{name}-")
        command = [program, "--port", str(self.port), "--dir", self.folder, "--save", "", "--appendonly", "no", *options]
        if core is not None:
            command = ["taskset", "-c", str(core)] + command
        self.log = open(f"{self.folder}/log", "ab")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=subprocess.STDOUT, cwd=self.folder)
        atexit.register(self.process.kill)  # a run that is interrupted leaves no server behind
        self.connection = self.connect()

    def connect(self, seconds=300):
        end = time.time() + seconds
        while time.time() < end:
            if self.process.poll() is not None:
                sys.exit(f"compare.py: {self.name} ended at start; its log: {self.folder}/log")
            try:
                connection = socket.create_connection(("127.0.0.1", self.port), timeout=300)
                connection.sendall(b"PING\r\n")
                if connection.recv(64).startswith(b"+PONG"):
                    return connection
                connection.close()
            except OSError:
                pass
            time.sleep(0.02)
        sys.exit(f"compare.py: {self.name} did not answer")

    def call(self, *words):
        """One command; the whole reply as text (bulk, simple or error; no nesting)."""
        self.connection.sendall(encode(*words))
        data = self.connection.recv(1 << 20)
        if data[:1] == b"$":
            head, _, rest = data.partition(b"\r\n")
            size = int(head[1:])
            while len(rest) < size + 2:
                rest += self.connection.recv(1 << 20)
            return rest[:size].decode()
        return data.decode().strip()

    def info(self):
        return dict(line.split(":", 1) for line in self.call("INFO", "everything").split("\r\n") if ":" in line)

    def pipeline(self, commands, batch=1000, lines=1):
        """Sends ready-encoded commands that each answer with this many lines."""
        buffer = []

        def flush():
            self.connection.sendall(b"".join(buffer))
            wanted = len(buffer) * lines
            while wanted > 0:
                data = self.connection.recv(1 << 20)
                if b"-ERR" in data or b"-OOM" in data:
                    sys.exit(f"compare.py: {self.name}: {data[:200]!r}")
                wanted -= data.count(b"\r\n")
            buffer.clear()

        for command in commands:
            buffer.append(command)
            if len(buffer) == batch:
                flush()
        if buffer:
            flush()

    def rss(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))

    def tree_pss(self):
        """Proportional memory of the process and its children, so shared pages count once."""
        pids, total = [self.process.pid], 0
        for path in glob.glob(f"/proc/{self.process.pid}/task/*/children"):
            try:
                pids += [int(pid) for pid in open(path).read().split()]
            except OSError:
                pass
        for pid in pids:
            try:
                with open(f"/proc/{pid}/smaps_rollup") as rollup:
                    total += next(int(line.split()[1]) * 1024 for line in rollup if line.startswith("Pss:"))
            except (OSError, StopIteration):
                pass
        return total

    def cpu_seconds(self):
        fields = open(f"/proc/{self.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self, keep=False):
        self.connection.close()
        self.process.kill()
        self.process.wait()
        self.log.close()
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)


def drive(server, requests, *options, core=None):
    """Runs the benchmark program; (requests per second, its last line)."""
    command = [benchmark_program(), "-p", str(server.port), "-n", str(requests), "-q", *map(str, options)]
    if core is not None:
        command = ["taskset", "-c", str(core)] + command
    out = subprocess.run(command, capture_output=True, text=True).stdout.replace("\r", "\n")
    line = [part for part in out.split("\n") if "requests per second" in part][-1]
    return float(line.split("requests per second")[0].split()[-1]), line


def throughput(servers, quick):
    """name -> (requests/s, CPU us/request), medians of interleaved rounds."""
    scale, rounds = (0.2, 3) if quick else (1, 5)
    work = [
        ("SET, no pipeline", 300_000, ["-c", 50, "-t", "set"]),
        ("GET, no pipeline", 300_000, ["-c", 50, "-t", "get"]),
        ("SET, pipeline 16", 2_000_000, ["-c", 50, "-P", 16, "-t", "set"]),
        ("GET, pipeline 16", 2_000_000, ["-c", 50, "-P", 16, "-t", "get"]),
        ("SET, pipeline 64", 3_000_000, ["-c", 50, "-P", 64, "-t", "set"]),
        ("GET, pipeline 64", 3_000_000, ["-c", 50, "-P", 64, "-t", "get"]),
        ("INCR, pipeline 16", 2_000_000, ["-c", 50, "-P", 16, "-t", "incr"]),
        ("LPUSH, pipeline 16", 1_000_000, ["-c", 50, "-P", 16, "-t", "lpush"]),
        ("SADD, pipeline 16", 1_000_000, ["-c", 50, "-P", 16, "-t", "sadd"]),
        ("HSET, pipeline 16", 1_000_000, ["-c", 50, "-P", 16, "-t", "hset"]),
        ("ZADD, pipeline 16", 600_000, ["-c", 50, "-P", 16, "-t", "zadd"]),
        ("LRANGE 100, no pipeline", 100_000, ["-c", 50, "-t", "lrange_100"]),
    ]
    running = [Server(name, program, core=0) for name, program in servers]
    rows = {}
    for label, requests, options in work:
        requests = int(requests * scale)
        samples = {server.name: [] for server in running}
        for _ in range(rounds):
            for server in running:
                before = server.cpu_seconds()
                rate, _ = drive(server, requests, *options, "-d", 32, "-r", 1_000_000, core=1)
                samples[server.name].append((rate, (server.cpu_seconds() - before) / requests * 1e6))
        rows[label] = {
            name: {"requests_per_s": statistics.median(s[0] for s in seen), "cpu_us": statistics.median(s[1] for s in seen)}
            for name, seen in samples.items()
        }
        print_row(label, rows[label], "cpu_us", "us CPU/request", "requests_per_s", "requests/s")
    for server in running:
        server.stop()
    return rows


def value(size, index):
    text = b"%x" % (index * 2654435761 % (1 << 61))
    return (text * (size // len(text) + 1))[:size]


def memory(servers, quick):
    """name -> resident bytes per element."""
    scale = 0.25 if quick else 1
    member = lambda i, j: value(12, i * 10 + j)
    work = [
        ("string, key 16 value 8", 2_000_000, lambda i: encode("SET", "key:%012d" % i, value(8, i))),
        ("string, key 16 value 32", 2_000_000, lambda i: encode("SET", "key:%012d" % i, value(32, i))),
        ("string, key 16 value 100, TTL", 1_000_000, lambda i: encode("SET", "key:%012d" % i, value(100, i), "EX", "100000")),
        ("hash of 10, field 8 value 16", 200_000, lambda i: encode("HSET", "h:%012d" % i, *[w for j in range(10) for w in ("field:%02d" % j, value(16, i * 10 + j))])),
        ("set of 10, member 12", 200_000, lambda i: encode("SADD", "s:%012d" % i, *[member(i, j) for j in range(10)])),
        ("sorted set of 10, member 12", 200_000, lambda i: encode("ZADD", "z:%012d" % i, *[w for j in range(10) for w in ((i * 7919 + j * 104729) % 100003, member(i, j))])),
        ("list of 10, element 16", 200_000, lambda i: encode("RPUSH", "l:%012d" % i, *[value(16, i * 10 + j) for j in range(10)])),
        ("one hash, field 12 value 16", 2_000_000, lambda i: encode("HSET", "hash", "f%011d" % i, value(16, i))),
        ("one set, member 12", 2_000_000, lambda i: encode("SADD", "set", "f%011d" % i)),
        ("one sorted set, member 12", 1_000_000, lambda i: encode("ZADD", "zset", i * 7919 % 1000003, "f%011d" % i)),
    ]
    rows = {}
    for label, count, command in work:
        count, rows[label] = int(count * scale), {}
        for name, program in servers:
            server = Server(name, program)
            time.sleep(0.3)
            before = server.rss()
            server.pipeline(command(i) for i in range(count))
            time.sleep(0.5)
            rows[label][name] = {"bytes": (server.rss() - before) / count}
            server.stop()
        print_row(label, rows[label], "bytes", "bytes resident each")
    return rows


class Prober(threading.Thread):
    """Sends GET about every millisecond and keeps the longest wait for a reply."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.connection, self.worst, self.running = server.connect(), 0.0, True
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def run(self):
        message = encode("GET", "key:000000000001")
        while self.running:
            start = time.perf_counter()
            self.connection.sendall(message)
            if not self.connection.recv(4096):
                return
            self.worst = max(self.worst, time.perf_counter() - start)
            time.sleep(0.001)


def snapshot(servers, quick):
    """name -> extra memory, throughput and stall while saving and overwriting every key."""
    keys, size = (500_000, 400) if quick else (3_000_000, 400)
    write = ["SET", "key:__rand_int__", "__data__"]
    rows = {"BGSAVE under overwrite": {}}
    for name, program in servers:
        server = Server(name, program)
        server.pipeline(encode("SET", "key:%012d" % i, value(size, i)) for i in range(keys))
        base = server.tree_pss()
        rate_before, _ = drive(server, keys // 5, "-c", 20, "-r", keys, "-d", size, *write)
        prober = Prober(server)
        prober.start()
        result = {}

        def load():
            result["rate"], _ = drive(server, keys // 2, "-c", 20, "-r", keys, "-d", size, *write)

        loader = threading.Thread(target=load)
        loader.start()
        time.sleep(0.3)
        started, peak, seconds = time.time(), 0, None
        server.call("BGSAVE")
        while loader.is_alive() or seconds is None:
            peak = max(peak, server.tree_pss())
            if seconds is None and server.info().get("rdb_bgsave_in_progress") == "0":
                seconds = time.time() - started
            time.sleep(0.05)
        loader.join()
        prober.running = False
        prober.join(2)
        info = server.info()
        rows["BGSAVE under overwrite"][name] = {
            "extra_percent": 100 * (peak - base) / base,
            "worst_stall_ms": prober.worst * 1000,
            "throughput_kept_percent": 100 * result["rate"] / rate_before,
            "seconds": seconds,
            "status": info.get("rdb_last_bgsave_status"),
            "fork_us": info.get("latest_fork_usec"),
        }
        print(f"{name:>12}  " + "  ".join(f"{k}={v if isinstance(v, (str, type(None))) else round(v, 2)}" for k, v in rows["BGSAVE under overwrite"][name].items()), flush=True)
        server.stop()
    return rows


def load(servers, quick):
    """name -> seconds to start from the first server's dump, and from its own."""
    keys = 500_000 if quick else 3_000_000
    rows = {"start from a dump": {}}
    for name, program in servers:
        server = Server(name, program)
        server.pipeline(encode("SET", "key:%012d" % i, value(64, i)) for i in range(keys))
        server.call("SAVE")
        folder = server.folder
        server.stop(keep=True)
        started = time.time()
        server = Server(name, program, folder=folder)
        seconds = time.time() - started
        if server.call("DBSIZE") != f":{keys}":
            sys.exit(f"compare.py: {name} lost keys over a restart: {server.call('DBSIZE')}")
        rows["start from a dump"][name] = {"seconds": seconds}
        server.stop()
    print_row("start from a dump", rows["start from a dump"], "seconds", "s")
    return rows


def scripts(servers, quick):
    """name -> resident memory and used memory after many distinct scripts under maxmemory 256 MB."""
    count = 100_000 if quick else 1_000_000
    body = "local t = {} ; t[1] = KEYS[1] ; t[2] = ARGV[1] ; return #t + %d"
    rows = {}
    for label, command, lines in (
        ("distinct scripts by EVAL", lambda i: encode("EVAL", body % i, "1", "k", "v"), 1),
        ("distinct scripts by SCRIPT LOAD", lambda i: encode("SCRIPT", "LOAD", body % i), 2),
    ):
        rows[label] = {}
        for name, program in servers:
            server = Server(name, program, "--maxmemory", "256mb")
            server.pipeline((command(i) for i in range(count)), lines=lines)
            info = server.info()
            rows[label][name] = {"rss_mb": server.rss() / 1e6, "used_mb": int(info["used_memory"]) / 1e6, "cached": info.get("number_of_cached_scripts")}
            server.stop()
        print_row(label, rows[label], "rss_mb", "MB resident", "used_mb", "MB used_memory")
    return rows


def print_row(label, row, *figures):
    names = list(row)
    cells = []
    for name in names:
        cells.append(f"{name} " + ", ".join(f"{row[name][key]:,.3f} {unit}" for key, unit in zip(figures[::2], figures[1::2])))
    ratios = [f"{names[0]}/{name} {row[names[0]][figures[0]] / row[name][figures[0]]:.2f}" for name in names[1:] if row[name][figures[0]]]
    print(f"{label:<32} " + " | ".join(cells) + ("   => " + ", ".join(ratios) if ratios else ""), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workload", nargs="+", choices=["throughput", "memory", "snapshot", "load", "scripts", "all"])
    parser.add_argument("--ours", required=True, help="Onefold's server program")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--quick", action="store_true", help="a fifth of the work, for a first look")
    parser.add_argument("--json", help="write every figure to this file")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("compare.py: ended by a signal"))
    peers = [peer.split("=", 1) for peer in args.peer]
    if not peers:
        found = [("valkey", f"{PEERS_HOME}/valkey/valkey-server"), ("redis", shutil.which("redis-server") or "")]
        peers = [(name, path) for name, path in found if os.path.exists(path)]
    servers = [("onefold", os.path.abspath(args.ours))] + [(name, os.path.abspath(path)) for name, path in peers]
    workloads = ["throughput", "memory", "snapshot", "load", "scripts"] if "all" in args.workload else args.workload
    figures = {}
    for workload in workloads:
        print(f"\n== {workload}: {', '.join(name for name, _ in servers)}", flush=True)
        figures[workload] = globals()[workload](servers, args.quick)
    if args.json:
        with open(args.json, "w") as out:
            json.dump(figures, out, indent=1)


if __name__ == "__main__":
    main()
