"""Time chapter 3 against what one would write instead: its kernels against ``torch.func``, its stack against a loop.

    make bench

One thread, one process, medians. The kernels of 64 inputs are compared with the Jacobian by ``vmap`` and ``jacrev``, the
training of a stack of 32 runs with a loop over ``torch.nn`` modules, autograd and ``torch.optim.SGD``.
"""

import time

import torch

from attnflow import flow, runs
from attnflow.encoder import kernel, model, task

COUNT, STEPS, STEP = 32, 100, 1e-3


def medians(functions, repeats):
    """Result and median seconds of each function, called in turn after one call that does not count."""
    results = [function() for function in functions]
    taken = [[] for _ in functions]
    for _ in range(repeats):
        for times, function in zip(taken, functions, strict=True):
            began = time.perf_counter()
            function()
            times.append(time.perf_counter() - began)
    return results, [sorted(times)[len(times) // 2] for times in taken]


def problem(seeds, net, samples):
    """Fresh Gaussian data and weights."""
    generators = runs.streams(seeds)
    inputs, labels = task.gaussian(generators, samples, 4, net.d, net.token_std)
    return inputs, labels, model.init(generators, net)


def kernels(width):
    """Print one line: the Gram form against the Jacobian."""
    net = model.Encoder(d=16, width=width)
    inputs, _, state = problem(range(8), net, 64)
    ways = [lambda: kernel.blocks(state, inputs, net), lambda: kernel.from_jacobian(state, inputs, net)]
    (fast, slow), (one, other) = medians(ways, 9)
    gap = max(float((fast[name] - slow[name]).abs().max() / slow[name].abs().max()) for name in slow)
    print(
        f"kernel of 64 inputs, stack of 8, width {width:4}: {1e3 * one:6.1f} ms, Jacobian {1e3 * other:6.1f} ms, "
        f"{other / one:4.1f} times faster; equal to 1e-10: {gap < 1e-10}"
    )


class Module(torch.nn.Module):
    """The same Transformer as one would write it for one run."""

    def __init__(self, state, net):
        super().__init__()
        self.net = net
        for name, value in state.items():
            layer = torch.nn.Linear(*value.shape, bias=False, dtype=value.dtype)
            layer.weight.data.copy_(value.T)
            setattr(self, name, layer)

    def forward(self, inputs):
        """Outputs f. inputs: (n, L, d). Returns (n,)."""
        attention = torch.softmax(self.net.tau_0 * self.W_Q(inputs) @ self.W_K(inputs).mT, dim=-1)
        hidden = torch.relu(attention @ self.W_V(inputs)).mean(dim=1)
        return self.net.tau_1 * self.W_O(hidden)[:, 0]


def looped(state, inputs, labels, net):
    """One run after the other, with autograd and ``torch.optim.SGD``."""
    ends = []
    for run in range(COUNT):
        module = Module({name: value[run] for name, value in state.items()}, net)
        optimiser = torch.optim.SGD(module.parameters(), lr=STEP)
        for _ in range(STEPS):
            optimiser.zero_grad()
            ((module(inputs[run]) - labels[run]).square().sum() / 2).backward()
            optimiser.step()
        ends.append({name: getattr(module, name).weight.detach().T for name in state})
    return {name: torch.stack([end[name] for end in ends]) for name in state}


def training():
    """Print one line: a stack against a loop."""
    net = model.Encoder(d=16, width=64)
    inputs, labels, state = problem(range(COUNT), net, 12)
    field = model.field(inputs, labels, net)
    ways = [
        lambda: flow.integrate(field, state, step=STEP, times=[STEPS * STEP]).state,
        lambda: looped(state, inputs, labels, net),
    ]
    (fast, slow), (one, other) = medians(ways, 5)
    gap = max(float((fast[name] - slow[name]).abs().max()) for name in slow)
    each = 1e6 / (COUNT * STEPS)
    print(
        f"training, stack of {COUNT}, width 64: {each * one:.0f} us a run and step, loop over modules "
        f"{each * other:.0f} us, {other / one:.1f} times less; equal to 1e-10: {gap < 1e-10}"
    )


def main():
    """Print one line a comparison."""
    torch.set_num_threads(1)
    for width in (64, 256, 1024):
        kernels(width)
    training()


if __name__ == "__main__":
    main()
