"""Print how much slower this machine is, at the moment, than the one that limits of time are stated for.

    python benchmarks/yardstick.py [PROCESSES]

The same fixed work as ever, half of it interpreted Python and half small batched operations of torch, in as many processes side
by side as what is limited has: two, as the tests, or one, as a page. Limits are multiplied by the answer where it is above one: a
slow or a busy machine fails nothing that is right, and code that has become slow still fails.
"""

import os
import subprocess
import sys
import time

IDLE = 0.64  # seconds of the work on two idle cores where chapters 4 and 5 take 70 and 65 seconds


def work():
    """The fixed work. Returns the seconds that it took."""
    import torch

    stack = torch.full((64, 12, 12), 1 / 12, dtype=torch.float64)
    product = stack
    began = time.perf_counter()
    sum(number % 7 for number in range(12_000_000))
    for _ in range(2_500):
        product = torch.softmax(product @ stack, dim=2).square().sum(dim=1, keepdim=True) + stack
    return time.perf_counter() - began


def slowness(count):
    """Seconds of the work, mean of ``count`` processes side by side, over those of the machine that has the limits."""
    one = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    call = [sys.executable, __file__, "--work"]
    several = [subprocess.Popen(call, stdout=subprocess.PIPE, text=True, env=one) for _ in range(count)]
    return sum(float(process.communicate()[0]) for process in several) / count / IDLE


if __name__ == "__main__":
    print(work() if sys.argv[1:] == ["--work"] else slowness(int((sys.argv[1:] or ["2"])[0])))
