"""Execute the chapters: notebooks/src/*.py -> notebooks/*.ipynb, one way, as one clean run.

A notebook remembers what it was made from: a hash of its source, and one of the code that it uses, which is what it imports
of the library and all of the chapter's own room. That hash is over syntax trees, so a comment or a docstring costs nothing.
Only chapters that no longer agree are executed, whatever the times of the files say.
"""

import argparse
import base64
import hashlib
import io
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
FILLS = 1300  # pixels of a figure as wide as a column
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def digest(text):
    """A short hash of a text, the same on every system."""
    return hashlib.sha256(text.replace("\r\n", "\n").encode()).hexdigest()[:16]


def modules(source):
    """The modules that a chapter uses: those that its cells import, and all of its own room, if it has one."""
    from attnflow import rooms, stamp

    room = next((room.name for room in rooms.rooms().values() if room.page == source.stem), None)
    own = [name for name in stamp.library() if room and f"{name}.".startswith(f"attnflow.{room}.")]
    return [*stamp.imports(source.read_text(encoding="utf-8")), *own]  # what is not a code cell is a comment


def made_from(source):
    """What a chapter is made from: the hash of its source, and the hash of the code that it uses."""
    from attnflow import stamp

    return {"source": digest(source.read_text(encoding="utf-8")), "library": stamp.code(modules(source))}


def remembered(notebook):
    """What a stored notebook was made from; empty where there is none."""
    import nbformat

    return dict(nbformat.read(notebook, as_version=4).metadata.get("attnflow", {})) if notebook.exists() else {}


def slowness():
    """How much slower this machine is, at the moment, than the one that the limit of a page's seconds is stated for."""
    yardstick = [sys.executable, HERE.parent / "benchmarks" / "yardstick.py", "1"]
    return float(subprocess.run(yardstick, capture_output=True, text=True, check=True).stdout)


def clean(notebook):
    """Keep what a reader needs: no times, no versions of one machine, cell ids that depend on the position only."""
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    for place, cell in enumerate(notebook.cells, start=1):
        cell.id = f"cell-{place}"
        if cell.cell_type == "code":
            cell.outputs = joined(cell.outputs)
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                raise RuntimeError(f"cell {place} ended in an error: {output.ename}: {output.evalue}")
    return notebook


def joined(outputs):
    """Outputs with the texts joined that a kernel happened to send in pieces."""
    found = []
    for output in outputs:
        last = found[-1] if found else {}
        if output.output_type == "stream" == last.get("output_type") and last.name == output.name:
            last.text += output.text
        else:
            found.append(output)
    return found


def smaller(picture):
    """A base64 PNG with a palette of 128 colours, transparent ones among them: a third of the bytes, the same to the eye."""
    from PIL import Image

    image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGBA")
    packed = io.BytesIO()
    image.quantize(128, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(packed, "PNG", optimize=True)
    return base64.b64encode(packed.getvalue()).decode()


def options(source):
    """What a code cell says of its figure in lines that begin with ``#|``, as YAML: ``name``, ``caption``, ``alt``, ``picture``.

    Raises RuntimeError where one of the first three is missing, or another is there.
    """
    import yaml

    lines = [line.lstrip("# ").removeprefix("|") for line in source.splitlines() if line.startswith(("#|", "# |"))]
    said = yaml.safe_load("\n".join(lines)) or {}
    asked = {"name", "caption", "alt"}
    if said and not asked <= set(said) <= asked | {"picture"}:
        raise RuntimeError(f"a figure has name, caption and alt, and may have picture; this cell says {sorted(said)}")
    return said


def narrow(picture):
    """The width on a page of a ``picture`` less wide than a column, at which its letters are as large as those of the others.

    Empty for one that fills the column: half its pixels, of which there are 200 an inch, are about that.
    """
    from PIL import Image

    pixels = Image.open(io.BytesIO(base64.b64decode(picture))).width
    return {"width": f"{pixels // 2}px"} if pixels < FILLS else {}


def captions(notebook):
    """Hand what cells say of their figures to the book: number and caption are made from it. Every figure needs it."""
    for cell in notebook.cells:
        drawn = [output for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]
        said = options(cell.source) if cell.cell_type == "code" else {}
        if len(drawn) != bool(said):
            raise RuntimeError(f"{len(drawn)} figures in a cell that says {said or 'nothing'} of one:\n{cell.source}")
        if said:
            name, caption, alt = (" ".join(said[key].split()) for key in ("name", "caption", "alt"))
            image = {"alt": alt} | narrow(drawn[0].data["image/png"])
            cell.metadata["mystnb"] = {"figure": {"name": name, "caption": caption}, "image": image}


def pictures(notebook):
    """Pack every figure, and copy those of cells that say ``picture: NAME`` to book/images/NAME.png."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = smaller(output.data["image/png"])
                if name := options(cell.source).get("picture"):
                    path = HERE.parent / "book" / "images" / f"{name}.png"
                    path.write_bytes(base64.b64decode(output.data["image/png"]))


def execute(source, target):
    """Run one chapter from top to bottom in a fresh kernel and write it, showing progress."""
    import jupytext
    import nbformat
    from nbclient import NotebookClient
    from tqdm import tqdm

    before, slow = made_from(source), slowness()
    notebook = jupytext.read(source, fmt="py:percent")
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    count = sum(cell.cell_type == "code" for cell in notebook.cells)
    began = time.perf_counter()
    with tqdm(total=count, desc=source.stem, unit="cell", disable=None) as bar:
        client = NotebookClient(
            notebook,
            timeout=600,
            kernel_name=KERNEL["name"],
            extra_arguments=["--IPKernelApp.log_level=40"],
            resources={"metadata": {"path": str(target.parent)}},
            on_cell_executed=lambda **_: bar.update(),
        )
        client.execute()
    notebook = clean(notebook)
    captions(notebook)
    pictures(notebook)
    notebook.metadata["attnflow"] = before
    notebook.metadata["slowness"] = round((slow + slowness()) / 2, 2)
    temporary = target.with_suffix(".ipynb.tmp")
    nbformat.write(notebook, temporary)
    os.replace(temporary, target)
    size = target.stat().st_size / 1e3
    print(f"{source.stem}: {count} cells, {time.perf_counter() - began:.0f} seconds, {size:.0f} kB")


def main(arguments=None):
    """Execute what is out of date. Returns the exit status."""
    sources = {path.stem: path for path in sorted((HERE / "src").glob("*.py"))}
    parser = argparse.ArgumentParser(description="Execute the chapters whose source or library changed.")
    parser.add_argument("chapter", nargs="*", help="chapters by name; all by default")
    parser.add_argument("--force", action="store_true", help="execute what is up to date too")
    chosen = parser.parse_args(arguments)
    for name in chosen.chapter:
        if name not in sources:
            print(f"there is no chapter {name!r}; the chapters are {', '.join(sources) or 'none yet'}", file=sys.stderr)
            return 2
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    for name in chosen.chapter or sources:
        target = HERE / f"{name}.ipynb"
        if not chosen.force and remembered(target) == made_from(sources[name]):
            print(f"{name}: up to date")
            continue
        try:
            execute(sources[name], target)
        except Exception as failure:
            print(f"{name}: not written\n{failure}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
