"""Compare your run with the book: the same claims on the same seeds, row by row. Changes no file.

Verdicts are compared, not digits: sums taken in another order differ in their last bits, and readings of rounding noise
differ in all of them.
"""

import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

STORED = Path(__file__).resolve().parent.parent / "results" / "claims.json"


def extent(values):
    """Least and greatest of the finite values, as text.

    >>> extent([0.5, 0.25]), extent([1, 1.0]), extent([])
    ('0.25 .. 0.5', '1', '-')
    """
    finite = [value for value in values or [] if value is not None and math.isfinite(value)]
    if not finite:
        return "-"
    low, high = f"{min(finite):.3g}", f"{max(finite):.3g}"
    return low if low == high else f"{low} .. {high}"


def difference(book, yours):
    """Largest difference of two lists of readings, relative to the largest reading of the book.

    >>> difference([1.0, 2.0], [1.0, 2.5]), difference([1.0], [1.0, 2.0])
    (0.25, inf)
    """
    pairs = list(zip(book or [], yours or [], strict=False))
    if len(book or []) != len(yours or []):
        return math.inf
    gaps = [abs(a - b) for a, b in pairs if None not in (a, b) and math.isfinite(a - b)]
    scale = max((abs(a) for a in book or [] if a is not None and math.isfinite(a)), default=0)
    return max(gaps, default=0.0) / scale if scale else max(gaps, default=0.0)


def compare(book, yours):
    """Rows of text, one a claim of either run, and the number of verdicts that differ."""
    mine = {claim["id"]: claim for claim in yours["claims"]}
    rows, differing = [("claim", "book", "yours", "difference", "verdict")], 0
    for claim in book["claims"]:
        other = mine.pop(claim["id"], None)
        if other is None:
            rows.append((claim["id"], extent(claim["measured"]), "-", "-", "MISSING in your run"))
            differing += 1
            continue
        same = (claim["holds"], claim["control_fails"]) == (other["holds"], other["control_fails"])
        differing += not same
        gap = f"{difference(claim['measured'], other['measured']):.0e}"
        verdict = "same" if same else f"DIFFERS: holds {other['holds']}, control fails {other['control_fails']}"
        rows.append((claim["id"], extent(claim["measured"]), extent(other["measured"]), gap, verdict))
    rows += [(name, "-", extent(claim["measured"]), "-", "NEW: not in the book") for name, claim in mine.items()]
    return rows, differing


def show(rows):
    """Print rows in aligned columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def main():
    """Run the claims on the book's seeds and compare. Returns 0 when all verdicts agree, 1 when not, 2 without a book."""
    if not STORED.exists():
        print(
            "results/claims.json is absent: there is nothing to compare with. `make claims` writes it.", file=sys.stderr
        )
        return 2
    book = json.loads(STORED.read_text(encoding="utf-8"))
    seeds = str(book["environment"]["seeds"])
    print(f"Running the claims of the book on its seeds, {seeds}.")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "yours.json"
        command = [sys.executable, "-m", "attnflow", "claims", "--seeds", seeds, "--json", str(path)]
        status = subprocess.run(command).returncode
        if not path.exists():
            print(f"The claims did not run to their end (exit status {status}).", file=sys.stderr)
            return 2
        yours = json.loads(path.read_text(encoding="utf-8"))
    print()
    for name, value in book["environment"].items():
        if yours["environment"].get(name) != value and name != "date":
            print(f"{name}: {value} in the book, {yours['environment'].get(name)} here")
    rows, differing = compare(book, yours)
    show(rows)
    print(f"\n{len(book['claims'])} claims in the book; verdicts that differ: {differing}.")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
