#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""F10: supervised jobs whose ranks are killed 1 to 6 times at random, while they load, step, save or are
started again. All end bit-identical to the uninterrupted run; how long until a step is taken again."""
import json
import os
import signal
import tempfile
import time

import jobs

RANKS = 3
STEPS = 120
EVERY = 10


def words(folder):
    return jobs.RUN + ["--stateful", "--steps", str(STEPS), "--warmup", "0", "--save-every", str(EVERY),
                       "--save-to", folder]


def main():
    campaign = jobs.Campaign(20)
    with tempfile.TemporaryDirectory(prefix="switchyard-faults-") as folder:
        clean = jobs.Job(jobs.launched(campaign.program, 2, words(folder + "/saved")))
        if clean.wait(120) != 0 or not clean.digest():
            campaign.fail("the uninterrupted run", "no digest", clean)
            campaign.end("nothing to compare with")
    length = clean.end - clean.begin
    kills, restarts, back, number, early = 0, 0, [], 0, 0
    while number < campaign.count:
        wanted = campaign.random.randint(1, 6)
        with tempfile.TemporaryDirectory(prefix="switchyard-faults-") as folder:
            report = folder + "/report.json"
            job = jobs.Job(jobs.supervised(
                campaign.program, RANKS, words(folder + "/saved"),
                ["--max-restarts", "20", "--same-step-failures", "0", "--backoff", "0.02", "--json", report]))
            done = 0
            while done < wanted and job.process.poll() is None:
                time.sleep(campaign.random.uniform(0, length / 2))
                ranks = jobs.ranks_of(job.mark)
                if not ranks:
                    continue
                try:
                    os.kill(campaign.random.choice(ranks), signal.SIGKILL)
                    done += 1
                except ProcessLookupError:
                    continue
            status = job.wait(180)
            if done == 0 and early < campaign.count:
                early += 1  # it was over before the first: another one in its place
                continue
            kills += done
            number += 1
            name = f"job {number} after {done} kills"
            if status != 0:
                campaign.fail(name, f"status {status}", job)
            elif job.digest()[-len(clean.digest()):] != clean.digest():
                campaign.fail(name, f"digests {job.digest()}, want {clean.digest()}", job)
            elif job.strays or job.leaks:
                campaign.fail(name, f"left {job.strays} {job.leaks}", job)
            if os.path.exists(report):
                with open(report, encoding="utf-8") as file:
                    attempts = json.load(file)["attempts"]
                restarts += len(attempts) - 1
                back += [a["seconds_to_first_step"] for a in attempts[1:] if a["seconds_to_first_step"] > 0]
    campaign.end(f"{campaign.count} jobs, {kills} kills, {restarts} restarts, all digests compared; from a "
                 f"death to the first step {jobs.median(back):.2f} s in the median")


if __name__ == "__main__":
    main()
