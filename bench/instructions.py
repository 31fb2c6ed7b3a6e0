#!/usr/bin/env python3
"""Counts instructions of a pipelined request from its look-up to its reply (a worker's run_batch), by valgrind.

    instructions.py NAME=PATH NAME=PATH... [--cases set,incr] [--requests 100000] [--pipeline 16] [--function worker::run]

With worker::run it counts all that a worker does, reading and writing included.

Each PATH is a release build of onefold-server; the last one is what the others are compared with. What snapshots
cost while none runs is the difference to a build without them:

    cargo build --release -p server && cp target/release/onefold-server /tmp/with
    cargo build --release -p server --features base/no-snapshots && cp target/release/onefold-server /tmp/without
    bench/instructions.py with=/tmp/with without=/tmp/without

The same goes for memory accounting and base/no-accounting; there it is worker::run that tells.
Keys are the same in each run, but they are hashed anew: what adds keys varies by some instructions.
"""
import argparse, glob, os, random, re, signal, socket, subprocess, sys, tempfile, time

from compare import encode

KEYS, VALUE = 100_000, b"x" * 64


def key(index):
    return b"key:%012d" % index


def cases():
    """By name: what is there before, and what is counted, each of the number of a request's key."""
    write = lambda index: encode("SET", key(index), VALUE)
    return {
        "set": (write, write),
        "set-new": (None, write),
        "incr": (lambda index: encode("SET", key(index), "1"), lambda index: encode("INCR", key(index))),
        "hset": (lambda index: encode("HSET", key(index), "a", "1"), lambda index: encode("HSET", key(index), "a", VALUE)),
        "hset-large": (lambda index: encode("HSET", "h", key(index), VALUE),) * 2,
        "lpush": (None, lambda index: encode("LPUSH", "l", VALUE)),
    }


class Counted:
    """A server under callgrind, with one worker."""

    def __init__(self, program):
        self.folder = tempfile.mkdtemp(prefix="instructions-")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        counter = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={self.folder}/count"]
        options = ["--port", str(port), "--dir", self.folder, "--save", "", "--io-threads", "1"]
        with open(f"{self.folder}/log", "wb") as log:
            self.process = subprocess.Popen(counter + [program] + options, stdout=log, stderr=log)
        self.connection = self.connect(port)

    def connect(self, port):
        for _ in range(600):
            if self.process.poll() is not None:
                break
            try:
                return socket.create_connection(("127.0.0.1", port))
            except OSError:
                time.sleep(0.1)
        sys.exit(f"instructions.py: the server did not start; its log: {self.folder}/log")

    def run(self, requests, pipeline=1000):
        """Sends requests that have replies of one line."""
        for start in range(0, len(requests), pipeline):
            part, lines = requests[start : start + pipeline], 0
            self.connection.sendall(b"".join(part))
            while lines < len(part):
                lines += self.connection.recv(1 << 16).count(b"\n")

    def control(self, option):
        subprocess.run(["callgrind_control", option, str(self.process.pid)], check=True, capture_output=True)

    def count(self, requests, pipeline, function):
        """Instructions of one of these requests, of those that run in the function."""
        self.control("--zero")
        self.run(requests, pipeline)
        self.control("--dump")
        newest = max(glob.glob(f"{self.folder}/count.*"), key=os.path.getmtime)
        command = ["callgrind_annotate", "--inclusive=yes", newest]
        report = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found = re.search(rf"^ *([\d,]+)[^\n]*{re.escape(function)} ", report, re.M)
        return int(found[1].replace(",", "")) / len(requests)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def counts(program, wanted, given):
    server = Counted(program)
    for name in wanted:
        before, counted = cases()[name]
        server.run([encode("FLUSHALL")])
        if before:
            server.run([before(index) for index in range(KEYS)])
        order = random.Random(name)
        requests = [counted(order.randrange(KEYS)) for _ in range(given.requests)]
        yield server.count(requests, given.pipeline, given.function)
    server.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("servers", nargs="+", metavar="NAME=PATH")
    parser.add_argument("--cases", default=",".join(cases()))
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--pipeline", type=int, default=16)
    parser.add_argument("--function", default="Worker>::run_batch")
    given = parser.parse_args()
    wanted = given.cases.split(",")
    rows = []
    for server in given.servers:
        name, _, program = server.partition("=")
        rows.append((name, list(counts(program, wanted, given))))
    base = rows[-1][1]
    for index, case in enumerate(wanted):
        figures = (f"{name} {row[index]:.1f} ({row[index] / base[index] - 1:+.2%})" for name, row in rows)
        print(f"{case:12}", "  ".join(figures))


if __name__ == "__main__":
    main()
