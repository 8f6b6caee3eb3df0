#!/usr/bin/env bash
# Brings what tools/gpu.sh needs and a machine with PyTorch may lack into a folder, to be carried there:
#   WHEELS=build/wheels tools/gpu-wheels.sh [NAME ...]
# Wheels for Python 3.12 on Linux (x86-64) in the tested versions, and a file that names the commit.
set -euo pipefail
cd "$(dirname "$0")/.."

WHEELS=${WHEELS:-build/wheels}
PYTHON=${PYTHON:-python3}
names=("$@")
if ((${#names[@]} == 0)); then
  names=(pydantic pydantic_core annotated-types typing-inspection typing_extensions rich typer filelock)
fi

mkdir -p "$WHEELS"
rm -f "$WHEELS"/*.whl  # two versions of one package stop the installation
pins=()
for name in "${names[@]}"; do
  pins+=("$(grep -i "^${name//[-_]/[-_]}==" requirements-tested.txt)")
done
platforms=()
for libc in 2_28 2_27 2_17 2014 1; do
  case $libc in 2_*) platforms+=(--platform "manylinux_${libc}_x86_64") ;; *) platforms+=(--platform "manylinux${libc}_x86_64") ;; esac
done
"$PYTHON" -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
  "${platforms[@]}" -d "$WHEELS" "${pins[@]}"
changed=$(git status --porcelain -- src pyproject.toml)
echo "$(git rev-parse HEAD)${changed:++}" > "$WHEELS/COMMIT"
du -bc "$WHEELS"/*
