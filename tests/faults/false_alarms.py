#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""F9: clean runs with a deadline of 1 s, 8 ranks and two hogs on few processors among them. No alarm."""
import subprocess
import sys

import jobs


def main():
    campaign = jobs.Campaign(20)
    # Of ten runs one has 8 ranks, with hogs beside it.
    for number in range(campaign.count):
        hogged = number % 10 == 9
        ranks = 8 if hogged else 2 + number % 3
        hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"])
                for _ in range(2 if hogged else 0)]
        try:
            job = jobs.Job(jobs.launched(campaign.program, ranks,
                                         jobs.RUN + ["--steps", "20", "--deadline", "1"]))
            status = job.wait(120)
        finally:
            for hog in hogs:
                hog.kill()
                hog.wait()
        if status != 0 or job.lines:
            campaign.fail(f"run {number} at {ranks} ranks", f"status {status}", job)
    campaign.end(f"{campaign.count} clean runs")


if __name__ == "__main__":
    main()
