"""Time chapter 3 against what one would write instead: its kernels against ``torch.func``, its stack against a loop.

    make bench

The kernels of 64 inputs are compared with the Jacobian by ``vmap`` and ``jacrev``, the training of a stack of 32 runs with a
loop over ``torch.nn`` modules, autograd and torch's SGD.
"""

from functools import partial

import timing
import torch

from attnflow import flow
from attnflow.encoder import kernel, model, setting

COUNT, STEPS, STEP = 32, 100, 1e-3


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


def loss(module, inputs, labels):
    """Half the sum of squared residuals of a ``module`` on ``inputs`` (n, L, d) with ``labels`` (n,)."""
    return (module(inputs) - labels).square().sum() / 2


def looped(net, inputs, labels, state):
    """One run after the other, with autograd and ``torch.optim.SGD``. Returns the final weights."""
    ends = []
    for run in range(COUNT):
        module = Module({name: value[run] for name, value in state.items()}, net)
        timing.descend(module.parameters(), partial(loss, module, inputs[run], labels[run]), STEP, STEPS)
        ends.append({name: getattr(module, name).weight.detach().T for name in state})
    return {name: torch.stack([end[name] for end in ends]) for name in state}


def descended(field, state, engine):
    """The final weights of descent with an ``engine``."""
    return flow.integrate(field, state, step=STEP, times=[STEPS * STEP], engine=engine).state


def main():
    """Print the times of kernels of several widths and of training, and how they compare."""
    cpu = torch.device("cpu")
    for width in (64, 256, 1024):
        net, inputs, _, state = setting.drawn(range(8), cpu, samples=64, d=16, width=width)
        ways = {
            "Gram form": partial(kernel.blocks, state, inputs, net),
            "Jacobian by vmap and jacrev": partial(kernel.from_jacobian, state, inputs, net),
        }
        timing.compare(f"kernel of 64 inputs, stack of 8, width {width}", ways, 5)
    net, inputs, labels, state = setting.drawn(range(COUNT), cpu, d=16, width=64)
    field = model.field(inputs, labels, net)
    ways = {
        "compiled, run by run": lambda: descended(field, state, "numba"),
        "stack, by hand": lambda: descended(field, state, "torch"),
        "modules one by one, autograd and SGD": lambda: looped(net, inputs, labels, state),
    }
    timing.compare(f"one step of one of {COUNT} encoders of width 64", ways, 3, COUNT * STEPS)


if __name__ == "__main__":
    main()
