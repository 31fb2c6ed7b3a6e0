#!/usr/bin/env python3
"""Fills a server with values of 64 bytes, deletes nine of ten at random, fills it with values of 256 bytes, and lets it
defragment under full load: how long that takes, and what it costs the others.

    holes.py PATH [--pipeline 16] [--seconds 45] [--options "--active-defrag-cycle-min 4"]

Defragmentation is on and off in turns (1.5 s, 1 s), so that each turn is compared with its neighbours on the same machine. Seconds
count while it is on. Needs what compare.py needs.
"""
import argparse, glob, random, statistics, subprocess, time

from compare import Server, benchmark_program, encode

KEYS, AFTERWARDS, LOADED = 3_000_000, 650_000, 300_000
TURNS = (("no", 1.0), ("yes", 1.5))
GOAL = 1.10


def make_holes(server):
    server.call("DEBUG", "POPULATE", KEYS, "key", 64)
    chosen, gone = random.Random(1), []
    for index in range(KEYS):
        if chosen.random() < 0.9:
            gone.append(f"key:{index}")
    server.pipeline((encode("UNLINK", key) for key in gone), batch=10_000)
    server.call("CONFIG", "SET", "activedefrag", "no")
    server.call("DEBUG", "POPULATE", AFTERWARDS, "after", 256)


def processor_seconds(server, thread):
    total = 0
    for task in glob.glob(f"/proc/{server.process.pid}/task/*"):
        if open(f"{task}/comm").read().startswith(thread):
            total += int(open(f"{task}/schedstat").read().split()[0]) / 1e9
    return total


class Turn:
    """What happened while defragmentation was on, or off."""

    def __init__(self, server, state, seconds):
        server.call("CONFIG", "SET", "activedefrag", state)
        begin, before, spent = time.time(), self.requests(server), processor_seconds(server, "defrag")
        time.sleep(seconds)
        info = server.info()
        self.seconds = time.time() - begin
        self.rate = (int(info["total_commands_processed"]) - before) / self.seconds
        self.spent = processor_seconds(server, "defrag") - spent
        self.ratio = server.rss() / int(info["used_memory"])

    def requests(self, server):
        return int(server.info()["total_commands_processed"])


def measure(server, seconds):
    turns, on_seconds = [], 0
    while on_seconds < seconds:
        off, on = (Turn(server, *turn) for turn in TURNS)
        turns.append((off, on))
        on_seconds += on.seconds
        if len(turns) % 3 == 0 or on.ratio <= GOAL:
            print(f"{on_seconds:5.1f} s  resident / used {on.ratio:.3f}  {on.rate / 1000:.0f} k requests/s", flush=True)
        if on.ratio <= GOAL:
            break
    kept = statistics.median(on.rate / off.rate for off, on in turns)
    taken = sum(on.spent for _, on in turns) / on_seconds
    print(f"throughput kept {kept:.3f} (median of {len(turns)} pairs), processor time of its thread {100 * taken:.1f} %")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--pipeline", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=45)
    parser.add_argument("--options", default="")
    arguments = parser.parse_args()
    server = Server("holes", arguments.program, "--enable-debug-command", "yes", *arguments.options.split())
    make_holes(server)
    command = [benchmark_program(), "-p", server.port, "-P", arguments.pipeline, "-n", 10**9, "-c", 50, "-r", LOADED, "-d", 64]
    load = subprocess.Popen([*map(str, command), "-t", "set"], stdout=subprocess.DEVNULL)
    try:
        measure(server, arguments.seconds)
    finally:
        load.kill()
        load.wait()
        server.stop()


if __name__ == "__main__":
    main()
