#!/usr/bin/env bash
# Everything that needs a GPU, within eight minutes and without network, as one report: tests/gpu, then
# benchmarks/train_gpu.py.
#
#   scripts/gpu_check.sh [REPORT.md]
#
# PYTHON  the Python with torch (default: .venv/bin/python, else python3). Its torch is taken as it is, 2.11 or newer.
# WHEELS  a folder of wheels for what that Python lacks; they go into a folder of their own that is removed again.
# LIMIT   seconds for all of it (default 480).
# SHAPES  the models of the benchmark (default 0.5b,1.5b,8b; `tiny` tries the script, also without a GPU).
set -uo pipefail
cd "$(dirname "$0")/.."
report=${1:-gpu-report.md}
limit=${LIMIT:-480}
shapes=${SHAPES:-0.5b,1.5b,8b}
python=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
began=$(date +%s)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export HF_HUB_OFFLINE=1 HF_HUB_DISABLE_TELEMETRY=1 TOKENIZERS_PARALLELISM=false PYTHONDONTWRITEBYTECODE=1
export PYTHONPATH="$PWD:$scratch/site${PYTHONPATH:+:$PYTHONPATH}"

left() { echo $((limit - ($(date +%s) - began))); }

if [ -n "${WHEELS:-}" ]; then
  "$python" -m pip install --quiet --no-index --no-deps --target "$scratch/site" "$WHEELS"/*.whl || exit 2
fi
missing=$("$python" - <<'PY'
from importlib.util import find_spec
needed = (
    "torch transformers peft trl datasets bitsandbytes accelerate safetensors gguf sqlite_utils jinja2 yaml psutil "
    "regex httpx pytest pytest_asyncio pytest_timeout hypothesis"
)
print(*(name for name in needed.split() if find_spec(name) is None))
PY
) || { echo "$python cannot be run; name another with PYTHON=..." >&2; exit 2; }
if [ -n "$missing" ]; then
  echo "$python lacks: $missing. Put their wheels into a folder and set WHEELS to it, or run make setup-dev." >&2
  exit 2
fi

if [ "$shapes" != tiny ] && ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
  echo "The torch of $python finds no GPU. See nvidia-smi, or try the script itself with SHAPES=tiny." >&2
  exit 2
fi

{
  echo "# GPU check"
  echo
  echo "$(date -u +%F), commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown)."
  echo
  echo '```'
  "$python" - <<'PY'
import platform
from importlib.metadata import version
import torch
where = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU"
print(f"{where}; CUDA {torch.version.cuda}; Python {platform.python_version()}")
print(", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft", "trl", "bitsandbytes")))
PY
  echo '```'
  echo
  echo "## tests/gpu"
  echo
  echo '```'
} > "$report"

# Half of the time at most, so that the benchmark has the other half.
timeout --kill-after=10 $((limit / 2)) "$python" -m pytest -q -rsf -p no:cacheprovider \
  --junitxml="$scratch/tests.xml" tests/gpu > "$scratch/tests.txt" 2>&1
tests=$?
tail -n 40 "$scratch/tests.txt" | cut -c1-200 >> "$report"
{
  echo '```'
  [ $tests -ne 124 ] || echo "The tests were cut off after $((limit / 2)) s."
  "$python" - "$scratch/tests.xml" <<'PY'
import sys
from pathlib import Path
from xml.etree import ElementTree
if Path(sys.argv[1]).is_file():
    for case in ElementTree.parse(sys.argv[1]).getroot().iter("testcase"):
        for noted in case.iter("property"):
            print(f"- {case.get('name')}: {noted.get('name')} = {noted.get('value')}")
PY
  echo
} >> "$report"

# A measurement that has begun may take up to a minute more.
budget=$(($(left) - 75))
[ "$budget" -gt 30 ] || budget=30
timeout --kill-after=10 $(($(left) - 5)) "$python" -m benchmarks.train_gpu --shapes "$shapes" --seconds "$budget" \
  > "$scratch/bench.txt" 2> "$scratch/bench.err"
bench=$?
sed -n '/^## benchmarks/,$p' "$scratch/bench.txt" >> "$report"
if [ $bench -ne 0 ]; then
  { echo "The benchmark ended with exit code $bench:"; echo '```'; tail -n 30 "$scratch/bench.err" | cut -c1-200; echo '```'; } >> "$report"
fi
echo >> "$report"
echo "All of it took $(($(date +%s) - began)) s." >> "$report"
cat "$report"
echo "Written to $report"
[ $tests -eq 0 ] && [ $bench -eq 0 ]
