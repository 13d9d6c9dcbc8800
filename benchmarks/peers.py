"""The library beside what a user would pick instead: torch as one would write it, and JAX, plainly and tuned.

    make bench

Model A is the Transformer on words of chapter 2 (n = 60, L = 5, d = 163, k = 128, o = 16), model B the encoder of chapter 3
(d = 16, L = 4, n = 12), both in float64, fresh data for every run. All variants take the same 16 steps first and must agree, then
they are timed in turn, so that a slow moment meets them all; a number is the median of these. What compiling costs stands apart.
Every ratio that is asked for is a line, and the last line counts how many are met; the status is 1 where more than two fail.
``--threads 2`` asks for the ratio on two threads alone. All pools are looked at first: none is larger than that. ``--json FILE``
puts what was measured into a file beside what another number of threads has put there: the page *How fast* reads it.
"""

import argparse
import importlib.util
import math
import os
import platform
import statistics
import sys
import time
from pathlib import Path

THREADS = int(sys.argv[sys.argv.index("--threads") + 1]) if "--threads" in sys.argv else 1
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = str(THREADS)
os.environ.pop("OMP_WAIT_POLICY", None)  # with make's PASSIVE a loop of torch takes twice as long on two threads
if THREADS == 1 and hasattr(os, "sched_setaffinity"):  # JAX knows no number of threads but that of the cores
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import encoder as encoder_loop  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

import cooccurrence as words_loop  # noqa: E402  # isort: skip
import floor  # noqa: E402  # isort: skip
import timing  # noqa: E402  # isort: skip
import yardstick  # noqa: E402  # isort: skip
from attnflow import flow, runs, stamp  # noqa: E402
from attnflow.cooccurrence import setting as words_setting  # noqa: E402
from attnflow.encoder import kernel, model  # noqa: E402
from attnflow.encoder import setting as encoder_setting  # noqa: E402

CPU, CHUNK, REPEATS, TARGET = torch.device("cpu"), 16, 5, 0.15  # seconds of one call that is timed, about
LEAST = 16  # times so many steps are timed at least
MANY = 32  # runs: a call lasts seconds then, and three of them are enough
THERE = importlib.util.find_spec("jax") is not None
WORDS = ("W_Q", "W_K", "W_V")
HAND = ("W_Q", "W_K", "W_V", "readout")
ALL = ("W_Q", "W_K", "W_V", "W_O")
TUNED, PLAIN = "JAX, tuned: map of scan, by hand", "JAX, plain: scan of vmap of grad"
FAST, SLOW, LOOP = "attnflow, compiled", "attnflow, torch", "torch.nn, a loop of runs"
GRAM, GRAM_SLOW = "attnflow, Gram form, compiled", "attnflow, Gram form by torch"
ROWS = []  # what was measured: dicts


def integrated(field, start, names, step, engine, method):
    """A function of a number of steps that goes on with the library where it ended, and returns tensors of these ``names``."""
    now = [start]

    def advance(steps):
        settings = {"step": step, "times": [steps * step], "engine": engine, "method": method}
        now[0] = flow.integrate(field, now[0], **settings).state
        return [now[0][name].numpy() for name in names]

    return advance


def modules(made, loss, step, read):
    """The same with torch's modules, optimisers and autograd.

    made: (module, its data) of every run; loss: of both; read: (parameters by name, name of ours) -> that weight.
    """
    optimisers = [torch.optim.SGD(module.parameters(), lr=step) for module, _ in made]

    def advance(steps):
        for (module, data), optimiser in zip(made, optimisers, strict=True):
            for _ in range(steps):
                optimiser.zero_grad()
                loss(module, *data).backward()
                optimiser.step()
        found = [dict(module.named_parameters()) for module, _ in made]
        return [np.stack([read(each, name).detach().numpy() for each in found]) for name in WORDS]

    return advance


def on_words(count, heun=False):
    """All ways to train ``count`` runs of model A: name -> what makes a function of steps."""
    asked, step = {"samples": 60, "length": 5}, 0.01
    small, full = (words_setting.drawn(range(count), CPU, full=both, **asked) for both in (False, True))
    method = flow.Heun() if heun else flow.Descent()
    tokens, labels = small["tokens"].numpy(), small["labels"].numpy()
    ways = {
        FAST: lambda: integrated(small["field"], small["start"], WORDS, step, "numba", method),
        SLOW: lambda: integrated(small["field"], small["start"], WORDS, step, "torch", method),
    }

    def looped():
        hot = torch.nn.functional.one_hot(small["tokens"], small["task"].size).to(runs.DTYPE)
        made = [(words_loop.Transformer(full["start"], run), (hot[run], small["labels"][run])) for run in range(count)]
        return modules(made, words_loop.loss, step, lambda named, name: named[name])

    if THERE:
        import in_jax

        neurons = np.full(count, 16.0)
        hand = [small["start"][name].numpy() for name in HAND]
        ways[TUNED] = lambda: in_jax.stepped(
            in_jax.words_by_hand, hand, (tokens, labels, neurons), step, mapped=True, heun=heun
        )
        if not heun:
            plain, signs = [full["start"][name].numpy() for name in ALL], full["start"]["signs"].numpy()
            gradient = in_jax.jax.grad(in_jax.words_loss)
            ways[PLAIN] = lambda: in_jax.stepped(gradient, plain, (tokens, labels, signs), step, mapped=False)
    return ways if heun else ways | {LOOP: looped}


def on_encoders(count, width):
    """All ways to train ``count`` runs of model B of a ``width``."""
    net, inputs, labels, start = encoder_setting.drawn(range(count), CPU, d=16, width=width)
    field, step, method = model.field(inputs, labels, net), min(1e-3, 0.05 / width), flow.Descent()
    ways = {
        FAST: lambda: integrated(field, start, WORDS, step, "numba", method),
        SLOW: lambda: integrated(field, start, WORDS, step, "torch", method),
    }

    def looped():
        made = [
            (encoder_loop.Module({name: start[name][run] for name in ALL}, net), (inputs[run], labels[run]))
            for run in range(count)
        ]
        return modules(made, encoder_loop.loss, step, lambda named, name: named[f"{name}.weight"].T)

    if THERE:
        import in_jax

        scales = [np.full(count, scale) for scale in (net.tau_0, net.tau_1)]
        state, data = [start[name].numpy() for name in ALL], (inputs.numpy(), labels.numpy(), *scales)
        ways[TUNED] = lambda: in_jax.stepped(in_jax.encoder_by_hand, state, data, step, mapped=True)
        gradient = in_jax.jax.grad(in_jax.encoder_loss)
        ways[PLAIN] = lambda: in_jax.stepped(gradient, state, data, step, mapped=False)
    return ways | {LOOP: looped}


def tangents(width):
    """All ways to the tangent kernels of 64 inputs, for a stack of 8: name -> function of nothing."""
    net, inputs, _, start = encoder_setting.drawn(range(8), CPU, samples=64, d=16, width=width)

    def output(one, tokens):
        attention = torch.softmax(net.tau_0 * (tokens @ one["W_Q"]) @ (tokens @ one["W_K"]).mT, -1)
        return net.tau_1 * (torch.relu(attention @ (tokens @ one["W_V"])).mean(0) @ one["W_O"])[0]

    every = torch.func.vmap(torch.func.jacrev(output), (None, 0))

    def jacobians():
        found = []
        for run in range(len(inputs)):
            parts = every({name: value[run] for name, value in start.items()}, inputs[run]).values()
            found.append(sum(part.flatten(1) @ part.flatten(1).mT for part in parts))
        return torch.stack(found).numpy()

    def by_torch():
        with flow.asked("torch"):
            return kernel.empirical(start, inputs, net).numpy()

    ways = {GRAM: lambda: kernel.empirical(start, inputs, net).numpy(), GRAM_SLOW: by_torch}
    ways["torch, vmap of jacrev"] = jacobians
    if THERE:
        import in_jax

        ways |= in_jax.kernels([start[name].numpy() for name in ALL], inputs.numpy(), net.tau_0, net.tau_1)
    return ways


def timed(what, ways, count, **place):
    """Print what a step of one run takes in all ways and return it, name -> microseconds. ways: they make functions of steps.

    what: is timed, in words; count: of runs; place: what stands beside the numbers in the file.
    """
    made, first, compiling = {}, None, {}
    for name, way in ways.items():
        began = time.perf_counter()
        made[name] = way()
        found = made[name](CHUNK)
        compiling[name] = time.perf_counter() - began
        first = found if first is None else first
        far = max(float(abs(one - other).max() / abs(other).max()) for one, other in zip(found, first, strict=False))
        if far > 1e-10:
            raise SystemExit(f"{what}: {name} is {far:.0e} from the first way")
    steps = {}
    for name, advance in made.items():
        began = time.perf_counter()
        advance(CHUNK)
        least = (
            LEAST if name in (FAST, TUNED) else 1
        )  # what is prepared before the first step is part of a run, and of a long one
        steps[name] = CHUNK * max(least, math.floor(TARGET / (time.perf_counter() - began)))
    calls = {name: lambda name=name: made[name](steps[name]) for name in made}
    return told(what, calls, steps, count, compiling, place | {"runs": count})


def told(what, calls, steps, count, compiling, place):
    """Time ``calls`` in turn and print a line for each: microseconds a unit, over that of the first, seconds before the first."""
    taken = {name: [] for name in calls}
    for _ in range(REPEATS if count < MANY else 3):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            taken[name].append(1e6 * (time.perf_counter() - began) / steps[name] / count)
    found = {name: statistics.median(times) for name, times in taken.items()}
    print(what)
    for name, each in found.items():
        print(
            f"  {name:36} {each:10.1f} us {each / found[next(iter(found))]:8.2f}   first call {compiling[name]:5.1f} s"
        )
        ROWS.append(place | {"what": what, "way": name, "us": each, "first": compiling[name]})
    sys.stdout.flush()
    return found


def some(count):
    """So many runs, in words."""
    return f"{count} run{'s' * (count > 1)}"


def asked():
    """Run everything and yield what is asked of it: (words, ratio found, ratio that it must be)."""
    for count in (1, 8, 32, 128):
        found = timed(f"A, a step of one of {some(count)}", on_words(count), count, model="A", method="descent")
        if count >= 8:
            yield f"A, {some(count)}: over a loop of torch.nn", found[LOOP] / found[FAST], 20 if THREADS == 1 else 35
        if THERE and THREADS == 1:
            yield f"A, {some(count)}: over tuned JAX", found[TUNED] / found[FAST], 2
            if count >= 32:
                yield f"A, {some(count)}: over plain JAX", found[PLAIN] / found[FAST], 5 if count == 32 else 7
    if THREADS > 1:
        return
    for count in (1, 8, 32):
        found = timed(
            f"A by Heun, a step of one of {some(count)}", on_words(count, heun=True), count, model="A", method="Heun"
        )
        if THERE:
            yield f"A by Heun, {some(count)}: over tuned JAX", found[TUNED] / found[FAST], 2
    for width, must in ((16, 1.4), (64, 1.7), (256, 1.4), (1024, 1.4)):
        for count in (1, 32):
            found = timed(
                f"B, width {width}, a step of one of {some(count)}",
                on_encoders(count, width),
                count,
                model="B",
                width=width,
            )
            if THERE:
                least = must if count == 32 else 1.2
                yield f"B, width {width}, {some(count)}: over tuned JAX", found[TUNED] / found[FAST], least
    for width, must in ((64, 1.8), (256, 4), (1024, 2.4)):
        ways = tangents(width)
        first, results = {}, []
        for name, way in ways.items():
            began = time.perf_counter()
            results.append(way())
            first[name] = time.perf_counter() - began
        if any(abs(each - results[0]).max() > 1e-10 * abs(results[0]).max() for each in results):
            raise SystemExit(f"tangent kernels of width {width} differ")
        what = f"tangent kernel of 64 inputs, width {width}, one of 8 nets"
        found = told(what, ways, dict.fromkeys(ways, 1), 8, first, {"model": "kernel", "width": width, "runs": 8})
        yield f"tangent kernel, width {width}: over jacrev of torch", found["torch, vmap of jacrev"] / found[GRAM], must
        if THERE:
            closed = found["JAX, map of the closed form"]
            yield f"tangent kernel, width {width}: over the closed form in JAX", closed / found[GRAM], 1


def bounded():
    """Stop where a pool of threads of this process is larger than was asked for, or torch has not so many."""
    import threadpoolctl

    pools = {pool["prefix"]: pool["num_threads"] for pool in threadpoolctl.threadpool_info()}
    pools["torch"] = torch.get_num_threads()
    if any(size > THREADS for size in pools.values()) or pools["torch"] != THREADS:
        raise SystemExit(f"pools of threads that do not fit {THREADS}: {pools}")
    print(
        "pools: "
        + ", ".join(f"{name} {size}" for name, size in pools.items())
        + f"; cores {len(os.sched_getaffinity(0))}"
    )


def floors():
    """The floor of a step of each model, in microseconds: (model, width) -> number."""
    known = {("A", None): floor.on_words()} | {("B", width): floor.on_encoders(width) for width in (16, 64, 256, 1024)}
    found = {place: 1e6 * floor.seconds(*work) for place, work in known.items()}
    for (kind, width), each in found.items():
        print(f"floor of a step of {kind}{f', width {width}' if width else ''}: {each:.2f} us")
    return [{"model": kind, "width": width, "us": each} for (kind, width), each in found.items()]


def processor():
    """The name of the processor, as far as the system tells it."""
    told = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.partition(": ")[2] for line in told if line.startswith("model name")), platform.processor())


def main():
    """Print all times and what is met. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of every way (default: 1)")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="where the page of the book reads it: results/speed.json"
    )
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    bounded()
    before, least = yardstick.slowness(THREADS), floors()
    print(f"this machine takes {before:.2f} times as long as the one that the limits of the tests are stated for")
    lines = list(asked())
    print(f"ratios, {THREADS} thread{'s' * (THREADS > 1)}" + ("" if THERE else ", without JAX, which is not installed"))
    for said, ratio, must in lines:
        print(f"  {said:58} {ratio:7.2f}   must {must:g}: {'met' if ratio >= must else 'missed'}")
    met = sum(ratio >= must for _, ratio, must in lines)
    if options.json:
        where = stamp.environment() | {"processor": processor(), "slowness": [before, yardstick.slowness(THREADS)]}
        ratios = [{"what": said, "ratio": ratio, "must": must} for said, ratio, must in lines]
        timing.stored(
            options.json, str(THREADS), {"environment": where, "floors": least, "rows": ROWS, "ratios": ratios}
        )
    print(f"must: {met} of {len(lines)} met")
    return int(len(lines) - met > 2)


if __name__ == "__main__":
    sys.exit(main())
