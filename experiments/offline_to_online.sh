#!/bin/sh
# From logs to play (docs/offline.md): a log of 300,000 frames of PPO without goals and prior and 100,000 of random play, IQL
# from it with three seeds, and PPO that goes on from IQL's agent or starts afresh. Continues where it was stopped.
# Usage: sh experiments/offline_to_online.sh FOLDER, from the root of the repository.
set -eu
if [ $# -ne 1 ]; then
  echo "usage: sh experiments/offline_to_online.sh FOLDER" >&2
  exit 2
fi
out=$1
run() { # NAME COMMAND...
  name=$1
  shift
  if [ ! -e "$out/$name" ]; then
    python "$@" --no-report --replays 0 --out "$out/$name"
  elif [ ! -e "$out/$name/summary.json" ]; then
    python "$1" --resume "$out/$name"
  fi
}
run log experiments/run_crafter.py --algo ppo --goal-mode oracle --no-goal-conditioned --record --frames 300000
run random experiments/run_crafter.py --algo random --goal-mode none --no-goal-conditioned --record --frames 100000
for seed in 0 1 2; do
  run iql-$seed experiments/offline.py "$out/log" "$out/random" --algo iql --frames 1500000 --offline.batch-size 256 \
    --seed $seed --eval-every 500000
  for rate in 1e-3 1e-4; do
    run online-$rate-$seed experiments/baselines/scratch.py --algo ppo --no-goal-conditioned --transfer finetune \
      --pretrained "$out/iql-$seed" --ppo.learning-rate $rate --frames 150000 --seed $seed --eval-every 25000
  done
  run scratch-$seed experiments/baselines/scratch.py --algo ppo --no-goal-conditioned --frames 150000 --seed $seed \
    --eval-every 25000
done
