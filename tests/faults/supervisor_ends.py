#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""F11: SIGKILL, SIGTERM and SIGUSR1 to the supervisor, SIGKILL to its mpirun. No orphan after 0.1 s,
leftovers gone with the next start, and what is asked to leave has saved and leaves with 75."""
import os
import signal
import tempfile
import time

import jobs

RANKS = 3


def mpirun_of(job):
    for pid in jobs.marked(job.mark):
        try:
            with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
                if file.read().strip() in ("mpirun", "orterun"):
                    return pid
        except OSError:
            continue
    return None


def words(folder, steps):
    return jobs.RUN + ["--stateful", "--steps", str(steps), "--save-every", "1000000", "--save-to", folder]


def steps_in(folder):
    return [name for name in os.listdir(folder) if name.startswith("step-")] if os.path.isdir(folder) else []


def run_case(campaign, number):
    what = ["kill supervisor", "kill mpirun", "USR1", "TERM"][number % 4]
    with tempfile.TemporaryDirectory(prefix="switchyard-faults-") as folder:
        saved = folder + "/saved"
        job = jobs.Job(jobs.supervised(campaign.program, RANKS, words(saved, 100000),
                                       ["--max-restarts", "0"]))
        time.sleep(1.0 + campaign.random.uniform(0, 1))
        name = f"case {number}: {what}"
        if what == "kill supervisor":
            os.kill(job.process.pid, signal.SIGKILL)
            job.process.wait()
            time.sleep(0.1)
            orphans = jobs.marked(job.mark)
            job.wait(10)
            if orphans:
                campaign.fail(name, f"orphans {orphans}", job)
            again = jobs.Job(jobs.supervised(campaign.program, 1, jobs.RUN + ["--steps", "1"]))
            again.wait(60)
            left = [n for n in os.listdir("/dev/shm") if f"-{job.process.pid}-" in n]
            if left:
                campaign.fail(name, f"leftovers {left}", job)
            return
        if what == "kill mpirun":
            os.kill(mpirun_of(job), signal.SIGKILL)
        else:
            os.kill(job.process.pid, signal.SIGUSR1 if what == "USR1" else signal.SIGTERM)
        status = job.wait(30)
        if status != 75:
            campaign.fail(name, f"status {status}, want 75", job)
        elif job.strays or job.leaks:
            campaign.fail(name, f"left {job.strays} {job.leaks}", job)
        elif what in ("USR1", "TERM") and not steps_in(saved):
            campaign.fail(name, "it left without having saved", job)


def main():
    campaign = jobs.Campaign(8)
    for number in range(campaign.count):
        run_case(campaign, number)
    campaign.end(f"{campaign.count} ends")


if __name__ == "__main__":
    main()
