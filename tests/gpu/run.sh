#!/bin/sh
# On a machine with a CUDA card and no network, from the repository's root: the kernels' tests,
# then steps next to their floors. Figures go to the folder named as the argument.
set -eu
out=${1:?usage: tests/gpu/run.sh FOLDER}
mkdir -p "$out"
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv | tee "$out/card.csv"
python -c 'import torch, triton; print("torch", torch.__version__, "triton", triton.__version__)'
python -m pytest -q tests/gpu
# Each shape twice: what deterministic products cost is the second figure over the first.
for shape in qwen3-0.6b llama3-8b; do
    python -m orchestrator bench engine --device cuda --shape "$shape" --random-weights \
        --json "$out/$shape.json"
    python -m orchestrator bench engine --device cuda --shape "$shape" --random-weights \
        --deterministic --json "$out/$shape-deterministic.json"
done
