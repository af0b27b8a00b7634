#!/bin/sh
# The results of docs/suggester_training.md: reward model, PPO with and without the pretraining mix, ILQL and what it is
# compared with, from the logs of one run. Continues where it was stopped.
# Usage: sh experiments/learned_suggesters.sh RUN_WITH_LOGS FOLDER [OPTIONS...], from the root of the repository.
# OPTIONS are those of each training, such as: --world housekeep --model FOLDER --judge advice --cost 1.
# PPO_SEEDS: seeds of PPO. SEEDS: of ILQL, BC and filtered BC.
set -eu
if [ $# -lt 2 ] || [ ! -e "$1/suggestions.jsonl" ]; then
  echo "usage: sh experiments/learned_suggesters.sh RUN FOLDER [OPTIONS...]; RUN holds suggestions.jsonl (run with" \
    "--log-suggestions)" >&2
  exit 2
fi
logs=$1 out=$2
shift 2
common=$* folders=
train() { # NAME LAST_FILE METHOD OPTIONS...
  name=$1 last=$2 method=$3
  shift 3
  folders="$folders $name"
  # `common` is split at spaces: the paths in it must hold none.
  [ -e "$out/$name/$last" ] ||
    python experiments/train_suggester.py "$method" --logs "$logs" --skip-frames 20000 --out "$out/$name" $common "$@"
}
model() { # NAME METHOD OPTIONS...: a suggester, whose weights are written last
  name=$1
  shift
  train "$name" model.safetensors "$@"
}
train reward figures.json reward-model
for seed in ${PPO_SEEDS:-0 1 2 3 4}; do
  model ppo-$seed ppo --reward-model "$out/reward" --seed $seed
done
model ppo-no-mix-0 ppo --reward-model "$out/reward" --mix 0
for seed in ${SEEDS:-0 1 2}; do
  model ilql-$seed ilql --seed $seed
  model bc-$seed ilql --method bc --steps 100 --seed $seed
  model filtered-bc-$seed ilql --method filtered-bc --steps 100 --seed $seed
done
model sarsa-0 ilql --method sarsa
set --
for name in $folders; do
  set -- "$@" "$out/$name"
done
python experiments/train_suggester.py summary --folders "$@" --out "$out/suggesters.json"
