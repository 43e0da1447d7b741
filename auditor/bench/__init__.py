"""Ours and installed peers on the same inputs: time, memory, error against float64.

One file a family of peers (`peers_*.py`) and one a case (`case_*.py`). A number of speed is never
shown without the error beside it. What runs here was written for measuring; nothing else of the
package imports it.
"""
