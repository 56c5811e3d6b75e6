"""`python -m engine.export`: the job that makes one request's exports. Started by engine.export.service; from a
terminal it is `tuningfork export`."""

from __future__ import annotations

import os
import sys
from typing import Any

# products of rank 16 are too small to share: numpy's threads would only wait for each other
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from engine.core import jobs, spinning


def do(job: jobs.JobWork) -> dict[str, Any]:
    """Make the exports; the result names them: {"exports": [id, …]}."""
    from engine.export import make, planning
    from engine.export.request import Request
    from engine.models.prepare import prepare

    store, body = job.store, job.request
    request = Request.from_json(body["export"])
    chosen = planning.selection(store, job.job.name, body["step"], body["why"], body.get("strength"))
    if chosen.model.folder is None:
        prepare(store, chosen.run.base, lambda text: job.progress(0, 0, text, stage="preparing"))
        chosen = planning.selection(store, job.job.name, body["step"], body["why"], body.get("strength"))
    made: list[int] = []
    titles = [target.title for target in dict.fromkeys(request.targets)]

    def tell(title: str, stage: str, text: str, done: int, total: int) -> None:
        place = f" ({titles.index(title) + 1} of {len(titles)})" if len(titles) > 1 else ""
        job.progress(done, total, text, part=title + place, stage=stage)

    for number in make.make(store, request, chosen, tell):
        made.append(number)
    return {"exports": made}


if __name__ == "__main__":
    with spinning.polite():
        code = jobs.main(do)
    sys.stderr.flush()
    os._exit(code)  # native libraries' exit hooks must not hold up a process that is done
