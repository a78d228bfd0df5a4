#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Turns the lines that `run` collects into one table: medians over rounds, ratios within each round.

table.py lines FILE JSON    appends what `switchyard bench layer --json JSON` says to FILE
table.py show FILE          prints the table of FILE; lines are: round, name, type, tokens, median, min, max ms
"""
import collections
import json
import statistics
import sys


def append(file, result):
    with open(result, encoding="utf-8") as stream:
        report = json.load(stream)
    with open(file, "a", encoding="utf-8") as lines:
        for row in report["results"]:
            figures = "\t".join(f"{row['layer_ms_' + key]:.6f}" for key in ("median", "min", "max"))
            lines.write(f"switchyard\t{report['weights']}\t{row['tokens_per_rank']}\t{figures}\n")


def show(file):
    times = collections.defaultdict(dict)  # (name, type, tokens) -> {round: ms}
    with open(file, encoding="utf-8") as lines:
        for line in lines:
            number, name, kind, tokens, median, _, _ = line.rstrip("\n").split("\t")
            times[name, kind, int(tokens)][number] = float(median)

    def ratio(peer, ours):
        both = [times[peer][r] / times[ours][r] for r in times[peer] if r in times.get(ours, {})]
        return f"{statistics.median(both):.2f}" if both else "-"

    kinds = [kind for kind in ("float32", "bfloat16", "int8") if any(key[:2] == ("switchyard", kind) for key in times)]
    print("| program | type | tokens/rank | median ms | " + " | ".join(f"over our {kind}" for kind in kinds) + " |")
    print("|---" * (4 + len(kinds)) + "|")
    for name, kind, tokens in times:
        key = (name, kind, tokens)
        cells = [name, kind, str(tokens), f"{statistics.median(times[key].values()):.3f}"]
        cells += [ratio(key, ("switchyard", ours, tokens)) for ours in kinds]
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["lines"] and len(sys.argv) == 4:
        append(sys.argv[2], sys.argv[3])
    elif sys.argv[1:2] == ["show"] and len(sys.argv) == 3:
        show(sys.argv[2])
    else:
        sys.exit(__doc__)
