#!/bin/sh
# From the trainings of preset `physical` to a model with directions, calibration and every number of its card.
#
#   scripts/finish_physical.sh GENERATOR ENCODER SELF_SUPERVISED TRAIN HELD_OUT SINGLE FRAMES OUT
#
# GENERATOR, ENCODER and SELF_SUPERVISED are run folders; the last is an encoder that was taught no parameter and that the
# generator was never shown. TRAIN and HELD_OUT are archives (20 frames a region), SINGLE one of one frame for each of
# many held-out regions, FRAMES a folder of observed SHARP files. OUT is a new folder, or one of an earlier call: each step
# is one command, and what is there already is not made again. HARPS are those that the trainings left out.
set -eu
generator=$1 encoder=$2 blind=$3 train=$4 held_out=$5 single=$6 frames=$7 out=$8
solquery=${SOLQUERY:-solquery} latents=${LATENTS:-10000} harps=${HARPS:-377,750,2491} quick=${QUICK:-}
mkdir -p "$out"

# latents of the archive become standard normal, as draws are
[ -e "$out/white.json" ] || { rm -rf "$out/white"; $solquery train whiten "$generator" --run "$out/white" --archive "$train" \
    --leave-out-harps "$harps" --json > "$out/white.part"; mv "$out/white.part" "$out/white.json"; }
generator=$out/white
[ -e "$out/build.json" ] || { $solquery model build --preset physical --name physical --generator "$generator" \
    --encoder "$encoder" --no-directions --out "$out/grid" --json > "$out/build.part"; mv "$out/build.part" "$out/build.json"; }
# the same generator with the encoder that was taught nothing: the headline numbers beside the paper, and the judge
[ -e "$out/blind.json" ] || { $solquery model build --preset physical --name physical-ssl --generator "$generator" \
    --encoder "$blind" --no-directions --out "$out/blind" --json > "$out/blind.part"; mv "$out/blind.part" "$out/blind.json"; }
# draws are accepted as often as the archive of the training holds patches like them, and directions are fitted to those
[ -e "$out/sampler.json" ] || { $solquery model sampler "$out/grid" --archive "$train" --where "source = 'simulated'" \
    -n "${DRAWS:-20000}" --json > "$out/sampler.part"; mv "$out/sampler.part" "$out/sampler.json"; }
# regression beside the machines, areas under the curves
[ -e "$out/directions.json" ] || { $solquery directions fit "$out/grid" -n "$latents" --out "$out/fitted" --json \
    > "$out/directions.part"; mv "$out/directions.part" "$out/directions.json"; }
# observed frames set the width of the bands and are counted by region
[ -e "$out/observed/.done" ] || { rm -rf "$out/observed"; $solquery ingest "$frames" --archive "$out/observed"; touch "$out/observed/.done"; }
[ -e "$out/native.json" ] || { $solquery model native "$out/fitted" --archive "$held_out" --archive "$out/observed" \
    --out "$out/model" --json > "$out/native.part"; mv "$out/native.part" "$out/native.json"; }

[ -e "$out/quality/quality.json" ] || $solquery quality "$out/model" --archive "$single" --train "$train" --out "$out/quality"
[ -e "$out/quality-blind/quality.json" ] || $solquery quality "$out/model" --archive "$single" --encoder "$out/blind" \
    --critic-steps 0 --out "$out/quality-blind"
[ -e "$out/entanglement.json" ] || { $solquery entanglement "$out/model" -n 24 --json > "$out/entanglement.part"
    mv "$out/entanglement.part" "$out/entanglement.json"; }
[ -e "$out/inversion/inversion.json" ] || $solquery study inversion "$frames" --model "$out/model" --archive "$single" -n 12 \
    --out "$out/inversion"
[ -e "$out/retrieval/retrieval.json" ] || $solquery study retrieval --model "$out/model" --archive "$held_out" \
    --real "$frames" --out "$out/retrieval"
# shellcheck disable=SC2086  # QUICK is one option or none
[ -e "$out/reproduce/results.json" ] || $solquery reproduce --archive "$held_out" --model "$out/model" --out "$out/reproduce" $quick
echo "model:  $out/model (src/solquery/models/physical, then scripts/model_card.py); left out of the trainings: HARPs $harps"
echo "report: $out/reproduce/report.html; README: scripts/readme_table.py --default $out/reproduce/results.json"
