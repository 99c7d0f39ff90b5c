"""
Job files: what is to be done each night, what it may cost, when, and who is told.

    reading (vocabulary) --> Job --> running: window --> pilot --> manifests --> writing --> telling --> sending
                                     money: limits of run, night and month      installing: for schedulers
"""

from __future__ import annotations

from batchedit.jobs.model import Job
from batchedit.jobs.reading import is_job, load_job

__all__ = ["Job", "is_job", "load_job"]
