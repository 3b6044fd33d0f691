#!/bin/sh
# From the two trainings of preset `paper` to a model, its tables, its report, and the README's table.
#
#   scripts/finish_paper.sh RUNS HELD_OUT OUT [DEFAULT_RESULTS]
#
# RUNS holds the run folders paper-gan and paper-simsiam; HELD_OUT is an archive of regions that neither has seen; OUT is
# a new folder, or one of an earlier call: every step is done again at little cost, and the stages of the reproduction
# that are done are skipped. DEFAULT_RESULTS is the results.json of a reproduction with the default model on the same
# archive, for the README's third column. CHOICE may be paper-held-out; SOLQUERY, LATENTS, QUICK ("--quick"), PRESET and README may be set for a try.
set -eu
runs=$1 held_out=$2 out=$3 default=${4:-}
solquery=${SOLQUERY:-solquery} latents=${LATENTS:-10000} quick=${QUICK:-} readme=${README:-README.md}
preset=${PRESET:-paper}
here=$(dirname "$0")
mkdir -p "$out"

# the epoch by the paper's rule on patches of the training; what held-out patches say is kept beside it
if $solquery train choose "$runs/paper-gan" --by paper-held-out --json > "$out/choice-held-out.json"; then :; else
    echo "the training was given no --held-out patches; only the choice by patches of the training is made" >&2
fi
$solquery train choose "$runs/paper-gan" --by "${CHOICE:-paper}" --json > "$out/choice.json"

# generator, encoder and linear support vector machines: latents drawn, measured, labelled by the median (section 4)
$solquery model build --preset "$preset" --name paper --generator "$runs/paper-gan" --encoder "$runs/paper-simsiam" \
    -n "$latents" --eight-bits --out "$out/model" --json > "$out/build.json"
# regression beside the machines, areas under the curves, how far a step stays within the prior: into the same model
$solquery directions fit "$out/model" -n "$latents" --out "$out/model" --json > "$out/directions.json"
$solquery entanglement "$out/model" -n 24 --json > "$out/entanglement.json"

# every figure and number of the paper, from this model alone: no grouping, no reranking, no prior
# shellcheck disable=SC2086  # QUICK is one option or none
$solquery reproduce --archive "$held_out" --model "$out/model" --run "$runs/paper-gan" --run "$runs/paper-simsiam" \
    --out "$out/reproduce" $quick
for param in tuf polarity; do
    if ! $solquery study plane --model "$out/model" --param "$param" --axes 1,2 --out "$out/figures"; then
        echo "the plane of $param is not drawn" >&2
    fi
done

if [ -n "$default" ]; then
    python3 "$here/readme_table.py" --paper "$out/reproduce/results.json" --default "$default" --readme "$readme"
else
    python3 "$here/readme_table.py" --paper "$out/reproduce/results.json" --readme "$readme"
fi
# how real, beside held-out patches of which 100 at least are needed
$solquery quality "$out/model" --archive "$held_out" --out "$out/quality"
echo "model:  $out/model (src/solquery/models/paper, then scripts/model_card.py)"
echo "report: $out/reproduce/report.html (docs/reproduce/paper.html, results.json beside it as paper.json)"
echo "runs:   config.json, stats.jsonl, choice.json and samples/ of both runs (docs/runs/paper-*)"
