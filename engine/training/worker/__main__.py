"""Command line of the process with torch: `run` an attempt, `prepare` a model, compute what a request file asks for.
Started by the engine only; users run the `tuningfork` command."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from engine.core import spinning
from store.home import Home


def main(argv: list[str] | None = None) -> int:
    """Returns the exit code of the process."""
    parser = argparse.ArgumentParser(prog="python -m engine.training.worker")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="train the attempt that has this token")
    run.add_argument("--token", required=True)
    run.add_argument("--torchrun", type=int, metavar="N", help="start the same command line in N processes")
    run.add_argument("--ray", type=int, metavar="N", help="have Ray train in N processes")
    prepare = commands.add_parser("prepare", help="make the safetensors folder of a model")
    prepare.add_argument("ref")
    reference = commands.add_parser("reference", help="logits and answers of transformers for a request file")
    reference.add_argument("request", type=Path)
    taught = commands.add_parser("taught", help="which rows taught an answer, for a request file")
    taught.add_argument("request", type=Path)
    score = commands.add_parser("score", help="scores of answers by a reward model, for a request file")
    score.add_argument("request", type=Path)
    importance = commands.add_parser("importance", help="activation statistics of a model, for a request file")
    importance.add_argument("request", type=Path)
    merge = commands.add_parser("merge", help="merge an adapter into its base with PEFT")
    for place in ("base", "adapter", "out"):
        merge.add_argument(place, type=Path)
    for command in (run, prepare):
        command.add_argument("--home", required=True, type=Path)
    options = parser.parse_args(argv)
    if options.command == "reference":
        from engine.training.worker import reference as comparison

        return comparison.main(options.request)
    if options.command == "taught":
        from engine.training.worker import taught as gradients

        return gradients.main(options.request)
    if options.command == "score":
        from engine.training.worker import scoring

        return scoring.main(options.request)
    if options.command == "importance":
        from engine.training.worker import importance as activations

        return activations.main(options.request)
    if options.command == "merge":
        from engine.training.worker import merge as merger

        return merger.main(options.base, options.adapter, options.out)
    home = Home(options.home)
    if options.command == "prepare":
        from engine.training.worker import model_cache

        return model_cache.main(home, options.ref)
    if options.torchrun:
        from engine.training.worker import torchrun

        argv = sys.orig_argv[: sys.orig_argv.index("--torchrun")]
        return torchrun.main(home, options.token, options.torchrun, [sys.executable, *argv[1:]])
    if options.ray:
        from engine.training.worker import on_ray

        return on_ray.main(home, options.token, options.ray)
    from engine.training.worker import job_runner, ranks

    return job_runner.run(home, options.token, ranks=ranks.taken())


if __name__ == "__main__":
    with spinning.polite():
        code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # libraries leave threads and exit hooks behind that can hang a process which is done
