"""Figures drawn again against stored ones, by structural similarity; as a plugin of pytest, beside nbval, which compares texts.

The same code on the same versions draws the same pixels, and fewer colours are kept of them (``smaller`` of notebooks/build.py).
Where another processor rounds a line to the next pixel, each place is compared with what is around it, and the worst place
counts: a mean over a page that is mostly empty would say nothing.
"""

import base64
import io
import re
from importlib import metadata, util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import uniform_filter

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements.txt"
DRAWS = ("matplotlib", "torch")  # what has to have the version that the stored figures were drawn with
LEAST = (
    0.95  # drawn again 1; a curve in the next colour 0.93, moved by a pixel 0.72, another figure of the chapter 0.04
)
WINDOW, AROUND = 7, 33  # pixels: of the similarity, and of the place over which it is averaged
SMALL = (1e-4, 9e-4)  # (0.01, 0.03) squared: the usual constants for shades from 0 to 1

_spec = util.spec_from_file_location("notebooks_build", ROOT / "notebooks" / "build.py")
build = util.module_from_spec(_spec)
_spec.loader.exec_module(build)


def shades(picture):
    """A base64 PNG on a white page: (height, width, 3), from 0 to 1."""
    image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGBA")
    page = Image.new("RGBA", image.size, "white")
    return np.asarray(Image.alpha_composite(page, image).convert("RGB"), dtype=float) / 255


def likeness(one, other):
    """Structural similarity of two pictures at the place where they are least alike: 1 where they are equal, 0 for other sizes.

    Wang, Bovik, Sheikh, Simoncelli 2004, in each colour: means, variances and covariance in a small window around each pixel.
    """
    if one.shape != other.shape:
        return 0.0

    def mean(values, size=WINDOW):
        return uniform_filter(values, (size, size, 0))

    (first, second), about = (mean(one), mean(other)), mean(one * other)
    spread = mean(one**2) - first**2 + mean(other**2) - second**2
    alike = (2 * first * second + SMALL[0]) * (2 * (about - first * second) + SMALL[1])
    alike /= (first**2 + second**2 + SMALL[0]) * (spread + SMALL[1])
    return float(mean(alike, AROUND).min())


def drawn(outputs):
    """The figures among the outputs of a cell."""
    return [output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})]


def differences(stored, again):
    """What is to be said of the figures of a cell, drawn ``again``, that are not as they were stored; empty where all are."""
    if len(stored) != len(again):
        return [f"{len(again)} figures where {len(stored)} are stored"]
    pairs = [(shades(one), shades(other)) for one, other in zip(stored, again, strict=True)]
    found = [1.0 if np.array_equal(*pair) else likeness(*pair) for pair in pairs]
    return [
        f"figure {place} of the cell is like the stored one by {each:.2f}; at least {LEAST} is asked"
        for place, each in enumerate(found, start=1)
        if each < LEAST
    ]


def other_versions():
    """Which of the versions that draw are not those of the stored figures, as text; empty where all are."""
    pins = dict(re.findall(r"^(\w+)==(\S+)$", REQUIREMENTS.read_text(encoding="utf-8"), re.M))
    here = {name: metadata.version(name).partition("+")[0] for name in DRAWS}
    return ", ".join(f"{name} {here[name]} and not {pins[name]}" for name in DRAWS if here[name] != pins[name])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """After nbval has run a cell: compare its figures."""
    result = yield
    if hasattr(item, "test_outputs") and not other_versions():
        if told := differences(drawn(item.cell.outputs), list(map(build.smaller, drawn(item.test_outputs)))):
            pytest.fail("\n".join(told), pytrace=False)
    return result


def pytest_terminal_summary(terminalreporter):
    """Say it where no figure was compared."""
    if told := other_versions():
        terminalreporter.write_line(f"figures not compared: {told}")
