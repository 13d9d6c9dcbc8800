"""How fast, and against what: tables and charts of ``results/speed.json``, drawn when the book is built."""

import json
from pathlib import Path

from attnflow_words import inline
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

STORED = "results/speed.json"
SHORT = {
    "attnflow, compiled": "attnflow, compiled",
    "attnflow, torch": "attnflow, torch",
    "attnflow, Gram form, compiled": "attnflow, Gram form, compiled",
    "attnflow, Gram form by torch": "attnflow, Gram form, torch",
    "JAX, tuned: map of scan, by hand": "JAX, tuned by hand",
    "JAX, plain: scan of vmap of grad": "JAX, `vmap(grad)` + `scan`",
    "torch.nn, a loop of runs": "`torch.nn`, a loop",
    "torch, vmap of jacrev": "torch, `vmap(jacrev)`",
    "JAX, map of jacrev": "JAX, `map(jacrev)`",
    "JAX, map of the closed form": "JAX, the closed form",
}
ON_GPU = ("CPU, numba", "GPU, torch", "GPU, graph", "GPU, graph, float32", "GPU, JAX")  # columns of benchmarks/gpu.py
# One hue and one mark a way, the same in every chart; the floor is dashed, as all that is not a program is.
LOOKS = {
    "attnflow, compiled": ("blue", "o"),
    "attnflow, torch": ("sky", "s"),
    "JAX, tuned: map of scan, by hand": ("orange", "^"),
    "JAX, plain: scan of vmap of grad": ("red", "v"),
    "torch.nn, a loop of runs": ("purple", "D"),
}


def said(microseconds):
    """A time with two digits, or as many as it has before its point.

    >>> said(0.1234), said(5.16), said(99.6), said(1234.6)
    ('0.12', '5.2', '100', '1235')
    """
    return f"{microseconds:.0f}" if microseconds >= 99.5 else f"{microseconds:.2g}"


def plain(way):
    """A way for a legend, without marks."""
    return SHORT[way].replace("`", "")


def table(head, rows):
    """A table of cells of plain text with marks; the first column is of names."""
    drawn = nodes.table(classes=["speed"])
    group = nodes.tgroup(cols=len(head))
    group += [nodes.colspec(colwidth=1) for _ in head]
    for kind, lines in ((nodes.thead, [head]), (nodes.tbody, rows)):
        part = kind()
        part += [
            nodes.row("", *(nodes.entry("", nodes.paragraph("", "", *inline(cell))) for cell in line)) for line in lines
        ]
        group += part
    drawn += group
    return drawn


def ratios(part):
    """Rows of what is asked for, of one number of threads: what, ratio, least, verdict.

    >>> ratios({"ratios": [{"what": "A, 8 runs: over JAX", "ratio": 2.5, "must": 2}]})
    [('A, 8 runs: over JAX', '2.5', '2', 'met')]
    """
    return [
        (row["what"], f"{row['ratio']:.3g}", f"{row['must']:g}", "met" if row["ratio"] >= row["must"] else "*missed*")
        for row in part["ratios"]
    ]


def times(rows, column, shown):
    """Rows of times, one a way, over the values of a ``column``: head and rows. shown: the head of a value.

    >>> rows = [{"way": "attnflow, torch", "us": 2.0, "first": 0.1, "runs": 1}]
    >>> times(rows, "runs", lambda value: f"S = {value}")
    (('way', 'S = 1', 'first call'), [('attnflow, torch', '2', '0.1 s')])
    """
    values = sorted({row[column] for row in rows})
    found = []
    for way in dict.fromkeys(row["way"] for row in rows):
        own = {row[column]: row for row in rows if row["way"] == way}
        first = max(row["first"] for row in own.values())
        found.append(
            (SHORT[way], *(said(own[value]["us"]) if value in own else "–" for value in values), f"{first:.2g} s")
        )
    return ("way", *map(shown, values), "first call"), found


def growth(part):
    """Rows of what grows: what, by what, over which range, the exponent.

    >>> growth({"rows": [{"what": "a step", "by": "k", "values": [16, 64], "seconds": [1, 2], "exponent": 0.5}]})
    [('a step', 'k', '16 to 64', '0.50')]
    """
    return [
        (row["what"], row["by"], f"{row['values'][0]} to {row['values'][-1]}", f"{row['exponent']:.2f}")
        for row in part["rows"]
    ]


def machine(stored):
    """Where and with what all was measured, as one sentence."""
    one = stored["1"]["environment"]
    slow = [value for part in ("1", "2") if part in stored for value in stored[part]["environment"]["slowness"]]
    return (
        f"Measured on {one['date']}: {one['processor']}, {one['cores']} cores, {one['platform']}, Python {one['python']}, "
        f"torch {one['torch']}, numpy {one['numpy']}. By its yardstick the machine took {min(slow):.2f} to {max(slow):.2f} times "
        "as long as the one that the limits of the tests are stated for, before and after."
    )


def on_gpu(rows):
    """Tables of times on a GPU, one a model: title -> head and rows, milliseconds of a step of one run over S.

    >>> row = {"model": "B", "width": 16, "runs": 4, "ms": 0.1234, "why": ""}
    >>> rows = [row | {"way": way} for way in ON_GPU[:4]] + [row | {"way": ON_GPU[4], "ms": None, "why": "absent"}]
    >>> on_gpu(rows)["B, width 16"][1]
    [('4', '0.12', '0.12', '0.12', '0.12', 'absent')]
    """
    found = {}
    for row in rows:
        title = row["model"] + (f", width {row['width']}" if row["width"] else "")
        cell = row["why"] if row["ms"] is None else said(row["ms"])
        found.setdefault(title, {}).setdefault(row["runs"], {})[row["way"]] = cell
    return {
        title: (("S", *ON_GPU), [(str(count), *(cells[way] for way in ON_GPU)) for count, cells in lines.items()])
        for title, lines in found.items()
    }


def million(stored):
    """What a million trainings would take, worked out from one that was timed, as one sentence.

    >>> row = {"model": "A", "way": "attnflow, compiled", "us": 180.0, "runs": 128, "method": "descent"}
    >>> million({"1": {"rows": [row]}})[:71]
    'A run of model A of 10 000 steps takes 1.8 s of one core of this machin'
    """
    own = [row for row in stored["1"]["rows"] if row["model"] == "A" and row["way"] == "attnflow, compiled"]
    seconds = 1e4 * max((row for row in own if row["method"] == "descent"), key=lambda row: row["runs"])["us"] / 1e6
    hours = 1e6 * seconds / 3600
    return (
        f"A run of model A of 10 000 steps takes {seconds:.2g} s of one core of this machine. A million of them would take "
        f"{hours:.0f} hours of one core, {60 * hours / 1000:.0f} minutes of a thousand. *This is an extrapolation*: it "
        "multiplies, supposes cores like these and a scheduler that costs nothing, and nobody has run it."
    )


def chart(stored, kind, path):
    """Draw the times of a step of one run into a file at ``path``: against S for ``runs``, against width for ``width``."""
    import matplotlib

    matplotlib.use("Agg")
    from attnflow import plot

    figure, axes = plot.figure(width=7.2, height=3.6, ylabel=r"time of a step of one run, $\mu$s")
    model, column = ("A", "runs") if kind == "runs" else ("B", "width")
    rows = [row for row in stored["1"]["rows"] if row["model"] == model and row.get("method") != "Heun"]
    rows = [row for row in rows if kind == "runs" or row["runs"] == 32]
    for way, (colour, mark) in LOOKS.items():
        own = [(row[column], row["us"]) for row in rows if row["way"] == way]
        axes.loglog(
            *zip(*own, strict=True),
            color=plot.COLOURS[colour],
            marker=mark,
            markersize=4,
            label=SHORT[way].replace("`", ""),
        )
    floors = [(one["width"], one["us"]) for one in stored["1"]["floors"] if one["model"] == model]
    if kind == "runs":
        axes.axhline(floors[0][1], color=plot.COLOURS["black"], linestyle="--", linewidth=1, label="floor")
        axes.set_xlabel("runs in a stack, S")
    else:
        axes.loglog(*zip(*floors, strict=True), color=plot.COLOURS["black"], linestyle="--", linewidth=1, label="floor")
        axes.set_xlabel("width k")
    ticks = sorted({row[column] for row in rows})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3)
    figure.savefig(path)


def asked(stored):
    """The table of what was asked for, with two threads and with one."""
    rows = [
        (row[0] + more, *row[1:])
        for count, more in (("2", ", two threads"), ("1", ""))
        for row in ratios(stored[count])
    ]
    return table(("what is compared", "ratio", "at least", ""), rows)


def grown(stored):
    """The table of exponents."""
    return table(("what is timed", "by", "range", "exponent"), growth(stored["growth"]))


def graphics(stored):
    """The tables of the GPU, with where they are from and what they cross; where there are none, that it was not run."""
    if "gpu" not in stored:
        text = "Not run: no GPU was at hand for this edition, so there is no number here. What will stand here are the "
        text += "milliseconds of a step of one run, over S, in the columns " + "; ".join(ON_GPU) + "."
        return nodes.paragraph("", "", *inline(text))
    part, where = stored["gpu"], stored["gpu"]["environment"]
    text = f"Measured on {where['date']}: {where['gpu']}, CUDA {where['cuda']}, torch {where['torch']}, {where['platform']}; "
    text += (
        f"the CPU with {where['threads of the CPU']} of its {where['cores']} cores. Milliseconds of a step of one run. "
    )
    found = nodes.container("", nodes.paragraph("", "", *inline(text + "; ".join(part["crossings"]) + ".")))
    for title, lines in on_gpu(part["rows"]).items():
        found += [nodes.paragraph("", "", *inline(f"Model {title}:")), table(*lines)]
    return found


def timed(column, symbol, **wanted):
    """A function of what is stored: the table of times over a ``column``, a ``symbol``, of the rows that are as ``wanted``."""

    def drawn(stored):
        own = [row for row in stored["1"]["rows"] if all(row.get(name) == value for name, value in wanted.items())]
        return table(*times(own, column, lambda value: f"{symbol} = {value}"))

    return drawn


def sentence(words):
    """A function of what is stored: the paragraph that ``words`` make of it."""
    return lambda stored: nodes.paragraph("", "", *inline(words(stored)))


PARTS = {
    "machine": sentence(machine),
    "million": sentence(million),
    "ratios": asked,
    "growth": grown,
    "gpu": graphics,
    "runs": timed("runs", "S", model="A", method="descent"),
    "Heun": timed("runs", "S", model="A", method="Heun"),
    "width": timed("width", "k", model="B", runs=32),
    "kernel": timed("width", "k", model="kernel"),
}


class Speed(SphinxDirective):
    """``attnflow-speed``: one of ``PARTS``."""

    required_arguments = 1

    def run(self):
        """Draw that part."""
        return [PARTS[self.arguments[0]](load(self.env))]


class Chart(SphinxDirective):
    """``attnflow-speed-chart``: times against ``runs`` or ``width``, with the words of ``alt`` for it."""

    required_arguments = 1
    option_spec = {"alt": directives.unchanged_required}

    def run(self):
        """Draw it into a file beside the site, as the pictures of the cards are."""
        kept = Path(self.env.app.outdir).parent / "charts" / f"speed-{self.arguments[0]}.png"
        kept.parent.mkdir(parents=True, exist_ok=True)
        chart(load(self.env), self.arguments[0], kept)
        uri = "/" + str(kept.relative_to(self.env.srcdir)).replace("\\", "/")
        return [nodes.figure("", nodes.image(uri=uri, alt=self.options["alt"]))]


def load(env):
    """What is stored; a page that shows it is made anew where that changes."""
    path = Path(env.srcdir) / STORED
    env.note_dependency(str(path))
    return json.loads(path.read_text(encoding="utf-8"))
