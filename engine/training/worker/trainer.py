"""Runs a job: sets up the process, verifies the checkpoint to resume from, and calls the objective's trainer."""

from __future__ import annotations

import os

os.environ.update(HF_HUB_DISABLE_TELEMETRY="1", HF_HUB_OFFLINE="1", DO_NOT_TRACK="1")  # the base is on this machine

from engine.training.worker import checkpoints, loading
from engine.training.worker.contracts import Outcome, TrainingJob
from engine.training.worker.objectives import TRAINERS


def run(job: TrainingJob) -> Outcome:
    """Train to the end or to a wanted stop. Raises BadInput, Conflict, Unsupported or WorkerError."""
    loading.set_up_process(job.ranks.threads(job.config.threads), job.ranks.local, give_back=job.config.shard)
    loading.quiet()
    job.ranks.join()
    if job.ranks.world > 1:
        job.reporter.say(f"Training in {job.ranks.world} processes ({job.ranks.launcher})", phase="loading")
    if job.resume_from:
        step = checkpoints.verify(job.resume_from, job.config, job.rows)
        job.reporter.say(f"Resuming from step {step}", phase="loading", step=step)
        for later in checkpoints.drop_later(job.out / "checkpoints", step) if job.ranks.first else ():
            job.reporter.pruned(later)
            job.reporter.say(f"Removed {later.name}: the run continues from step {step}")
    return TRAINERS[job.config.objective](job)
