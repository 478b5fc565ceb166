"""What most jobs of a run import, imported at once: by the process that workers are forked from."""

from __future__ import annotations

import tasks.jobs.colorize
import tasks.jobs.ingest
import tasks.jobs.interrupts
import tasks.jobs.sheet
import tasks.jobs.timing
import tasks.jobs.versions  # noqa: F401 - nothing here is used in that process itself
