# SPDX-License-Identifier: Apache-2.0
"""What the campaigns on whole jobs have in common: a job, how it ended, and what it left behind.

A campaign is PROGRAM [COUNT [SEED [FIRST]]]: so many cases, drawn from the seed; each that fails is printed
with what gives it again, and the last line counts them. A list of cases is shuffled by the seed, and the slice
that begins with FIRST is taken, so that a full count may be run in pieces.
"""
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

MARK = "SY_FAULT_CASE"
RUN = ["run", "--model", "mixtral-8x7b", "--set", "hidden_size=64", "--set",
       "moe_intermediate_size=64", "--tokens", "64", "--layers", "2"]


def environment(extra=None):
    """This one's without our variables, with MPI's consent to run as root and with more ranks than cores."""
    kept = {k: v for k, v in os.environ.items()
            if not k.startswith(("SWITCHYARD_", "OMPI_COMM_WORLD_", "PMIX_", "SLURM_"))}
    kept.update({"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
                 "OMPI_MCA_rmaps_base_oversubscribe": "1", "OPENBLAS_NUM_THREADS": "1"})
    kept.update(extra or {})
    return kept


def marked(mark):
    """Processes with this case's mark in their environment, zombies left out."""
    found = []
    wanted = f"{MARK}={mark}".encode()
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                if wanted in file.read().split(b"\0"):
                    found.append(int(name))
        except OSError:
            continue
    return found


def ranks_of(mark):
    """Pids of a case's ranks: those of its processes that mpirun has given one."""
    found = []
    for pid in marked(mark):
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                if b"OMPI_COMM_WORLD_RANK=" in file.read():
                    found.append(pid)
        except OSError:
            continue
    return found


class Job:
    """A process group whose stderr is read as it comes; `fired` is when a fault said so."""
    number = 0

    def __init__(self, words, extra=None, fired="inject: "):
        Job.number += 1
        self.mark = f"{os.getpid()}-{Job.number}"
        self.temporary = tempfile.mkdtemp(prefix="switchyard-faults-")
        variables = environment({MARK: self.mark, "TMPDIR": self.temporary, **(extra or {})})
        self.lines = []
        self.fired_at = None
        self.begin = time.monotonic()
        self.process = subprocess.Popen(words, env=variables, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        errors="replace", start_new_session=True)
        self.out = ""
        self.readers = [threading.Thread(target=self.read_err, args=(fired,)),
                        threading.Thread(target=self.read_out)]
        for reader in self.readers:
            reader.start()

    def read_err(self, fired):
        for line in self.process.stderr:
            if self.fired_at is None and fired in line:
                self.fired_at = time.monotonic()
            self.lines.append(line.rstrip("\n"))

    def read_out(self):
        self.out = self.process.stdout.read()

    def wait(self, limit):
        """The status; 128 + signal if it was killed; -1 if it did not end within the limit."""
        try:
            status = self.process.wait(limit)
        except subprocess.TimeoutExpired:
            status = -1
            for pid in marked(self.mark):
                os.kill(pid, signal.SIGKILL)
            self.process.wait()
        self.end = time.monotonic()
        self.strays = marked(self.mark)
        if self.strays:
            time.sleep(0.1)  # between a parent's end and its children's by PR_SET_PDEATHSIG
            self.strays = marked(self.mark)
        for pid in self.strays:
            os.kill(pid, signal.SIGKILL)
        for reader in self.readers:
            reader.join()
        pid = self.process.pid
        self.leaks = [name for name in os.listdir("/dev/shm")
                      if re.match(rf"switchyard-supervise-\d+-{pid}-", name)]
        self.leaks += os.listdir(self.temporary)
        shutil.rmtree(self.temporary, ignore_errors=True)
        return status if status >= -1 else 128 - status

    @property
    def err(self):
        return "\n".join(self.lines)

    def errors(self):
        return [line for line in self.lines if "switchyard: error: " in line]

    def digest(self):
        """What the job computed: the digests in its result."""
        return re.findall(r"(?:output|state) digest\s+([0-9a-f]{64})", self.out)

    def after_fault(self):
        return self.end - (self.fired_at or self.begin)


def supervised(program, ranks, words, options=()):
    return [program, "supervise", "--ranks", str(ranks), *options, "--", *words]


def launched(program, ranks, words):
    return ["mpirun", "-q", "-n", str(ranks), program, *words]


class Campaign:
    """usage: CAMPAIGN PROGRAM [COUNT [SEED [FIRST]]]"""

    def __init__(self, count, argv=None):
        argv = argv or sys.argv
        if len(argv) < 2:
            sys.exit(f"usage: {argv[0]} SWITCHYARD [COUNT [SEED [FIRST]]]")
        self.name = os.path.basename(argv[0])
        self.program = os.path.abspath(argv[1])
        self.count = int(argv[2]) if len(argv) > 2 else count
        self.seed = int(argv[3]) if len(argv) > 3 else 1
        self.first = int(argv[4]) if len(argv) > 4 else 0
        self.random = random.Random(self.seed)
        self.failures = 0

    def share(self, cases):
        """`count` of the cases from number `first` on, in an order drawn from the seed."""
        return self.random.sample(cases, len(cases))[self.first:self.first + self.count]

    def fail(self, case, words, job=None):
        self.failures += 1
        print(f"FAILED {case}: {words}", flush=True)
        if job is not None:
            print("  " + "\n  ".join(job.lines[-12:]), flush=True)

    def end(self, words):
        first = f", from {self.first}" if self.first else ""
        print(f"{self.name}: {words}; {self.failures} failed (seed {self.seed}{first})", flush=True)
        sys.exit(0 if self.failures == 0 else 1)


def median(values):
    values = sorted(values)
    return values[len(values) // 2] if values else 0.0
