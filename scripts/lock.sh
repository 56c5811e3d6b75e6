#!/bin/sh
# Resolve the pinned sets again from pyproject.toml, in a throwaway environment.
# torch is written without its local build tag (+cpu) and without CUDA packages, so that one lock serves every machine:
# pip takes the CPU wheel where that is offered, and elsewhere the CUDA build of the same version with its own needs.
set -eu
cd "$(dirname "$0")/.."
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"${PYTHON:-python3}" -m venv "$dir/venv"
pip="$dir/venv/bin/python -m pip --disable-pip-version-check"
pinned() { $pip freeze --all --exclude-editable | grep -viE '^(pip|wheel|tuningfork|nvidia-|cuda-|triton)' | sed -E 's/^(torch==[0-9.]+)\+.*/\1/'; }
$pip install --quiet setuptools
$pip install --quiet .
{ echo "# Made by scripts/lock.sh: what the product runs on."; pinned; } > requirements.lock
$pip install --quiet ".[dev]"
{ echo "# Made by scripts/lock.sh: the same plus what tests and checks need."; pinned; } > requirements-dev.lock
rm -rf build tuningfork.egg-info
