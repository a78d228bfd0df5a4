#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prediction against reality: the real program over Open MPI on network namespaces with limited links, against
both engines of `simulate` on a machine that two of the namespaces were calibrated for.

Real runs go to a file of JSON lines, one a line, which a further call goes on with; then every case is predicted
and the table printed. Leaves with 0, 1 (a bound is not kept), 75 (--for is over, call again), or 77 and a message
where the system does not let it make namespaces. Needs root, ip, tc and mpirun; about 15 minutes on two cores
that nobody else uses.
"""
import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
RIG = os.path.join(HERE, "..", "comm", "netns.sh")
RATE = "40mbit"  # the wire is the limit, not two cores
TOKENS = 128     # a rank
MODEL = ["--model", "olmoe-1b-7b-0924", "--set", "hidden_size=512", "--set", "moe_intermediate_size=16",
         "--set", "routed_experts=32", "--set", "top_k=4"]
STEPS = {2: 3, 4: 2, 8: 1}  # that a run is the mean of: runs of few ranks are short, and differ most
SKIPPED, AGAIN = 77, 75
ENGINES = {"faithful": [], "closed form": ["--fast"]}


def rig(nodes, words):
    """Standard output of `words` on so many namespaces."""
    ended = subprocess.run([RIG, "-q", "-n", str(nodes), "-r", "1", "-b", RATE] + words, text=True,
                           capture_output=True, check=False)
    if ended.returncode != 0:
        sys.stderr.write(ended.stderr)
        sys.exit(SKIPPED if ended.returncode == SKIPPED else f"reality: {words[1]}: status {ended.returncode}, want 0")
    return ended.stdout


def work(case):
    """What a real and a simulated run are both asked for."""
    ranks, routing, seed = case
    return MODEL + ["--layers", "2", "--tokens", str(TOKENS * ranks), "--routing", routing, "--seed", str(seed),
                    "--warmup", "1", "--steps", str(STEPS[ranks]), "--transport", "p2p", "--json", "-"]


def calibrated(program):
    machine = rig(2, [program, "calibrate"] + MODEL + ["--processors", "2", "--most-bytes", "1048576", "--weights",
                  "float32", "--seconds", "0.2", "--message-seconds", "1", "--json", "-"])
    return json.loads(machine)


def measured(program, case):
    result = json.loads(rig(case[0], [program, "run"] + work(case)))
    return {"seconds": result["seconds"] / result["steps"], "bytes": result["bytes_between_ranks"]}


def predicted(simulator, machine, case, more):
    ended = subprocess.run([simulator] + work(case) + ["--machine", machine, "--ranks", str(case[0])]
                           + more, text=True, capture_output=True, check=False)
    if ended.returncode != 0:
        sys.exit(f"reality: {ended.stderr.strip()}")
    return json.loads(ended.stdout)


def error_of(guess, runs):
    """How far beyond the runs' own spread, over their median; with its sign."""
    beyond = guess - max(runs) if guess > max(runs) else guess - min(runs) if guess < min(runs) else 0
    return beyond / statistics.median(runs)


def ordered(table, engine):
    """(Pairs of cases in the right order, all) of those that really differ by more than 15 %: their medians do, and
    no run of one took as long as any of the other."""
    right = total = 0
    for a, b in itertools.combinations(table, 2):
        fast, slow = sorted((a, b), key=lambda row: statistics.median(row["runs"]))
        differ = statistics.median(slow["runs"]) > 1.15 * statistics.median(fast["runs"])
        if differ and min(slow["runs"]) > max(fast["runs"]):
            total += 1
            right += slow[engine] > fast[engine]
    return right, total


def collect(arguments, cases):
    """All lines of the record, with whatever was missing measured now."""
    begin = time.monotonic()
    lines = []
    if arguments.fresh and os.path.exists(arguments.record):
        os.remove(arguments.record)
    if os.path.exists(arguments.record):
        with open(arguments.record, encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
    done = [(tuple(line["case"]), line["run"]) for line in lines if "case" in line]

    def keep(line):
        lines.append(line)
        with open(arguments.record, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def pause():
        if arguments.limit and time.monotonic() - begin > arguments.limit:
            missing = len(cases) * arguments.runs - len(done)
            print(f"reality: {missing} runs are missing, call again", file=sys.stderr)
            sys.exit(AGAIN)

    for run in range(arguments.runs):
        for case in cases:
            if (case, run) in done:
                continue
            pause()
            keep({"case": case, "run": run, **measured(arguments.program, case)})
            done.append((case, run))
    pause()
    if not any("machine" in line for line in lines):
        keep(calibrated(arguments.program))
    return lines


def show(table):
    print(f"\n| ranks | routing | seed | real, median of {len(table[0]['runs'])} (least, most) | "
          + " | ".join(f"{engine} | error | beyond spread" for engine in ENGINES) + " |")
    print("|---" * (4 + 3 * len(ENGINES)) + "|")
    for row in table:
        median = statistics.median(row["runs"])
        cells = [str(value) for value in row["case"]] + [f"{median:.3f} s ({min(row['runs']):.3f}, {max(row['runs']):.3f})"]
        for engine in ENGINES:
            cells += [f"{row[engine]:.3f} s", f"{100 * (row[engine] / median - 1):+.1f} %",
                      f"{100 * error_of(row[engine], row['runs']):+.1f} %"]
        print("| " + " | ".join(cells) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="build/release/switchyard", help="switchyard-sim is beside it")
    parser.add_argument("--record", default="reality.jsonl", help="of real runs; goes on with what is there")
    parser.add_argument("--ranks", default="2,4,8")
    parser.add_argument("--seeds", default="11,12,13,14,15")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--mean", type=float, default=10, help="largest mean error in percent")
    parser.add_argument("--worst", type=float, default=25, help="largest error in percent")
    parser.add_argument("--for", dest="limit", type=float, default=0, help="seconds to measure for; 0: to the end")
    parser.add_argument("--fresh", action="store_true", help="forgets what is in the record")
    arguments = parser.parse_args()
    arguments.program = os.path.abspath(arguments.program)
    simulator = arguments.program + "-sim"
    if not os.path.exists(simulator):
        print(f"reality: SKIPPED: no {simulator} here (libsimgrid-dev was not there when it was built)", file=sys.stderr)
        sys.exit(SKIPPED)
    cases = [(int(ranks), routing, int(seed)) for ranks in arguments.ranks.split(",")
             for routing in ("uniform", "zipf:1.0") for seed in arguments.seeds.split(",")]
    lines = collect(arguments, cases)

    calibration = [line for line in lines if "machine" in line][-1]
    machine = arguments.record + ".machine"
    with open(machine, "w", encoding="utf-8") as file:
        file.write(calibration["machine"])
    table = []
    for case in cases:
        runs = [line for line in lines if tuple(line.get("case", ())) == case]
        row = {"case": case, "runs": [run["seconds"] for run in runs]}
        for engine, more in ENGINES.items():
            result = predicted(simulator, machine, case, more)
            row[engine] = result["simulated_step_s"]
            same = result.get("bytes_between_ranks", runs[0]["bytes"]) == runs[0]["bytes"]
            row["bytes"] = row.get("bytes", True) and same
        table.append(row)
    show(table)
    if not all(row["bytes"] for row in table):
        sys.exit("reality: bytes between ranks differ from the simulated ones, want the same")
    kept = False
    print()
    for engine in ENGINES:
        errors = [abs(error_of(row[engine], row["runs"])) * 100 for row in table]
        plain = [abs(row[engine] / statistics.median(row["runs"]) - 1) * 100 for row in table]
        right, total = ordered(table, engine)
        print(f"{engine}: {len(table)} cases, error beyond the runs' spread {statistics.mean(errors):.1f} % in the mean, "
              f"{max(errors):.1f} % at most (against medians alone {statistics.mean(plain):.1f} % and {max(plain):.1f} %); "
              f"{right} of {total} pairs that really differ by more than 15 % in the right order")
        good = statistics.mean(errors) <= arguments.mean and max(errors) <= arguments.worst and right == total
        kept = kept or (engine == "faithful" and good)
    print(f"bounds of the faithful engine: {arguments.mean:g} % in the mean, {arguments.worst:g} % at most, every pair: "
          + ("kept" if kept else "NOT KEPT"))
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
