#!/usr/bin/env bash
# Every check that needs a GPU, on a machine with Python, PyTorch and nothing else: no network, no other package.
#
#   make cuda-wheels                    on a machine with network: fills wheels/ (Python 3.12, Linux, x86-64)
#   benchmarks/cuda/check.sh [OUTPUT [--steps N] [--tests devices loop ...]]
#                                       on the machine with the GPU, in the same checkout with wheels/ in it
#
# PYTHON chooses the interpreter that has torch. Packages that it lacks are installed from wheels/ into a throw-away
# environment, and it is left as it was. OUTPUT (cuda_check.txt) holds the summary; the exit status is 1 where
# something failed. Without a GPU it runs what a CPU can and says aloud that nothing was checked on CUDA.
set -euo pipefail
output=$(realpath "${1:-cuda_check.txt}")
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
python=${PYTHON:-python3}
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

"$python" -W ignore -c 'import torch' || { echo "$python has no torch; name the interpreter that has: PYTHON=... $0" >&2; exit 2; }
# A path file and not --system-site-packages, which of an environment's interpreter would give the packages below it.
"$python" -m venv --without-pip "$place/env"
site=$("$place/env/bin/python" -c 'import site; print(site.getsitepackages()[0])')
"$python" -c 'import sys; print(*(p for p in sys.path if p.endswith("-packages")), sep="\n")' >"$site/outer.pth"
missing=$("$place/env/bin/python" benchmarks/cuda/missing_wheels.py wheels)
if [ -n "$missing" ]; then
  mapfile -t wheels <<<"$missing"
  "$python" -m pip --python "$place/env/bin/python" install --quiet --no-index --no-deps --disable-pip-version-check \
    "${wheels[@]}"
fi

export OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 PYTHONPATH=$PWD PYTHONDONTWRITEBYTECODE=1
"$place/env/bin/python" -m benchmarks.cuda.check --output "$output" "${@:2}"
