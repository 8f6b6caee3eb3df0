#!/usr/bin/env bash
# A sweep on the nodes of a SLURM job: a Ray cluster over them, and `pat sweep` on the first. What is behind the script's
# name are the options of the sweep; the store has to be on a file system that the nodes share:
#
#   sbatch --nodes 4 --cpus-per-task 16 --gpus-per-node 8 tools/slurm-sweep.sh --profile imagenet --preset study --store /shared/runs
#
# A job that is cut by its time limit loses nothing: the same command goes on. PAT_PYTHON names the interpreter of an
# environment with the extra [sweep]; by default the one of `make setup`.
#SBATCH --job-name=pat-sweep
#SBATCH --ntasks-per-node=1
set -euo pipefail

python=${PAT_PYTHON:-${SLURM_SUBMIT_DIR:-$PWD}/.venv/bin/python}
port=${PAT_RAY_PORT:-6379}
[[ -x $python ]] || { echo "slurm-sweep: $python is no interpreter; name one in PAT_PYTHON" >&2; exit 2; }
: "${SLURM_JOB_NODELIST:?slurm-sweep: this is a batch script: sbatch tools/slurm-sweep.sh ...}"
export RAY_USAGE_STATS_ENABLED=0
# Others on the machines cannot join: a secret of this job alone.
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$("$python" -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN

start() { # on a node; its part of the cluster lives as long as the step that started it
  local node=$1
  shift
  srun --nodes 1 --ntasks 1 --nodelist "$node" --overlap \
    "$python" -m ray.scripts.scripts start "${resources[@]}" --block "$@" &
}
until_there() { # so many nodes, or some minutes have passed
  "$python" - "$address:$port" "$1" << 'END'
import sys, time
import ray
address, wanted = sys.argv[1], int(sys.argv[2])
end = time.monotonic() + 300
while True:
    try:
        ray.init(address, log_to_driver=False, configure_logging=False)
        while sum(node["Alive"] for node in ray.nodes()) < wanted and time.monotonic() < end:
            time.sleep(1)
        sys.exit()
    except ConnectionError:
        if time.monotonic() > end:
            sys.exit(f"slurm-sweep: no Ray cluster came up at {address}")
        time.sleep(1)
END
}
trap 'kill $(jobs -p) 2> /dev/null || true' EXIT

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}
address=$(srun --nodes 1 --ntasks 1 --nodelist "$head" hostname --ip-address | awk '{print $1}')

resources=(--num-cpus "${SLURM_CPUS_PER_TASK:-1}")
[[ -z ${SLURM_GPUS_ON_NODE:-} ]] || resources+=(--num-gpus "$SLURM_GPUS_ON_NODE")

start "$head" --head --node-ip-address "$address" --port "$port" --include-dashboard=false
until_there 1
for node in "${nodes[@]:1}"; do
  start "$node" --address "$address:$port"
done
until_there "${#nodes[@]}" # a sweep takes the room that is there when it begins

"$python" -m pat.cli sweep --executor ray --address "$address:$port" "$@"
