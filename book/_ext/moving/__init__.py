"""What each figure that moves takes from the library, one module a figure.

A module has ``closed_forms()``, name -> (arguments, expression), which the page gets as JavaScript: nothing is typed twice, and
what a chapter's ``theory.py`` states is taken from there. It has ``still(path)``, which draws what the figure shows when it is
opened, for print and for a page without scripts. It may have ``run()``, a run of the library that no browser computes in time.
"""

from importlib import import_module

import matplotlib.pyplot as plt

STILL = {"svg.hashsalt": "attnflow", "svg.fonttype": "path"}
NAMES = ("foundations", "cooccurrence", "encoder", "kernels", "meanfield", "density")


def keep(figure, path):
    """Write a ``figure`` as SVG, the same bytes each time, to a ``path``."""
    with plt.rc_context(STILL):
        figure.savefig(path, format="svg", metadata={"Date": None}, transparent=True)
    plt.close(figure)


def figure(name):
    """The module of a figure."""
    return import_module(f"moving.{name}")
