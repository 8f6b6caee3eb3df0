#!/usr/bin/env bash
# Spends some minutes of one GPU well, on a machine with PyTorch and no network:
#
#   OUT=folder tools/gpu.sh
#
# in four steps, each with a limit: the environment; a check of the CUDA path; the ratios that need a GPU; then runs of
# an oracle sweep, the most decisive first, until the time is up. What comes back lies in OUT, six files: log.txt,
# environment.json, check.json, ratios.json, records.tar.gz (unpack it and `pat merge` the folder), seconds.txt.
#
#   WHEELS=folder   what tools/gpu-wheels.sh brought (build/wheels)
#   DATA=folder     data root, with the data set's archive (data)
#   STORE=folder    working store (runs)
#   TOTAL=seconds   for everything (570); CHECK=90 and RATIOS=150 of it at most, 0 for neither (a second call on
#                   the same machine goes on with the runs); UNITS for the runs (what is
#                   left); TIMED="--turns 5" is what is timed for a ratio, see tools/gpu_ratios.py
#   PROFILE=imagenette-128 PRESET=study DEVICE=cuda JOBS=1 PYTHON=python3
set -uo pipefail
OUT=$(mkdir -p "${OUT:?name a folder for what comes back: OUT=folder tools/gpu.sh}" && cd "$OUT" && pwd)
cd "$(dirname "$0")/.."
WHEELS=${WHEELS:-build/wheels} DATA=${DATA:-data} STORE=${STORE:-runs} PYTHON=${PYTHON:-python3}
PROFILE=${PROFILE:-imagenette-128} PRESET=${PRESET:-study} DEVICE=${DEVICE:-cuda} JOBS=${JOBS:-1}
TOTAL=${TOTAL:-570} CHECK=${CHECK:-90} RATIOS=${RATIOS:-150} RESERVE=${RESERVE:-15} TIMED=${TIMED:---turns 5}
SITE=$(mktemp -d)
trap 'rm -rf "$SITE"' EXIT
export PYTHONUNBUFFERED=1 PYTHONPATH="$PWD/src:$SITE${PYTHONPATH:+:$PYTHONPATH}"
exec > >(tee "$OUT/log.txt") 2>&1

step() {  # name, limit in seconds, command ...
  local name=$1 limit=$2 start=$SECONDS code=0
  shift 2
  if ((limit == 0)); then return; fi
  printf '\n-- %s, at %d s of %d, limit %d s\n' "$name" "$SECONDS" "$TOTAL" "$limit"
  timeout --signal=INT --kill-after=10 "$limit" "$@" || code=$?
  printf '%-14s %4d s, exit code %d\n' "$name" $((SECONDS - start)) "$code" | tee -a "$OUT/seconds.txt"
  return "$code"
}

rm -f "$OUT/seconds.txt"
if compgen -G "$WHEELS/*.whl" > /dev/null; then
  step wheels 60 "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade \
    --target "$SITE" "$WHEELS"/*.whl
fi
if ! git rev-parse HEAD > /dev/null 2>&1 && [[ -f $WHEELS/COMMIT ]]; then cp "$WHEELS/COMMIT" COMMIT; fi
step environment 60 "$PYTHON" tools/gpu_environment.py --device "$DEVICE" --out "$OUT/environment.json" || exit 1
step data 90 "$PYTHON" tools/gpu_environment.py --data "$DATA" --profile "$PROFILE" || exit 1

common=(--profile "$PROFILE" --device "$DEVICE" --data "$DATA")
passes=--graphs
step check "$CHECK" "$PYTHON" tools/gpu_check.py --device "$DEVICE" --out "$OUT/check.json" || passes=$(
  "$PYTHON" -c 'import json, sys; print(json.load(open(sys.argv[1]))["passes"])' "$OUT/check.json" || echo --plain
)
step ratios "$RATIOS" "$PYTHON" tools/gpu_ratios.py "${common[@]}" "$passes" --budget "$((RATIOS * 9 / 10))s" \
  $TIMED --out "$OUT/ratios.json"

left=$((TOTAL - SECONDS - RESERVE))
if [[ -n ${UNITS:-} ]] && ((left > UNITS)); then left=$UNITS; fi
if ((left > 5)); then
  step units $((left + RESERVE / 2)) "$PYTHON" -m pat.cli sweep "${common[@]}" --preset "$PRESET" --store "$STORE" \
    --jobs "$JOBS" --budget "${left}s" "$passes"
fi
(cd "$STORE" 2> /dev/null && find . -name record.json -print0 | tar -czf "$OUT/records.tar.gz" --null -T -)
printf '\n-- at %d s of %d: %s\n' "$SECONDS" "$TOTAL" "$(cd "$OUT" && du -b -- * | tr '\t\n' '  ')"
