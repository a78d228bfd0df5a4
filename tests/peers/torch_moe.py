#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Expert-parallel MoE layer in plain PyTorch on torch.distributed/gloo: a peer of `switchyard bench layer`.

torch_moe.py RANKS TYPE HIDDEN WIDTH EXPERTS K TOKENS,... SECONDS, with Debian's python3-torch.

Router -> softmax -> top-k -> normalise; rows sorted by expert; counts and rows by all_to_all_single; the gated
network of each local expert; rows back; weighted sum: as the textbook does it, one row a chosen expert. The
router is computed, then tokens go where `--routing peers` sends them (one stream over rank and token, seed
1000 + tokens a rank), so that every program carries the same load. The first token of each rank is checked
before anything is timed. A line for each number of tokens: name, type, tokens a rank, median, min and max in
ms of the slowest rank.
"""
import os
import sys
import tempfile
import time

# Debian's torch calls OpenBLAS, whose pool set_num_threads() does not reach: one thread before it loads.
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F


def expert_weights(expert, matrix, outputs, inputs, dtype):
    """The same on every rank, so that any of them can check."""
    generator = torch.Generator().manual_seed(3 * expert + matrix)
    return (torch.randn(outputs, inputs, generator=generator) * 0.02).to(dtype)


class Layer:
    def __init__(self, rank, ranks, hidden, width, experts, k, dtype):
        self.rank, self.ranks, self.hidden, self.width = rank, ranks, hidden, width
        self.experts, self.k, self.local, self.dtype = experts, k, experts // ranks, dtype
        self.router = torch.randn(experts, hidden, generator=torch.Generator().manual_seed(7)) * 0.02
        mine = range(rank * self.local, (rank + 1) * self.local)
        self.gate = [expert_weights(e, 0, width, hidden, dtype) for e in mine]
        self.up = [expert_weights(e, 1, width, hidden, dtype) for e in mine]
        self.down = [expert_weights(e, 2, hidden, width, dtype) for e in mine]

    def all_to_all(self, rows, out_counts, in_counts):
        got = rows.new_empty((sum(out_counts),) + rows.shape[1:])
        if rows.dtype == torch.bfloat16:  # gloo refuses it: the same bits as float16
            dist.all_to_all_single(got.view(torch.float16), rows.contiguous().view(torch.float16), out_counts, in_counts)
        else:
            dist.all_to_all_single(got, rows, out_counts, in_counts)
        return got

    def peers_routing(self, tokens):
        """[tokens, k] experts of this rank's tokens."""
        state, mine = 1000 + tokens, []
        for token in range((self.rank + 1) * tokens):
            chosen = []
            while len(chosen) < self.k:
                state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
                if (state >> 8) % self.experts not in chosen:
                    chosen.append((state >> 8) % self.experts)
            if token >= self.rank * tokens:
                mine.append(chosen)
        return torch.tensor(mine)

    def route(self, x, chosen):
        probabilities = F.softmax(F.linear(x, self.router), dim=-1)
        probabilities.topk(self.k, dim=-1)  # computed, as the layer would, and then overruled
        shares = probabilities.gather(-1, chosen)
        return shares / shares.sum(-1, keepdim=True)

    def __call__(self, x, chosen):
        shares = self.route(x, chosen)
        flat = chosen.reshape(-1)
        order = flat.argsort(stable=True)
        counts = torch.bincount(flat, minlength=self.experts)
        even = [self.local] * self.ranks
        theirs = self.all_to_all(counts, even, even).view(self.ranks, self.local)
        sent = counts.view(self.ranks, self.local).sum(1).tolist()
        received = theirs.sum(1).tolist()
        rows = self.all_to_all(x.to(self.dtype)[order // self.k], received, sent)
        # Rows arrive by rank and local expert; experts want theirs together.
        owner = torch.arange(self.local).repeat(self.ranks).repeat_interleave(theirs.reshape(-1))
        grouped = owner.argsort(stable=True)
        rows = rows[grouped]
        out = torch.empty_like(rows)
        first = 0
        for expert, count in enumerate(theirs.sum(0).tolist()):
            if count == 0:
                continue
            part = rows[first : first + count]
            middle = F.silu(F.linear(part, self.gate[expert])) * F.linear(part, self.up[expert])
            out[first : first + count] = F.linear(middle, self.down[expert])
            first += count
        back = torch.empty_like(out)
        back[grouped] = out
        home = self.all_to_all(back, sent, received)
        results = torch.empty(flat.numel(), self.hidden, dtype=torch.float32)
        results[order] = home.float()
        return (results.view(x.shape[0], self.k, self.hidden) * shares.unsqueeze(-1)).sum(1)

    def error(self, x, chosen, y):
        """Relative error of the first token, against float64."""
        shares = self.route(x, chosen)
        want = torch.zeros(self.hidden, dtype=torch.float64)
        for share, expert in zip(shares[0], chosen[0].tolist()):
            gate, up = (expert_weights(expert, m, self.width, self.hidden, self.dtype).double() for m in (0, 1))
            down = expert_weights(expert, 2, self.hidden, self.width, self.dtype).double()
            middle = F.silu(gate @ x[0].double()) * (up @ x[0].double())
            want += share.double() * (down @ middle)
        return ((y[0].double() - want).norm() / want.norm()).item()


def measure(layer, tokens, seconds, limit):
    x = torch.randn(tokens, layer.hidden, generator=torch.Generator().manual_seed(99 + layer.rank))
    chosen = layer.peers_routing(tokens)
    error = layer.error(x, chosen, layer(x, chosen))
    assert error < limit, f"torch: error {error} on rank {layer.rank}, want below {limit}"
    layer(x, chosen)
    times, spent = [], 0.0
    while len(times) < 3 or spent < seconds:
        dist.barrier()
        start = time.perf_counter()
        layer(x, chosen)
        took = torch.tensor([time.perf_counter() - start], dtype=torch.float64)
        dist.all_reduce(took, op=dist.ReduceOp.MAX)
        times.append(took.item())
        spent += took.item()
    return sorted(times)


def worker(rank, ranks, name, shape, tokens, seconds, rendezvous):
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    dist.init_process_group("gloo", init_method="file://" + rendezvous, rank=rank, world_size=ranks)
    layer = Layer(rank, ranks, *shape, torch.float32 if name == "float32" else torch.bfloat16)
    for count in tokens:
        times = measure(layer, count, seconds, 1e-4 if name == "float32" else 3e-2)
        if rank == 0:
            figures = "\t".join(f"{1e3 * t:.6f}" for t in (times[len(times) // 2], times[0], times[-1]))
            print(f"torch\t{name}\t{count}\t{figures}", flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    if len(sys.argv) != 9:
        sys.exit(__doc__)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    counts = [int(word) for word in sys.argv[7].split(",")]
    sizes = [int(word) for word in sys.argv[3:7]]
    with tempfile.TemporaryDirectory() as folder:
        arguments = (int(sys.argv[1]), sys.argv[2], sizes, counts, float(sys.argv[8]), os.path.join(folder, "peers"))
        mp.spawn(worker, args=arguments, nprocs=int(sys.argv[1]))
