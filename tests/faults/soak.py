#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""F20: a supervised run for a long time, with a random fault now and then: by a signal to a rank, or by
--inject. PROGRAM [SECONDS [SEED]]. No hang, the state bit-identical to an uninterrupted run, and nothing
grows: memory and files of the supervisor and of a rank, and what lies in shared memory. With
SWITCHYARD_SOAK=FOLDER a soak goes on where it was stopped, in other slices; the last line counts all."""
import json
import os
import random
import shutil
import signal
import tempfile
import time

import jobs

RANKS = 3
SIGNALS = ["KILL", "STOP", "SEGV", "ABRT", "TERM"]
PLACES = ["route", "dispatch", "expert", "combine", "snapshot", "shard-write", "vote"]
INJECTED = ["throw", "bad_alloc", "exit0", "exit1", "spin", "kill", "stop", "abort", "skip", "corrupt"]
PAUSE_S = 20
STEPS = 4000
WARM_S = 5
NOTHING = {"seconds": 0.0, "slices": 0, "signals": 0, "injected": 0, "runs": 0, "failures": 0,
           "supervisor_kib": 0, "supervisor_files": 0, "rank_percent": 0.0, "rank_files": 0, "shm_percent": 0.0}


def words(folder):
    return jobs.RUN + ["--stateful", "--steps", str(STEPS), "--warmup", "0", "--save-every", "50", "--deadline", "2",
                       "--save-to", folder]


def plan(draw):
    """A fault of every kind for the first starts of a run, further and further on."""
    faults = []
    for incarnation in range(4):
        action = draw.choice(INJECTED)
        place = ("meeting=dispatch" if action == "skip" else "" if action == "corrupt"
                 else "phase=" + draw.choice(PLACES))
        step = (incarnation + 1) * STEPS // 5 // 50 * 50
        saved = place.split("=")[-1] in PLACES[4:]
        at = [place, f"rank={draw.randrange(RANKS)}", f"incarnation={incarnation}",
              f"step={step if saved else step + draw.randrange(50)}"]
        faults.append(action + "@" + ",".join(filter(None, at)))
    return ";".join(faults)


def resident_kib(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))


def held(pid):
    """Memory and open files of a process."""
    return resident_kib(pid), len(os.listdir(f"/proc/{pid}/fd"))


def shared_bytes(supervisor):
    """What a run has in shared memory."""
    mine = [name for name in os.listdir("/dev/shm") if name.startswith("switchyard-supervise-")
            and f"-{supervisor}-" in name]
    files = [os.path.join(folder, name) for one in mine for folder, _, names in os.walk("/dev/shm/" + one)
             for name in names]
    size = 0
    for file in files:
        try:
            size += os.lstat(file).st_blocks * 512
        except FileNotFoundError:  # its rank has just died
            continue
    return size


class Growth:
    """How much more each process holds than when it was warm."""

    def __init__(self, tally):
        self.tally = tally
        self.seen = {}  # by pid: when it was first seen, and what it held when warm

    def look(self, pid, supervisor):
        now = time.monotonic()
        begin, warm = self.seen.setdefault(pid, (now, None))
        kib, files = held(pid)
        if warm is None:
            if now - begin > WARM_S:
                self.seen[pid] = (begin, (kib, files))
            return
        self.most("supervisor_files" if supervisor else "rank_files", files - warm[1])
        if supervisor:
            self.most("supervisor_kib", kib - warm[0])
        else:
            self.most("rank_percent", 100 * (kib / warm[0] - 1))

    def most(self, name, value):
        self.tally[name] = max(self.tally[name], value)


def one_run(campaign, draw, folder, growth, end, pause):
    """A run under faults, asked to leave when the time is over. Returns its job."""
    tally = growth.tally
    job = jobs.Job(jobs.supervised(campaign.program, RANKS, words(folder + "/saved") + ["--inject", plan(draw)],
                                   ["--max-restarts", "1000", "--same-step-failures", "0"]))
    next_fault = time.monotonic() + draw.uniform(0, 2 * pause)
    peak, asked = 0, False
    while job.process.poll() is None:
        time.sleep(0.1)
        ranks = jobs.ranks_of(job.mark)
        for pid in [job.process.pid, *ranks]:
            try:
                growth.look(pid, pid == job.process.pid)
            except (OSError, StopIteration):
                continue
        peak = max(peak, shared_bytes(job.process.pid))
        now = time.monotonic()
        if now > end and not asked:
            asked = True  # the time is over: it saves and leaves, and the next slice goes on
            job.process.send_signal(signal.SIGTERM)
        if now > next_fault and ranks:
            try:
                os.kill(draw.choice(ranks), getattr(signal, "SIG" + draw.choice(SIGNALS)))
                tally["signals"] += 1
            except ProcessLookupError:
                pass
            next_fault = now + draw.uniform(0, 2 * pause)
        if now - job.begin > 900:
            campaign.fail(f"run {tally['runs']}", "does not end", job)
            break
    first = tally.setdefault("shm_bytes", peak)
    growth.most("shm_percent", 100 * (peak / first - 1) if first else 0.0)
    return job


def main():
    campaign = jobs.Campaign(30)
    kept = os.environ.get("SWITCHYARD_SOAK")
    folder = kept or tempfile.mkdtemp(prefix="switchyard-faults-")
    os.makedirs(folder, exist_ok=True)
    tally = dict(NOTHING)
    if os.path.exists(folder + "/tally.json"):
        with open(folder + "/tally.json", encoding="utf-8") as file:
            tally.update(json.load(file))
    if "digest" not in tally:
        clean = jobs.Job(jobs.launched(campaign.program, 2, words(folder + "/clean")))
        if clean.wait(600) != 0 or not clean.digest():
            campaign.fail("the uninterrupted run", "failed", clean)
            campaign.end("nothing to compare with")
        tally["digest"] = clean.digest()
    draw = random.Random(f"{campaign.seed} {tally['slices']}")
    growth = Growth(tally)
    begin = time.monotonic()
    end = begin + campaign.count
    pause = min(PAUSE_S, campaign.count / 3)
    while time.monotonic() < end:
        job = one_run(campaign, draw, folder, growth, end, pause)
        status = job.wait(60)
        tally["injected"] += sum("inject: " in line and " fires in " in line for line in job.lines)
        if job.strays or job.leaks:
            campaign.fail(f"run {tally['runs']}", f"left {job.strays} {job.leaks}", job)
        # A rank that is asked to leave, by SIGTERM, saves: 75, and the next start goes on.
        if status == 75:
            continue
        tally["runs"] += 1
        if status != 0 or job.digest()[-len(tally["digest"]):] != tally["digest"]:
            campaign.fail(f"run {tally['runs']}", f"status {status}, digests {job.digest()}, want {tally['digest']}",
                          job)
        shutil.rmtree(folder + "/saved", ignore_errors=True)
    tally["seconds"] += time.monotonic() - begin
    tally["slices"] += 1
    if tally["supervisor_kib"] > 1024 or tally["supervisor_files"] > 4:
        campaign.fail("the supervisor", f"has grown by {tally['supervisor_kib']} KiB, {tally['supervisor_files']} files")
    if tally["rank_percent"] > 5 or tally["rank_files"] > 8 or tally["shm_percent"] > 5:
        campaign.fail("a rank", f"has grown by {tally['rank_percent']:.1f} %, {tally['rank_files']} files, shared "
                      f"memory by {tally['shm_percent']:.1f} %")
    tally["failures"] += campaign.failures
    with open(folder + "/tally.json", "w", encoding="utf-8") as file:
        json.dump(tally, file)
    if not kept:
        shutil.rmtree(folder, ignore_errors=True)
    campaign.failures = tally["failures"]
    campaign.end(f"{tally['seconds']:.0f} s in {tally['slices']} slices, {tally['signals']} signals, "
                 f"{tally['injected']} injected faults, {tally['runs']} runs to their end with the right digest; "
                 f"supervisor + {tally['supervisor_kib']} KiB, + {tally['supervisor_files']} files, a rank + "
                 f"{tally['rank_percent']:.2f} %, + {tally['rank_files']} files, shared memory + "
                 f"{tally['shm_percent']:.2f} %")


if __name__ == "__main__":
    main()
