#!/bin/sh
# Tells Spark which GPUs this machine or container owns, in the form that it asks for:
#
#     {"name": "gpu", "addresses": ["0", "1"]}
#
# Put it at the same absolute path on every machine that owns GPUs (or into the image), run
# `chmod 755` on it, and name it in spark.gpu.discovery_script. A standalone worker runs it
# at start; on YARN and Kubernetes every executor does. Costs one or two calls of nvidia-smi.
#
# - CUDA_VISIBLE_DEVICES is set (Slurm, an administrator): its entries, since CUDA sees no
#   others; an empty one means no GPU.
# - MIG slices exist: their UUIDs, the only names by which CUDA takes one.
# - Otherwise: nvidia-smi's indices, which are CUDA's too under CUDA_DEVICE_ORDER=PCI_BUS_ID.
#   A card in MIG mode beside whole ones: only the slices are offered.
# - No GPU, no driver: an empty list, which fails a worker that promised some.
set -eu

if [ -n "${CUDA_VISIBLE_DEVICES+set}" ]; then
  found=$(printf '%s' "$CUDA_VISIBLE_DEVICES" | tr -d ' ' | tr ',' '\n' |
    grep -E '^([0-9]+|GPU-.+|MIG-.+)$' || true)
elif command -v nvidia-smi >/dev/null 2>&1; then
  # "  MIG 1g.10gb  Device 0: (UUID: MIG-5c1e...)"
  found=$(nvidia-smi -L | sed -n 's/.*(UUID: \(MIG-[^)]*\)).*/\1/p')
  if [ -z "$found" ]; then
    found=$(nvidia-smi --query-gpu=index --format=csv,noheader | grep -E '^[0-9]+$' || true)
  fi
else
  found=
fi

# One address a line to a JSON list of strings.
printf '%s\n' "$found" | awk '
  BEGIN { printf "{\"name\": \"gpu\", \"addresses\": [" }
  NF { printf "%s\"%s\"", (count++ ? ", " : ""), $1 }
  END { print "]}" }'
