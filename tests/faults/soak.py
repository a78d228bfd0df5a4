#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""F20: a supervised run for a long time, with a random fault now and then. PROGRAM [SECONDS [SEED]]. No hang,
the state bit-identical to an uninterrupted run, and nothing grows: memory of the supervisor, its files, and
shared memory. Goes on where an interrupted soak stopped if SWITCHYARD_SOAK names a folder."""
import os
import random
import shutil
import signal
import tempfile
import time

import jobs

RANKS = 3
ACTIONS = ["KILL", "STOP", "SEGV", "ABRT", "TERM"]
PAUSE_S = 20
STEPS = 4000


def words(folder, steps):
    return jobs.RUN + ["--stateful", "--steps", str(steps), "--warmup", "0", "--save-every", "50", "--deadline", "2",
                       "--save-to", folder]


def resident_kib(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))


def main():
    campaign = jobs.Campaign(30)
    end = time.monotonic() + campaign.count
    kept = os.environ.get("SWITCHYARD_SOAK")
    folder = kept or tempfile.mkdtemp(prefix="switchyard-faults-")
    os.makedirs(folder, exist_ok=True)
    clean = jobs.Job(jobs.launched(campaign.program, 2, words(folder + "/clean", STEPS)))
    if clean.wait(600) != 0:
        campaign.fail("the uninterrupted run", "failed", clean)
    faults, runs, grown = 0, 0, []
    pause = min(PAUSE_S, campaign.count / 3)
    while time.monotonic() < end:
        job = jobs.Job(jobs.supervised(campaign.program, RANKS, words(folder + "/saved", STEPS),
                                       ["--max-restarts", "1000", "--same-step-failures", "0"]))
        first = None
        next_fault = time.monotonic() + campaign.random.uniform(0, pause)
        while job.process.poll() is None:
            time.sleep(0.1)
            try:
                rss, files = resident_kib(job.process.pid), len(os.listdir(f"/proc/{job.process.pid}/fd"))
            except (OSError, StopIteration):
                break
            if time.monotonic() - job.begin > 2 and first is None:
                first = (rss, files)
            if time.monotonic() > next_fault:
                ranks = jobs.ranks_of(job.mark)
                if ranks:
                    try:
                        os.kill(campaign.random.choice(ranks), getattr(signal, "SIG" + campaign.random.choice(ACTIONS)))
                        faults += 1
                    except ProcessLookupError:
                        pass
                next_fault = time.monotonic() + campaign.random.uniform(0, 2 * pause)
            if first:
                grown.append((rss - first[0], files - first[1]))
            if time.monotonic() - job.begin > 900:
                campaign.fail(f"run {runs}", "does not end", job)
                break
        status = job.wait(60)
        runs += 1
        # SIGTERM to a rank is a wish to leave: saved, 75, and the next start goes on.
        if status == 75:
            continue
        if status != 0 or job.digest()[-len(clean.digest()):] != clean.digest():
            campaign.fail(f"run {runs}", f"status {status}, digests {job.digest()}, want {clean.digest()}", job)
        if job.strays or job.leaks:
            campaign.fail(f"run {runs}", f"left {job.strays} {job.leaks}", job)
        shutil.rmtree(folder + "/saved", ignore_errors=True)
    more_kib = max((g[0] for g in grown), default=0)
    more_files = max((g[1] for g in grown), default=0)
    if more_kib > 1024 or more_files > 4:
        campaign.fail("the supervisor", f"has grown by {more_kib} KiB and {more_files} files")
    if not kept:
        shutil.rmtree(folder, ignore_errors=True)
    campaign.end(f"{campaign.count} s, {faults} faults in {runs} runs, supervisor + {more_kib} KiB, + {more_files} files")


if __name__ == "__main__":
    main()
