"""The visible tests of the assignments: what stands below the imports is a cell of every student copy."""

import numpy as np


def check(what, expected, got, why, rel=1e-6):
    """Say whether a number or an array is as expected, and what it means where it is not."""
    expected, got = np.asarray(expected, dtype=float), np.asarray(got, dtype=float)
    good = expected.shape == got.shape and np.allclose(got, expected, rtol=rel, atol=rel)
    print(f"{'ok   ' if good else 'WRONG'} {what}")
    if not good:
        print(f"      expected {np.array2string(expected, precision=6, threshold=8)}")
        print(f"      got      {np.array2string(got, precision=6, threshold=8)}")
        print(f"      {why}")
    assert good, what
