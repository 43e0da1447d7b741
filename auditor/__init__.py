"""Distill language models with a provable record, and audit how closely one mimics another.

The command line (`auditor --help`) is the contract; `auditor.audit` holds the same work as
functions.
"""

__version__ = "0.1.0"
