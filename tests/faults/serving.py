#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""F13 and F14: `run --serve` and `generate --serve` while ranks are killed from outside at random moments.

    tests/faults/serving.py PROGRAM [500] [--joins 50] [--seed 1] [--only WORDS]
    tests/faults/serving.py PROGRAM 500 --log FILE --minutes 2     # again and again, or several at once

Each case starts a job, waits until every rank serves, and kills some (F13), or kills one whose place a
spare takes (F14); once in a while it stops one for good instead. A case fails if the job does not end with
status 0 in time, if a step or a token is missing, if a step that had all its experts has other rows than
the same step of the undisturbed run, or if a token chosen with all experts is another one. With --log the
cases that are done stand in FILE, a line each: the next call goes on behind them, with the same program.
Prints a line a scene, and what failed with its number, which replays it.
"""
import argparse
import collections
import fcntl
import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

Scene = collections.namedtuple("Scene", "figure name command ranks spares killed copies flags stop")
OFF = ["--serve-reload", "off"]
SCENES = [
    Scene("F13", "1 of 4, 2 copies", "run", 4, 0, 1, 2, [], False),
    Scene("F13", "2 of 4, 2 copies", "run", 4, 0, 2, 2, [], False),
    Scene("F13", "3 of 8, 2 copies", "run", 8, 0, 3, 2, [], False),
    Scene("F13", "1 of 4, masked", "run", 4, 0, 1, 1, OFF, False),
    Scene("F13", "2 of 4, masked", "run", 4, 0, 2, 1, OFF, False),
    Scene("F13", "3 of 8, masked", "run", 8, 0, 3, 1, OFF, False),
    Scene("F13", "1 of 4, reloaded", "run", 4, 0, 1, 1, [], False),
    Scene("F13", "1 of 4 stopped, 2 copies", "run", 4, 0, 1, 2, ["--serve-deadline", "0.3"], True),
    Scene("F13", "generate, 1 of 4, 2 copies", "generate", 4, 0, 1, 2, [], False),
    Scene("F13", "generate, 1 of 4, masked", "generate", 4, 0, 1, 1, OFF, False),
    Scene("F14", "1 of 4, masked until a spare joins", "run", 4, 1, 1, 1, [], False),
    Scene("F14", "1 of 4, 2 copies, a spare joins", "run", 4, 1, 1, 2, [], False),
    Scene("F14", "generate, 1 of 4, a spare joins", "generate", 4, 1, 1, 1, [], False),
]
EXPERTS = 16
MODEL = ["--model", "olmoe", "--set", "hidden_size=64", "--set", f"routed_experts={EXPERTS}",
         "--set", "top_k=4", "--layers", "2"]
COMMANDS = {
    "run": ["--tokens", "64", "--warmup", "0"],
    "generate": ["--set", "vocab_size=128", "--set", "num_heads=4", "--set", "num_kv_heads=2", "--set",
                 "head_dim=16", "--prompt-tokens", "5,9,3,12,7,4", "--temperature", "1"],
}
LENGTHS = {"run": ("--steps", 120), "generate": ("--max-new-tokens", 50)}  # with spares three times that
LIMIT_S = 120


def arguments(scene):
    """Of the program, but for what differs between scenes of one reference."""
    flag, length = LENGTHS[scene.command]
    return [scene.command, *MODEL, *COMMANDS[scene.command], flag,
            str(3 * length if scene.figure == "F14" else length)]


def write_placement(scene, folder):
    """Expert e on ranks e and e + half of them: killing neighbours leaves a copy of each."""
    lists = [[] for _ in range(scene.ranks)]
    for expert in range(EXPERTS):
        for copy in range(scene.copies):
            lists[(expert + copy * (scene.ranks // 2)) % scene.ranks].append(expert)
    path = os.path.join(folder, f"placement-{scene.ranks}-{scene.copies}")
    with open(path, "w") as file:
        print("version: 1", file=file)
        for experts in lists:
            print("rank {", " ".join(f"expert: {e}" for e in sorted(experts)), "}", file=file)
    return path


class Job:
    """A job under mpirun whose ranks can be found once they serve."""

    def __init__(self, program, scene, folder, flags):
        self.pids = {}
        self.errors = []
        self.serving = threading.Event()
        self.world = scene.ranks + scene.spares
        self.timed_out = False
        command = ["mpirun", "--enable-recovery", "--oversubscribe", "-n", str(self.world), program,
                   *arguments(scene), "--placement", write_placement(scene, folder), "--serve", "--spares",
                   str(scene.spares), "--json", "-", *flags]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        start_new_session=True)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        self.timer = threading.Timer(LIMIT_S, self.destroy)
        self.timer.daemon = True
        self.timer.start()

    def read(self):
        for line in self.process.stderr:
            self.errors.append(line.rstrip())
            found = re.search(r"\[rank (\d+)/\d+\] switchyard: (?:serving|spare waits), pid (\d+)", line)
            if found:
                self.pids[int(found[1])] = int(found[2])
                if len(self.pids) == self.world:
                    self.serving.set()
        self.serving.set()

    def send(self, rank, number):
        try:
            os.kill(self.pids[rank], number)
        except (ProcessLookupError, KeyError):
            pass

    def destroy(self):
        self.timed_out = True
        for pid in [*self.pids.values(), self.process.pid]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def end(self):
        out = self.process.stdout.read()
        self.process.wait()
        self.timer.cancel()
        self.reader.join()
        if self.timed_out:
            return None, f"no end within {LIMIT_S} s"
        if self.process.returncode != 0:
            return None, f"status {self.process.returncode}"
        try:
            return json.loads(out), None
        except ValueError as error:
            return None, f"stdout: {error}: {out[:200]!r}"


def victims_of(scene, rng):
    """Any ranks; with two copies, such that one is left of each."""
    while True:
        victims = rng.sample(range(scene.ranks), scene.killed)
        half = scene.ranks // 2
        if scene.copies == 1 or not any((v + half) % scene.ranks in victims for v in victims):
            return victims


def play(program, scene, span, folder, rng):
    """One case: the result, the victims, what is wrong, if anything, and stderr."""
    job = Job(program, scene, folder, scene.flags)
    job.serving.wait(LIMIT_S)
    victims = victims_of(scene, rng)
    if scene.spares:
        span /= 2  # so that there is time left to join
    moments = sorted(rng.uniform(0, span) for _ in victims)
    if scene.killed > 1 and rng.random() < 0.3:
        moments = [moments[0]] * len(moments)  # at the same moment
    start = time.monotonic()
    for victim, moment in zip(victims, moments):
        time.sleep(max(0.0, start + moment - time.monotonic()))
        job.send(victim, signal.SIGSTOP if scene.stop else signal.SIGKILL)
    result, problem = job.end()
    return result, victims, problem, job.errors


def wrong_rows(scene, result, reference):
    """Of `run`: steps with other rows than in the undisturbed run, and what is wrong with that."""
    got = result["serve"]["step_fingerprints"]
    if len(got) != len(reference):
        return f"{len(got)} steps, want {len(reference)}"
    wrong = sum(a != b for a, b in zip(got, reference))
    degraded = result["serve"]["degraded"]["steps"]
    if wrong > degraded:
        return f"{wrong} steps of other rows, but only {degraded} are named as degraded"
    return None


def wrong_tokens(scene, result, reference):
    """Of `generate`: sequences that are not those of the undisturbed run up to their first token that was
    chosen without some experts."""
    for number, (got, want) in enumerate(zip(result["sequences"], reference)):
        if len(got["ids"]) != len(want):
            return f"sequence {number}: {len(got['ids'])} tokens, want {len(want)}"
        if got["ids"] != want and got["ids_while_masked"] == 0:
            return f"sequence {number}: other tokens than the undisturbed run, though none while masked"
    return None if len(result["sequences"]) == len(reference) else "sequences are missing"


def judge(scene, result, victims, reference):
    """What is wrong with a result, in words; None: nothing."""
    wrong = (wrong_rows if scene.command == "run" else wrong_tokens)(scene, result, reference)
    if wrong:
        return wrong
    serve = result["serve"]
    degraded = serve["degraded"]
    if scene.copies > 1 and degraded["slots"]:
        return f"{degraded['slots']} slots degraded, though every expert has a copy left"
    lost = {rank for event in serve["events"] for rank in event["lost"]}
    if not lost <= set(victims):
        return f"lost {lost}, but only {victims} were killed"
    if serve["void_attempts"] > len(serve["events"]):
        return f"{serve['void_attempts']} attempts void, but {len(serve['events'])} changes"
    in_time = min((event["step"] for event in serve["events"]), default=0) < 0.9 * serve["steps"]
    if scene.spares and lost and in_time and not serve["joins"]:
        return "no spare has joined"
    if degraded["slots"]:
        named = {one["expert"] for layer in degraded["layers"] for one in layer["experts"]}
        of_lost = {e for e in range(EXPERTS) if e % scene.ranks in lost}
        if not named or not named <= of_lost:
            return f"degraded experts {sorted(named)}, want some of {sorted(of_lost)}"
    return None


class Log:
    """What is done: the undisturbed runs and a line a case; in a file, if there is one."""

    def __init__(self, path, program):
        self.path = path
        self.lines = []
        with open(program, "rb") as file:
            self.digest = hashlib.sha256(file.read()).hexdigest()[:16]
        if path and os.path.exists(path):
            with open(path) as file:
                self.lines = [json.loads(line) for line in file]
            if any(line["program"] != self.digest for line in self.lines):
                sys.exit(f"{path}: of another program; want another file")

    def add(self, line):
        line["program"] = self.digest
        self.lines.append(line)
        if not self.path:
            return
        with open(self.path, "a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(json.dumps(line) + "\n")

    def reference(self, program, scene, folder):
        """Rows or tokens of the undisturbed run, and the seconds from `serving` to its end."""
        name = f"{scene.figure} {scene.command} {scene.ranks}"
        for line in self.lines:
            if line.get("reference") == name:
                return line["rows"], line["span"]
        plain = scene._replace(spares=0, copies=1)
        result, problem = Job(program, plain, folder, []).end()
        if problem:
            sys.exit(f"the undisturbed run: {problem}")
        if scene.command == "run":
            rows, span = result["serve"]["step_fingerprints"], result["seconds"]
        else:
            rows = [one["ids"] for one in result["sequences"]]
            span = result["prefill_s"] + result["decode_s"]
        self.add({"reference": name, "rows": rows, "span": span})
        return rows, span


def cases_of(asked):
    """All of them, the scenes in turn: (scene, number)."""
    cases = []
    for figure, count in (("F13", asked.count), ("F14", asked.joins)):
        scenes = [s for s in SCENES if s.figure == figure and asked.only in s.name]
        if scenes:
            cases += [(scenes[i % len(scenes)], i // len(scenes)) for i in range(count)]
    return cases


def take(asked, log, folder, scene, number):
    """Plays a case and writes down what it was."""
    seed = asked.seed * 1000003 + SCENES.index(scene) * 10007 + number
    reference, span = log.reference(asked.program, scene, folder)
    result, victims, problem, errors = play(asked.program, scene, span, folder, random.Random(seed))
    problem = problem or judge(scene, result, victims, reference)
    line = {"scene": scene.name, "number": number, "problem": problem}
    if problem:
        line["victims"] = victims
        print(f"FAILED {scene.name}, case {number} (victims {victims}): {problem}")
        for text in errors[-12:] if not asked.verbose else errors:
            print("    " + text, flush=True)
    else:
        serve = result["serve"]
        lost = [event for event in serve["events"] if event["lost"]]
        line.update(lost=len(lost), void=serve["void_attempts"], share=serve["degraded"]["slots_share"],
                    joined=sum(1 for event in serve["events"] if event["joined"]))
        if lost:
            line["pause"] = max(event["step_ms"] for event in lost) - serve["step_ms_median"]
        joins = [event["step_ms"] for event in serve["events"] if event["joined"]]
        if joins:
            line["join"] = max(joins) - serve["step_ms_median"]
            line["comeback"] = [max(join[key] for join in serve["joins"]) for key in ("after_s", "load_s")]
    log.add(line)


def spread(values, digits=1):
    values = sorted(values)
    if not values:
        return "none"
    p99 = values[-(-99 * len(values) // 100) - 1]
    return f"median {values[len(values) // 2]:.{digits}f} p99 {p99:.{digits}f} longest {values[-1]:.{digits}f}"


def summarise(log):
    """A line a scene and figure. Returns how many failed."""
    cases = [line for line in log.lines if "scene" in line]
    pauses = collections.defaultdict(list)
    for scene in SCENES:
        mine = [line for line in cases if line["scene"] == scene.name]
        if not mine:
            continue
        good = [line for line in mine if not line["problem"]]
        took = [line["pause"] for line in good if "pause" in line]
        pauses["stopped" if scene.stop else f"{scene.figure} {scene.command}"] += took
        print(f"{scene.figure} {scene.name:36} {len(good)}/{len(mine)} went on, "
              f"{sum(line['lost'] > 0 for line in good)} met a loss, "
              f"{sum(line['joined'] > 0 for line in good)} a join, "
              f"{sum(line['void'] for line in good)} attempts void, pause ms {spread(took)}, "
              f"degraded slots {100 * max((line['share'] for line in good), default=0):.2f} % at most")
    for name, took in pauses.items():
        print(f"{name}: {len(took)} losses, pause ms (longest step less median) {spread(took)}")
    joins = [line["join"] for line in cases if "join" in line]
    if joins:
        took = [line["comeback"] for line in cases if "comeback" in line]
        print(f"F14: {len(joins)} joins, pause ms {spread(joins)}; s from seeing a loss to taking part, without "
              f"loading, {spread([after - load for after, load in took], 3)}; to load "
              f"{spread([load for _, load in took], 3)}")
    return sum(1 for line in cases if line["problem"])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("count", type=int, nargs="?", default=500, help="cases of F13, all scenes together")
    parser.add_argument("--joins", type=int, default=None, help="cases of F14; without: a tenth")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="scenes with these words in their name")
    parser.add_argument("--log", default="", help="a file of what is done, to go on with")
    parser.add_argument("--minutes", type=float, default=1e9, help="no case begins after so many")
    parser.add_argument("--part", default="0/1", help="I/N: this call takes every N-th case, from I")
    parser.add_argument("--verbose", action="store_true")
    asked = parser.parse_args()
    if asked.joins is None:
        asked.joins = max(2, asked.count // 10)
    part, parts = (int(number) for number in asked.part.split("/"))
    end = time.monotonic() + 60 * asked.minutes
    log = Log(asked.log, asked.program)
    done = {(line["scene"], line["number"]) for line in log.lines if "scene" in line}
    left = [case for case in cases_of(asked)[part::parts] if (case[0].name, case[1]) not in done]
    with tempfile.TemporaryDirectory() as folder:
        while left and time.monotonic() < end:
            take(asked, log, folder, *left.pop(0))
    failed = summarise(log)
    if left:
        print("left:", len(left))
    print("failed:", failed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
