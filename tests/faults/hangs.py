#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""F8: a rank hangs in any phase. The job ends with 75 within the deadline and half a second; the suspect
and its phase are named, or both of two where nothing tells; never a wrong one."""
import re

import jobs

DEADLINE_S = 1.0
AT_ONCE = 70  # a collective that finds another one does not wait for the deadline
PHASES = ["init", "load", "route", "dispatch", "expert", "combine", "finalize"]
MEETINGS = ["dispatch", "collect", "allgather"]
NAMES = {"expert": "experts"}


def cases():
    for ranks in (2, 3, 4):
        for rank in range(ranks):
            for way in ("stop", "spin", "sleep"):
                for phase in PHASES:
                    step = ",step=2" if phase in PHASES[2:6] else ""
                    yield ranks, way, f"{way}@rank={rank},phase={phase}{step}", rank, phase
            for way in ("skip", "mismatch"):
                for meeting in MEETINGS:
                    for nth in (1,) if meeting == "allgather" else (1, 2):
                        yield (ranks, way, f"{way}@rank={rank},meeting={meeting},step=2,nth={nth}", rank,
                               None)


def blamed(line):
    """The ranks that a root-cause line names as guilty, and whether it is sure."""
    unsure = "nothing says which" in line
    text = line.split("; ")[-1] if "want " in line else line.split("hang: ")[-1]
    if "want " in line and "one of these" in line:
        text = line[line.index("one of these"):]
    if "want " in line and not re.search(r"; (one of these|rank )", line):
        return set(), False
    text = text.split(" where the others")[0] if not unsure else text
    return set(map(int, re.findall(r"\brank (\d+)", text.replace("[rank", "")))), not unsure


def main():
    campaign = jobs.Campaign(10)
    times, exact, both, nobody = [], 0, 0, 0
    chosen = campaign.share(list(cases()))
    for ranks, way, fault, rank, phase in chosen:
        words = jobs.RUN + ["--steps", "4", "--deadline", str(DEADLINE_S), "--inject", fault]
        job = jobs.Job(jobs.supervised(campaign.program, ranks, words, ["--max-restarts", "0"]))
        status = job.wait(40)
        name = f"np {ranks} {fault}"
        if job.fired_at is None:
            campaign.fail(name, "the fault did not fire", job)
            continue
        times.append(job.after_fault())
        at_once = way in ("skip", "mismatch") and status == AT_ONCE
        if status != 75 and not at_once:
            campaign.fail(name, f"status {status}", job)
            continue
        if len(job.errors()) != 1:
            campaign.fail(name, f"{len(job.errors())} root-cause lines, want 1", job)
            continue
        line = job.errors()[0]
        ranks_named, sure = blamed(line)
        if ranks_named == {rank} and sure and (phase is None or f" in {NAMES.get(phase, phase)}" in line):
            exact += 1
        elif not sure and rank in ranks_named and ranks == 2:
            both += 1
        elif not sure and (not ranks_named or rank in ranks_named):
            nobody += 1
        else:
            campaign.fail(name, f"blames {sorted(ranks_named)}", job)
            continue
        if times[-1] > DEADLINE_S + 0.5:
            campaign.fail(name, f"took {times[-1]:.2f} s", job)
        elif job.strays or job.leaks:
            campaign.fail(name, f"left {job.strays} {job.leaks}", job)
    campaign.end(f"{len(chosen)} hangs: {exact} named with rank and phase, {both} of two named both, "
                 f"{nobody} named nobody for sure; {max(times, default=0):.2f} s at most with a deadline "
                 f"of {DEADLINE_S:.0f} s")


if __name__ == "__main__":
    main()
