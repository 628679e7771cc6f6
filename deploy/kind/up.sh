#!/bin/sh
# A cluster on this machine in which Green-LLM steers the traffic of three sites. Run it again to bring changes in.
set -eu
here="$(cd "$(dirname "$0")" && pwd)"
root="$(cd "$here/../.." && pwd)"
# shellcheck source-path=SCRIPTDIR source=versions.env
. "$here/versions.env"
cluster=green-llm
image=green-llm:kind
# Never the cluster of the current context.
kubectl() { command kubectl --context "kind-$cluster" "$@"; }
helm() { command helm --kube-context "kind-$cluster" "$@"; }
say() { printf '\n== %s\n' "$*"; }

for tool in docker kind kubectl helm python3; do
    command -v "$tool" >/dev/null 2>&1 || { echo "$tool is not here: install it, then run this again" >&2; exit 1; }
done
kind version | grep -q "kind $KIND_VERSION " ||
    echo "note: this is made for kind $KIND_VERSION; the node image may not start with $(kind version)" >&2

say "the cluster"
kind get clusters 2>/dev/null | grep -qx "$cluster" ||
    kind create cluster --config "$here/cluster.yaml" --image "$NODE_IMAGE" --wait 180s

say "the image, which serves as operator, as site and as load"
docker build -q -f "$root/controller/Dockerfile" -t "$image" "$root"
kind load docker-image "$image" --name "$cluster"

say "Gateway API and Envoy Gateway"
helm upgrade --install eg oci://docker.io/envoyproxy/gateway-helm --version "$ENVOY_GATEWAY_VERSION" \
    -n envoy-gateway-system --create-namespace --wait --timeout 5m

say "Green-LLM, which may write weights"
helm upgrade --install green-llm "$root/charts/green-llm" -n green-llm-system --create-namespace \
    -f "$here/values.yaml" --wait --timeout 5m

say "sites, gateway, load; Prometheus and Grafana"
kubectl apply --server-side -f "$root/examples/three-sites/namespace.yaml"
file_map() { # NAMESPACE NAME FILE…: a ConfigMap of files as they stand in the repository
    namespace="$1" name="$2"
    shift 2
    for file in "$@"; do set -- "$@" "--from-file=$file"; shift; done
    kubectl create configmap "$name" -n "$namespace" "$@" --dry-run=client -o yaml | kubectl apply --server-side -f -
}
file_map inference site "$here/site/server.py"
file_map inference load "$here/site/load.py" "$here/resources/demand.yaml"
file_map green-llm-system rules "$root/charts/green-llm/rules/green-llm.yaml"
# By force: a second run finds the operator as the owner of the routes' rules, and it sets its weights again at once.
kubectl apply --server-side --force-conflicts -f "$here/manifests"

say "signals: the recorded week, moved to this one"
python3 "$here/recordings.py" "$root/examples/three-sites/signals" | kubectl apply --server-side -f -

say "what to steer, and by what"
kubectl apply --server-side -f "$root/examples/three-sites/sites.yaml" -f "$here/resources"
# What these pods are given may have changed without their manifests.
for where in inference green-llm-system; do
    kubectl -n "$where" rollout restart deployment -l green-llm.dev/quick-start=restart
    kubectl -n "$where" wait --for=condition=Available deployment --all --timeout=300s
done
kubectl wait --for=condition=Ready greenpolicy/default --timeout=120s

cat <<'END'

Green-LLM steers.

  Grafana      http://127.0.0.1:3000/d/green-llm-overview   (no login; weights move within a few minutes)
  Prometheus   http://127.0.0.1:9090/alerts
  resources    kubectl --context kind-green-llm get greenpol,idem,isite,sigsrc -A
  weights      kubectl --context kind-green-llm -n inference get httproute -o yaml | grep -B3 weight
  a site dies  kubectl --context kind-green-llm -n inference scale deployment llm-oregon --replicas=0
  the end      just kind-down
END
