"""Gradient flow in Transformers: theory you can run.

A ground floor that knows no paper (``flow``, ``laws``, ``symbolic``, ``claims``, ``plot``, ``runs``, ``sweep``),
one room a chapter (``foundations``, ...), and a roof, ``python -m attnflow``.
"""

from attnflow.citations import cite

__all__ = ["cite"]
__version__ = "0.1.0"
