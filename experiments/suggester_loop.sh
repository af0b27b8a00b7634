#!/bin/sh
# The loop, closed (docs/suggester_training.md): a suggester that knows little, the log of an agent that plays for its goals,
# PPO of the suggester on what was achieved, the log of an agent that plays for the better goals, PPO again. Then agents are
# compared. Continues where it was stopped.
# Usage: sh experiments/suggester_loop.sh FOLDER [OPTIONS...], from the root of the repository. OPTIONS are those of reward
# model and PPO, such as: --cost .02, or --judge advice --cost 1. ROUNDS: how many, 2 unless told.
set -eu
if [ $# -lt 1 ]; then
  echo "usage: sh experiments/suggester_loop.sh FOLDER [OPTIONS...]" >&2
  exit 2
fi
out=$1
shift
options=$*
rounds=$(seq "${ROUNDS:-2}")
lm() { # LAST_FILE OUT COMMAND...: a training, whose last file is written when it has ended
  last=$1 folder=$2
  shift 2
  [ -e "$folder/$last" ] || python experiments/train_suggester.py "$@" --out "$folder"
}
# A tenth of the bundled model's corpus: some goals are forgotten, and some named where they are impossible.
lm model.safetensors "$out/suggester-0" sft --scenes 6000 --passes 2 --threads 1
for round in $rounds; do
  old=$out/suggester-$((round - 1))
  log=$out/log-$round
  if [ ! -e "$log" ]; then
    python experiments/run_crafter.py --algo ppo --goal-mode open --llm-folder "$old" --seed 100 --frames 180000 \
      --log-suggestions --no-report --replays 0 --out "$log"
  elif [ ! -e "$log/summary.json" ]; then
    python experiments/run_crafter.py --resume "$log"
  fi
  # No pretraining mix: the corpus knows what is possible, and the suggester is to learn that from the agent alone.
  lm figures.json "$out/reward-$round" reward-model --model "$old" --logs "$log" --skip-frames 20000 \
    $options
  lm model.safetensors "$out/suggester-$round" ppo --model "$old" --logs "$log" --skip-frames 20000 --mix 0 \
    --reward-model "$out/reward-$round" $options
done
for round in 0 $rounds; do
  python experiments/train_suggester.py measure --model "$out/suggester-$round" --threads 1 --out "$out/measured-$round.json"
  python experiments/compare.py --results "$out" --name agents --methods open --label round$round --algos ppo \
    -- --llm-folder "$out/suggester-$round"
done
