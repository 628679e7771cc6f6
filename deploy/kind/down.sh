#!/bin/sh
# Removes the cluster of up.sh, with all that is in it.
set -eu
command -v kind >/dev/null 2>&1 || { echo "kind is not here: install it, then run this again" >&2; exit 1; }
kind delete cluster --name green-llm
