#!/bin/sh
# Simulate, prepare and train on a bare GPU machine within so many minutes, and leave few small files to take home.
#
#   scripts/train_on_gpu.sh OUT [MINUTES]
#
# From the root of the repository; MINUTES (9 without it) are all that this command takes. OUT gets NAME.tar for each run
# of the plan, and log.txt; `python scripts/pack_runs.py unpack OUT/NAME.tar RUNS` restores a run folder. The machine needs
# Python 3.11 with numpy, scipy, numba, torch and safetensors. What may be set: OBSERVED, the .npz of observed frames that
# `scripts/prepare_training.py --from-fits` wrote; PLAN; REGIONS, FRAMES and HELD_OUT_REGIONS; PRESETS; PYTHON; DEVICE;
# WORK, a folder for some gigabytes, which is kept, and from which the same command goes on.
set -eu
began=$(date +%s)
out=$1 minutes=${2:-9}
cd "$(dirname "$0")/.."
python=${PYTHON:-python3} plan=${PLAN:-scripts/plans/gpu.toml} presets=${PRESETS:-paper physical} device=${DEVICE:-auto}
regions=${REGIONS:-1060} frames=${FRAMES:-20} held_out=${HELD_OUT_REGIONS:-600} observed=${OBSERVED:-}
work=${WORK:-$(mktemp -d)}
export PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
mkdir -p "$out" "$work"
: > "$out/log.txt"

train() {
    # shellcheck disable=SC2086  # PRESETS are several words, and OBSERVED is two or none
    [ -e "$work/training/patches.json" ] || "$python" scripts/prepare_training.py --regions "$regions" \
        --frames "$frames" --seed 2026 --presets $presets ${observed:+--observed "$observed"} --out "$work/training"
    # shellcheck disable=SC2086
    [ -e "$work/held-out/patches.json" ] || "$python" scripts/prepare_training.py --regions "$held_out" \
        --frames "$frames" --keep 1 --seed 12 --presets $presets --out "$work/held-out"
    # what is left, without the time that saving and packing take
    left=$((60 * minutes - $(date +%s) + began - ${RESERVE:-45}))
    echo "$left s are left to train"
    "$python" scripts/train_prepared.py "$plan" --data "$work/training" --held-out "$work/held-out" \
        --runs "$work/runs" --out "$out" --device "$device" --minutes "$((left / 60)).$((left % 60 * 100 / 60 / 10))"
}

status=0
train > "$out/log.txt" 2>&1 & running=$!
# the log is shown as it grows
tail -n +1 -f "$out/log.txt" & shown=$!
wait "$running" || status=$?
sleep 1
kill "$shown"
exit "$status"
