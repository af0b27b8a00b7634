#!/bin/sh
# The results of docs/suggester_training.md: reward model, PPO with and without the pretraining mix, ILQL and what it is
# compared with, from the logs of one run. Continues where it was stopped.
# Usage: experiments/learned_suggesters.sh RUN_WITH_LOGS FOLDER
set -e
train() { # NAME METHOD OPTIONS...
  name=$1 method=$2
  shift 2
  [ -e "$out/$name/README.md" ] && [ -e "$out/$name/model.safetensors" ] && return
  python experiments/train_suggester.py "$method" --logs "$logs" --skip-frames 20000 --out "$out/$name" "$@"
}
logs=$1 out=$2
[ -e "$out/reward/reward_model.pt" ] || train reward reward-model
for seed in 0 1 2 3 4; do
  train ppo-$seed ppo --reward-model "$out/reward" --seed $seed
  [ $seed = 0 ] && train ppo-no-mix-0 ppo --reward-model "$out/reward" --mix 0
  [ $seed -gt 2 ] && continue
  train ilql-$seed ilql --seed $seed
  train bc-$seed ilql --method bc --steps 100 --seed $seed
  train filtered-bc-$seed ilql --method filtered-bc --steps 100 --seed $seed
done
train sarsa-0 ilql --method sarsa
python experiments/train_suggester.py summary --folders "$out"/*
