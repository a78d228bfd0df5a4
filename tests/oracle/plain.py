# SPDX-License-Identifier: Apache-2.0
"""Float64 arithmetic on lists: what every model of this folder is written with.

A row is a list of floats, a matrix a list of rows [out][in]. Sums are exactly rounded
(math.fsum), so results do not depend on an order of additions.
"""
import math
from operator import mul


def dot(a, b):
    return math.fsum(map(mul, a, b))


def linear(matrix, row, bias=None):
    """matrix [out][in] times row [in], plus bias [out]."""
    if len(matrix[0]) != len(row):
        raise ValueError(f"linear: row has {len(row)}, want {len(matrix[0])}")
    out = [dot(weights, row) for weights in matrix]
    return out if bias is None else add(out, bias)


def transposed(matrix):
    return [list(column) for column in zip(*matrix)]


def add(a, b):
    return [x + y for x, y in zip(a, b, strict=True)]


def scaled(row, factor):
    return [x * factor for x in row]


def times(a, b):
    return [x * y for x, y in zip(a, b, strict=True)]


def clipped(row, limit):
    return [min(max(x, -limit), limit) for x in row]


def split(row, width):
    """Consecutive pieces of equal width: heads, or groups of experts."""
    return [row[i:i + width] for i in range(0, len(row), width)]


def rms_norm(row, weight, eps):
    """weight None: no weight."""
    scale = 1 / math.sqrt(math.fsum(x * x for x in row) / len(row) + eps)
    out = scaled(row, scale)
    return out if weight is None else times(out, weight)


def layer_norm(row, weight, bias, eps):
    mean = math.fsum(row) / len(row)
    centred = [x - mean for x in row]
    scale = 1 / math.sqrt(math.fsum(x * x for x in centred) / len(row) + eps)
    out = times(scaled(centred, scale), weight)
    return out if bias is None else add(out, bias)


def softmax(row):
    """-inf stays out."""
    top = max(row)
    powers = [math.exp(x - top) for x in row]
    total = math.fsum(powers)
    return [x / total for x in powers]


def sigmoid(x):
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def silu(x):
    return x * sigmoid(x)


def gelu_tanh(x):
    return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))


def softplus(x):
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def best(scores, k):
    """The k best indices, best first, ties to the lower."""
    return sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:k]


def rms(values):
    return math.sqrt(math.fsum(x * x for x in values) / max(1, len(values)))
