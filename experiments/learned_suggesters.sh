#!/bin/sh
# Results of docs/suggester_training.md: reward model, PPO with and without the pretraining mix, ILQL and what it is compared
# with, from the logs of one run. Usage: experiments/learned_suggesters.sh RUN_WITH_LOGS NEW_FOLDER
set -e
logs="--logs $1 --skip-frames 20000"
train="python experiments/train_suggester.py"
$train reward-model $logs --out $2/reward
for seed in 0 1 2 3 4; do
  $train ppo $logs --reward-model $2/reward --seed $seed --iterations 40 --out $2/ppo-$seed
done
$train ppo $logs --reward-model $2/reward --mix 0 --iterations 40 --out $2/ppo-no-mix-0
for seed in 0 1 2; do
  $train ilql $logs --seed $seed --out $2/ilql-$seed
  $train ilql $logs --seed $seed --method bc --steps 100 --out $2/bc-$seed
  $train ilql $logs --seed $seed --method filtered-bc --steps 100 --out $2/filtered-bc-$seed
done
$train ilql $logs --method sarsa --out $2/sarsa-0
$train summary --folders $2/*
