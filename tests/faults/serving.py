#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""F13 and F14: `run --serve` while its ranks are killed from outside at random moments.

    tests/faults/serving.py PROGRAM [500] [--seed 1] [--only WORDS] [--verbose]

Each case starts a job, waits until every rank serves, and kills some (F13), or kills one whose place a
spare takes (F14); once in a while it stops one for good instead. A case fails if the job does not end with
status 0 in time, if a step is missing, or if a step that had all its experts has other rows than the same
step of the undisturbed run. Prints a line a scene, and what failed with its seed, which replays it.
"""
import argparse
import collections
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

Scene = collections.namedtuple("Scene", "figure name ranks spares killed copies flags stop")
SCENES = [
    Scene("F13", "1 of 4, 2 copies", 4, 0, 1, 2, [], False),
    Scene("F13", "2 of 4, 2 copies", 4, 0, 2, 2, [], False),
    Scene("F13", "3 of 8, 2 copies", 8, 0, 3, 2, [], False),
    Scene("F13", "1 of 4, masked", 4, 0, 1, 1, ["--serve-reload", "off"], False),
    Scene("F13", "2 of 4, masked", 4, 0, 2, 1, ["--serve-reload", "off"], False),
    Scene("F13", "3 of 8, masked", 8, 0, 3, 1, ["--serve-reload", "off"], False),
    Scene("F13", "1 of 4, reloaded", 4, 0, 1, 1, [], False),
    Scene("F13", "1 of 4 stopped, 2 copies", 4, 0, 1, 2, ["--serve-deadline", "0.3"], True),
    Scene("F14", "1 of 4, masked until a spare joins", 4, 1, 1, 1, [], False),
    Scene("F14", "1 of 4, 2 copies, a spare joins", 4, 1, 1, 2, [], False),
]
EXPERTS = 16
MODEL = ["--model", "olmoe", "--set", "hidden_size=64", "--set", f"routed_experts={EXPERTS}",
         "--set", "top_k=4", "--layers", "2", "--tokens", "64", "--warmup", "0", "--placement"]
LIMIT_S = 60


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

    def __init__(self, program, scene, steps, folder, flags):
        self.pids = {}
        self.errors = []
        self.serving = threading.Event()
        self.world = scene.ranks + scene.spares
        command = ["mpirun", "--enable-recovery", "--oversubscribe", "-n", str(self.world), program, "run",
                   *MODEL, write_placement(scene, folder), "--steps", str(steps), "--serve", "--spares",
                   str(scene.spares), "--json", "-", *flags]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        start_new_session=True)
        self.reader = threading.Thread(target=self.read)
        self.reader.start()
        self.timer = threading.Timer(LIMIT_S, self.destroy)
        self.timer.start()
        self.timed_out = False

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


def play(program, scene, steps, span, folder, rng):
    """One case: the result, the victims, and what is wrong, if anything."""
    job = Job(program, scene, steps, folder, scene.flags)
    job.serving.wait(LIMIT_S)
    victims = victims_of(scene, rng)
    moments = sorted(rng.uniform(0, span) for _ in victims)
    if scene.killed > 1 and rng.random() < 0.3:
        moments = [moments[0]] * len(moments)  # at the same moment
    start = time.monotonic()
    for victim, moment in zip(victims, moments):
        time.sleep(max(0.0, start + moment - time.monotonic()))
        job.send(victim, signal.SIGSTOP if scene.stop else signal.SIGKILL)
    result, problem = job.end()
    return result, victims, problem, job.errors


def judge(scene, result, victims, steps, reference):
    """What is wrong with a result, in words; and what it was."""
    serve = result["serve"]
    if serve["steps"] != steps:
        return f"{serve['steps']} steps, want {steps}"
    wrong = [s for s in range(steps) if serve["step_fingerprints"][s] != reference[s]]
    degraded = serve["degraded"]
    if scene.copies > 1 and (wrong or degraded["slots"]):
        return f"{len(wrong)} steps of other rows, {degraded['slots']} slots degraded"
    if len(wrong) > degraded["steps"]:
        return f"{len(wrong)} steps of other rows, but only {degraded['steps']} are named as degraded"
    lost = {rank for event in serve["events"] for rank in event["lost"]}
    if not lost <= set(victims):
        return f"lost {lost}, but only {victims} were killed"
    if degraded["slots"]:
        named = {one["expert"] for layer in degraded["layers"] for one in layer["experts"]}
        of_lost = {e for e in range(EXPERTS) if e % scene.ranks in lost}
        if not named or not named <= of_lost:
            return f"degraded experts {sorted(named)}, want some of {sorted(of_lost)}"
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("count", type=int, nargs="?", default=500, help="cases of F13, all scenes together")
    parser.add_argument("--joins", type=int, default=None, help="cases of F14; without: a tenth")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="scenes with these words in their name")
    parser.add_argument("--verbose", action="store_true")
    asked = parser.parse_args()
    joins = asked.joins if asked.joins is not None else max(2, asked.count // 10)
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        references = {}
        pauses_of = collections.defaultdict(list)
        for scene in SCENES:
            if asked.only not in scene.name:
                continue
            of_figure = [s for s in SCENES if s.figure == scene.figure and asked.only in s.name]
            total = asked.count if scene.figure == "F13" else joins
            turn = of_figure.index(scene)
            cases = total // len(of_figure) + (turn < total % len(of_figure))
            if scene.ranks not in references:
                plain = scene._replace(spares=0, copies=1)
                start = time.monotonic()
                result, problem = Job(asked.program, plain, asked.steps, folder, []).end()
                if problem:
                    sys.exit(f"the undisturbed run: {problem}")
                references[scene.ranks] = (result["serve"]["step_fingerprints"], result["seconds"])
            reference, span = references[scene.ranks]
            good = hit = retried = joined = 0
            pauses, comebacks, shares = [], [], []
            for case in range(cases):
                seed = asked.seed * 1000003 + turn * 10007 + case
                result, victims, problem, errors = play(asked.program, scene, asked.steps, span, folder,
                                                        random.Random(seed))
                problem = problem or judge(scene, result, victims, asked.steps, reference)
                if problem:
                    failed += 1
                    print(f"FAILED {scene.name}, case {case} (victims {victims}): {problem}")
                    for line in errors[-12:] if not asked.verbose else errors:
                        print("    " + line)
                    continue
                good += 1
                serve = result["serve"]
                lost = [event for event in serve["events"] if event["lost"]]
                hit += len(lost) > 0
                retried += serve["void_attempts"]
                joins_seen = [event for event in serve["events"] if event["joined"]]
                joined += len(joins_seen) > 0
                shares.append(serve["degraded"]["slots_share"])
                if lost:
                    pauses.append(max(e["step_ms"] for e in lost) - serve["step_ms_median"])
            pauses.sort()
            pauses_of[scene.figure if not scene.stop else "stopped"] += pauses
            p99 = pauses[max(0, -(-99 * len(pauses) // 100) - 1)] if pauses else 0.0
            print(f"{scene.figure} {scene.name:36} {good}/{cases} went on, {hit} met a loss, {joined} a join, "
                  f"{retried} attempts void, pause ms median {pauses[len(pauses) // 2] if pauses else 0:.1f} "
                  f"p99 {p99:.1f} longest {max(pauses, default=0):.1f}, "
                  f"degraded slots {100 * max(shares, default=0):.2f} % at most", flush=True)
        for figure, pauses in pauses_of.items():
            if pauses:
                pauses.sort()
                p99 = pauses[max(0, -(-99 * len(pauses) // 100) - 1)]
                print(f"{figure}: {len(pauses)} losses, pause ms (longest step less median) "
                      f"median {pauses[len(pauses) // 2]:.1f}, p99 {p99:.1f}, longest {pauses[-1]:.1f}")
    print("failed:", failed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
