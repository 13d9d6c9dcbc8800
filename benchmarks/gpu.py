"""From how many runs on a GPU overtakes the CPU: a step of a stack of S = 1, 4, 16, ..., 4096 runs, in one table a model.

    python benchmarks/gpu.py                              # prints the tables
    python benchmarks/gpu.py --json results/speed.json    # and puts them where the page *How fast* reads them
    python benchmarks/gpu.py --diagram phase_diagram      # a phase diagram of ten times the chapter's cells, into results/gpu/
    python benchmarks/gpu.py --rehearse                   # on the CPU: whether this script runs, and no result

**Not run on a GPU yet**: no number of it stands anywhere in the book. Model A is the Transformer on words of chapter 2, model B
the encoder of chapter 3 of widths 16 and 256, as in peers.py, by descent. Before anything is timed, the CPU and the GPU have to
agree from the same seeds at a fixed time to 1e-8, relative, in float64, by descent and by Heun on its clock, and the GPU has to
give the same bits twice. Times are medians, of a step of all runs over S, in milliseconds; what is recorded and compiled is so
before. The columns are ``COLUMNS``. That of JAX needs JAX with CUDA, ``pip install "jax[cuda12]"``, and says absent without.
"""

import argparse
import importlib.util
import os
import statistics
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

THREADS = sys.argv[sys.argv.index("--threads") + 1] if "--threads" in sys.argv[:-1] else "1"
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = THREADS
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # JAX would take most of the memory that torch needs

import torch  # noqa: E402

import timing  # noqa: E402  # isort: skip

from attnflow import door, flow, rooms, runs, stamp, sweep  # noqa: E402
from attnflow.cooccurrence import model as words  # noqa: E402
from attnflow.cooccurrence import setting as words_setting  # noqa: E402
from attnflow.encoder import model as encoders  # noqa: E402
from attnflow.encoder import setting as encoder_setting  # noqa: E402
from attnflow.flow import engines, graphs  # noqa: E402

CPU, CHUNK, REPEATS, TARGET, AGREE = (
    torch.device("cpu"),
    16,
    3,
    0.2,
    1e-8,
)  # steps of a call, seconds of one that is timed
HOME, EAGER, GRAPH, SINGLE, JAX = "CPU, numba", "GPU, torch", "GPU, graph", "GPU, graph, float32", "GPU, JAX"
COLUMNS = (HOME, EAGER, GRAPH, SINGLE, JAX)
ABSENT, FULL = "absent", "no memory"
LABEL = "rehearsal, CPU: "
MODELS = (("A", None), ("B", 16), ("B", 256))
FINE = {  # at least ten times the cells that the chapters have
    "phase_diagram": {"length": range(3, 23), "samples": range(6, 1009, 6)},
    "encoder-phase": {
        "scaling": [0.25 + each / 80 for each in range(61)],
        "width": [round(32 * 2 ** (each / 5)) for each in range(35)],
    },
}


class Blocks:
    """Any method, in the blocks that a graph records, which are called again in place of a recording."""

    def __init__(self, method):
        self.method = method

    def bind(self, field, start, step):
        """The stepper of a graph, on whatever device."""
        return graphs.Graphed(self.method, field, start, step, lambda steps, where: steps)


def problem(kind, width, count, small):
    """A problem on the CPU: what makes its field and start (device, dtype) -> field, start; its step; and what JAX is told."""
    if kind == "A":
        asked = {"samples": 12, "length": 3, "width": 8} if small else {"samples": 60, "length": 5}
        found = words_setting.drawn(range(count), CPU, **asked)
        tokens, labels, size, neurons = found["tokens"], found["labels"], found["task"].size, found["neurons"]
        start, names, step = found["start"], ("W_Q", "W_K", "W_V", "readout"), 0.01

        def field(where, dtype):
            return words.field(tokens.to(where), labels.to(where, dtype), size, neurons)

        told = "words_by_hand", (tokens, labels, torch.full((count,), float(neurons), dtype=runs.DTYPE))
    else:
        net, inputs, labels, start = encoder_setting.drawn(range(count), CPU, d=16, width=width)
        names, step = ("W_Q", "W_K", "W_V", "W_O"), min(1e-3, 0.05 / width)

        def field(where, dtype):
            return encoders.field(inputs.to(where, dtype), labels.to(where, dtype), net)

        scales = [torch.full((count,), scale, dtype=runs.DTYPE) for scale in (net.tau_0, net.tau_1)]
        told = "encoder_by_hand", (inputs, labels, *scales)

    def made(where, dtype=runs.DTYPE):
        return field(where, dtype), {name: start[name].to(where, dtype) for name in names}

    return made, step, (*told, [start[name].numpy() for name in names])


def stepping(field, start, step, engine):
    """A function of a number of steps that goes on where it ended and waits for the device, without records."""
    like = next(iter(start.values()))
    size = torch.full((len(like),), step, dtype=runs.DTYPE, device=like.device)
    rehearsed = engine == "graph" and like.device.type == "cpu"
    now = {}

    @door.takes()  # from inside of the library, where no argument is looked at
    def advance(steps):
        if not now:
            method = Blocks(flow.Descent()) if rehearsed else flow.Descent()
            stepper, _ = engines.bound(
                "torch" if rehearsed else engine, method, field, runs.state(start, single=True), size
            )
            now.update(stepper=stepper, state=start, time=torch.zeros_like(size))
        count = torch.full(size.shape, steps, dtype=torch.long, device=size.device)
        until, stop = now["time"] + 2 * steps * size, torch.zeros_like(size)
        found = now["stepper"].advance(now["state"], now["time"], until, stop, count, False)
        now.update(state=found.state, time=found.time)
        if size.device.type == "cuda":
            torch.cuda.synchronize(size.device)

    return advance


def in_jax(told, step, rehearsed):
    """The same in JAX on its GPU, all runs together, or None where there is none. told: the gradient, its data and the start."""
    if importlib.util.find_spec("jax") is None:
        return None
    import in_jax as written

    if written.jax.default_backend() != ("cpu" if rehearsed else "gpu"):
        return None
    name, data, start = told
    made = written.stepped(getattr(written, name), start, [each.numpy() for each in data], step, mapped=False)
    return lambda steps: made(steps, home=False)


def seconds(advance):
    """Seconds before the first steps are done, and the median seconds of one step."""
    began = time.perf_counter()
    advance(CHUNK)
    first = time.perf_counter() - began
    began = time.perf_counter()
    advance(CHUNK)
    steps = CHUNK * max(1, round(TARGET / (time.perf_counter() - began)))
    taken = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        advance(steps)
        taken.append((time.perf_counter() - began) / steps)
    return first, statistics.median(taken)


def timed(kind, width, count, where):
    """Rows of one S, one a column: milliseconds of a step of one run, or why there is no number."""
    rehearsed = where == CPU
    made, step, told = problem(kind, width, count, rehearsed)
    ways = {
        HOME: lambda: stepping(*made(CPU), step, "numba" if engines.there() else "torch"),
        EAGER: lambda: stepping(*made(where), step, "torch"),
        GRAPH: lambda: stepping(*made(where), step, "graph"),
        SINGLE: lambda: stepping(*made(where, torch.float32), step, "graph"),
        JAX: lambda: in_jax(told, step, rehearsed),
    }
    for name, way in ways.items():
        row = {"model": kind, "width": width, "runs": count, "way": name, "ms": None, "first": None, "why": ""}
        try:
            advance = way()
            if advance is None:
                row["why"] = ABSENT
            else:
                row["first"], each = seconds(advance)
                row["ms"] = 1e3 * each / count
        except (RuntimeError, MemoryError) as error:
            full = isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)) or "RESOURCE_EXHAUSTED" in str(error)
            if not full:
                raise
            row["why"] = FULL
        advance = None  # its memory goes before the next way, which may be JAX, takes its own
        if where.type == "cuda":
            torch.cuda.empty_cache()
        yield row


def shown(row):
    """What stands in the cell of a ``row``."""
    return row["why"] if row["ms"] is None else f"{row['ms']:.3g}"


def crossover(rows, other, way=GRAPH):
    """The least S from which on a ``way`` is faster than an ``other`` one at every S of these ``rows``, None without one."""
    times = {(row["runs"], row["way"]): row["ms"] for row in rows}
    pairs = [
        (times[count, way], times[count, other], count) for count in sorted({row["runs"] for row in rows}, reverse=True)
    ]
    found = None
    for own, its, count in pairs:
        if own is None or its is None:
            continue
        if own >= its:
            break
        found = count
    return found


def crossing(rows, other):
    """The same in words."""
    known = [row["runs"] for row in rows if row["way"] == other and row["ms"] is not None]
    if not known:
        return f"{GRAPH} over {other}: {ABSENT}"
    found = crossover(rows, other)
    return f"{GRAPH} over {other}: " + (f"from S = {found} on" if found else f"not up to S = {max(known)}")


def states(kind, width, where, heun, small):
    """Final states from the same seeds: by the CPU, and by the device with torch, with graphs twice, and in single precision."""
    made, step, _ = problem(kind, width, 4, small)
    steps = 32 if small else 400
    speed = None
    if heun:
        asked = {"samples": 12, "length": 3, "width": 8} if small else {"samples": 60, "length": 5}
        home, there = (words_setting.drawn(range(4), place, **asked)["speed"] for place in (CPU, where))
        speed, step = {CPU: home, where: there}, 0.3

    def final(place, engine, dtype=runs.DTYPE):
        field, start = made(place, dtype)
        method = flow.Heun(speed[place]) if heun else flow.Descent()
        if engine == "graph" and place == CPU:
            method, engine = Blocks(method), None
        times = [3.0 if heun else steps * step]
        record = flow.integrate(field, start, step=step, times=times, method=method, engine=engine)
        return {name: value.cpu().double() for name, value in record.state.items()}

    return [
        final(CPU, "auto"),
        final(where, "torch"),
        *[final(where, "graph") for _ in range(2)],
        final(where, "graph", torch.float32),
    ]


def gap(one, other):
    """Largest difference of two states, tensor by tensor, over the largest entry of each."""
    return max(float((one[name] - value).abs().max() / value.abs().max()) for name, value in other.items())


def agreed(where):
    """Rows of how far the device is from the CPU at a fixed time, from the same seeds. Leaves where it is too far."""
    found = []
    for kind, width, heun in (("A", None, False), ("A", None, True), ("B", 16, False), ("B", 256, False)):
        home, eager, graph, again, single = states(kind, width, where, heun, where == CPU)
        row = {"model": kind, "width": width, "method": "Heun" if heun else "descent"}
        row |= {
            "torch": gap(eager, home),
            "graph": gap(graph, home),
            "float32": gap(single, home),
            "twice": gap(again, graph),
        }
        said = f"model {kind}{f', width {width}' if width else ''}, {row['method']}"
        said += f": from the CPU {row['torch']:.1e} (torch), {row['graph']:.1e} (graph), {row['float32']:.1e} (graph, float32)"
        print(f"{LABEL * (where == CPU)}{said}; twice {row['twice']:g}")
        if not max(row["torch"], row["graph"]) <= AGREE or row["twice"] != 0:
            raise SystemExit(f"{said}: more than {AGREE:g}, or not the same bits twice: nothing is timed")
        found.append(row)
    return found


def tables(where, most):
    """Print one table a model, row by row, and what crosses. Returns the rows, and the sentences on crossings."""
    label, every, said = LABEL * (where == CPU), [], []
    for kind, width in MODELS[: 2 if where == CPU else None]:
        print(f"{label}model {kind}{f', width {width}' if width else ''}: ms of a step of one run")
        print("  ".join([f"{'S':>5}", *(f"{name:>20}" for name in COLUMNS)]))
        rows, count = [], 1
        while count <= most:
            new = list(timed(kind, width, count, where))
            print("  ".join([f"{count:>5}", *(f"{shown(row):>20}" for row in new)]), flush=True)
            rows, count = rows + new, 4 * count
        for other in (HOME, EAGER, JAX):
            said.append(f"model {kind}{f', width {width}' if width else ''}: {crossing(rows, other)}")
            print(label + said[-1])
        every += rows
    return every, said


def diagram(name, where):
    """A sweep of a chapter on a finer grid, on a device: stored with what made it, or three cells of it in a rehearsal."""
    table = next(table for one in rooms.rooms().values() for table in one.sweeps if table.name == name)
    fine = replace(table, name=f"{name}-fine", axes=FINE[name], probe={})
    if where == CPU:
        few = {axis: list(values)[: 3 if place == 0 else 1] for place, (axis, values) in enumerate(FINE[name].items())}
        fine = replace(fine, axes=few)
    print(f"{LABEL * (where == CPU)}{fine.name}: {len(fine.tasks())} cells, {len(table.tasks())} in the chapter")
    place = tempfile.TemporaryDirectory() if where == CPU else nullcontext(Path("results") / "runs" / fine.name)
    with place as folder, flow.asked("graph"):
        found = sweep.run(fine, Path(folder), device=where, progress=where != CPU)
    if where != CPU:
        print(f"stored as {sweep.keep(fine, found, sweep.home() / 'gpu', where, gpu=machine(where))} and .json")


def machine(where):
    """What numbers of a GPU need beside them."""
    name = torch.cuda.get_device_name(where) if where.type == "cuda" else "none"
    return {"gpu": name, "cuda": torch.version.cuda, "threads of the CPU": torch.get_num_threads()}


def main():
    """Print everything. Returns the exit status: 2 where there is no GPU."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the page reads it: results/speed.json")
    parser.add_argument("--most", type=int, default=4096, metavar="S", help="the largest stack (default: 4096)")
    parser.add_argument("--device", default="cuda", metavar="cuda|cuda:N", help="the GPU (default: cuda)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of the CPU (default: 1)")
    parser.add_argument("--diagram", choices=FINE, help="a fine phase diagram in place of the tables")
    parser.add_argument(
        "--rehearse", action="store_true", help="on the CPU, small, nothing stored: whether the script runs"
    )
    options = parser.parse_args()
    if options.rehearse and options.json:
        parser.error("--rehearse stores nothing: leave out --json")
    if not options.rehearse and not (torch.cuda.is_available() and options.device.startswith("cuda")):
        told = "from how many runs S on a GPU takes a step sooner than the CPU and than JAX: this needs a CUDA device, "
        told += f"{options.device} is none that torch finds here. Columns, in ms of a step of one run: "
        print(f"{told}{'; '.join(('S', *COLUMNS))} (--rehearse tries the script on the CPU)", file=sys.stderr)
        return 2
    where = CPU if options.rehearse else runs.device(options.device)
    torch.set_num_threads(options.threads)
    found = {"environment": stamp.environment(where) | machine(where), "agreement": agreed(where)}
    if options.diagram:
        diagram(options.diagram, where)
        return 0
    rows, said = tables(where, min(options.most, 4) if options.rehearse else options.most)
    if options.rehearse:
        diagram("phase_diagram", where)
    if options.json:
        timing.stored(options.json, "gpu", found | {"rows": rows, "crossings": said})
    return 0


if __name__ == "__main__":
    sys.exit(main())
