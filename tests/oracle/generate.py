#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tiny checkpoints with expected values: tests/oracle/generate.py [--out FOLDER] [NAME...].

Without names every case, and MANIFEST.json of the folder (default tests/golden/oracle).
"""
import argparse
import hashlib
import importlib
import json
import pkgutil
import sys
from pathlib import Path

import families


def cases():
    out = {}
    for module in sorted(m.name for m in pkgutil.iter_modules(families.__path__)):
        for case in getattr(importlib.import_module("families." + module), "CASES", []):
            if case.name in out:
                sys.exit(f"generate: two cases are called {case.name}")
            out[case.name] = case
    return out


def manifest(folder):
    files = sorted(path for path in folder.glob("*/*") if path.is_file())
    return {str(path.relative_to(folder)): {"bytes": path.stat().st_size,
                                            "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
            for path in files}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path,
                        default=Path(__file__).resolve().parent.parent / "golden" / "oracle")
    parser.add_argument("names", nargs="*")
    args, known = parser.parse_args(), cases()
    for name in args.names:
        if name not in known:
            sys.exit(f"generate: no case is called {name}, want one of: {', '.join(known)}")
    for name in args.names or known:
        seed = known[name].write(args.out / name)
        size = sum(path.stat().st_size for path in (args.out / name).iterdir())
        print(f"{name:28} seed {seed}, {size / 1000:.0f} kB", flush=True)
    (args.out / "MANIFEST.json").write_text(json.dumps(manifest(args.out), indent=1) + "\n")


if __name__ == "__main__":
    main()
