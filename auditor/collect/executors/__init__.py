"""Where work is done: in this process, in others of this machine, or on a Ray cluster."""

from auditor.collect.executors.base import Executor, Job, Outcome, attempt
from auditor.collect.executors.choice import EXECUTORS, open_executor
from auditor.collect.executors.dispatch import carry_out

__all__ = ["EXECUTORS", "Executor", "Job", "Outcome", "attempt", "carry_out", "open_executor"]
