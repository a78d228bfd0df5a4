#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""F7: a rank dies in any phase. Every rank ends within 0.5 s, with one root-cause line, no process and no
file left. All cases: 7 ways x each of 2 and of 4 ranks x each phase."""
import itertools
import tempfile

import jobs

WAYS = ["kill", "segv", "abort", "throw", "bad_alloc", "exit0", "exit1"]
PHASES = ["init", "load", "route", "dispatch", "expert", "combine", "finalize"]
SAVING = ["snapshot", "shard-write", "vote", "manifest", "commit", "retention"]
ON_RANK_0 = {"manifest", "commit", "retention"}
LIMIT_S = 0.5


def cases():
    for ranks in (2, 4):
        for way, phase, rank in itertools.product(WAYS, PHASES + SAVING, range(ranks)):
            if phase not in ON_RANK_0 or rank == 0:
                yield ranks, way, phase, rank


def main():
    campaign = jobs.Campaign(10)
    times = []
    chosen = campaign.share(list(cases()))
    for ranks, way, phase, rank in chosen:
        case = f"{way}@rank={rank},phase={phase}" + (",step=2" if phase in PHASES[2:6] else "")
        with tempfile.TemporaryDirectory(prefix="switchyard-faults-") as folder:
            words = jobs.RUN + ["--steps", "4", "--inject", case]
            if phase in SAVING:
                words += ["--stateful", "--save-to", folder + "/saved", "--save-every", "1", "--save", "sync"]
            job = jobs.Job(jobs.supervised(campaign.program, ranks, words, ["--max-restarts", "0"]))
            status = job.wait(30)
        name = f"np {ranks} {case}"
        if job.fired_at is None:
            campaign.fail(name, "the fault did not fire", job)
            continue
        times.append(job.after_fault())
        if status not in (70, 74, 75):
            campaign.fail(name, f"status {status}", job)
        elif len(job.errors()) != 1:
            campaign.fail(name, f"{len(job.errors())} root-cause lines, want 1", job)
        elif way in WAYS[:3] + WAYS[5:] and f"rank {rank}" not in job.errors()[0]:
            campaign.fail(name, "the line names another rank", job)
        elif job.strays or job.leaks:
            campaign.fail(name, f"left {job.strays} {job.leaks}", job)
        elif times[-1] > LIMIT_S:
            campaign.fail(name, f"took {times[-1]:.2f} s", job)
    campaign.end(f"{len(chosen)} deaths, end after {jobs.median(times) * 1e3:.0f} ms in the median, "
                 f"{max(times, default=0) * 1e3:.0f} ms at most")


if __name__ == "__main__":
    main()
