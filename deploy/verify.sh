#!/usr/bin/env bash
# Ten minutes on a real cluster: tries every allowed and many denied edges, a first token through the entry, and a rollout
# under load. Changes nothing but two test pods, which it removes, and one rollout of the router.
#
# Usage: deploy/verify.sh [NAMESPACE]        needs kubectl, curl and a key in HEADRACE_API_KEY
#   HEADRACE_URL     where the entry is; else https://<host of the Ingress or HTTPRoute>
#   HEADRACE_MODEL   a model to ask; else the first that the key may use
#   CURL_OPTIONS     such as "--insecure" or "--resolve llm.example.com:443:192.0.2.240"
set -euo pipefail
namespace=${1:-llm}
passed=0
failed=0
probe=headrace-verify

say() { printf '%-6s %s\n' "$1" "$2"; }
ok() { passed=$((passed + 1)); say ok "$1"; }
bad() { failed=$((failed + 1)); say FAIL "$1"; }
kube() { kubectl --namespace "$namespace" "$@"; }

need() {
    command -v "$1" >/dev/null || { echo "verify: $1 is needed" >&2; exit 2; }
}

clean() {
    kubectl --namespace default delete pod "$probe" --ignore-not-found --wait=false >/dev/null 2>&1 || true
    kube delete pod "$probe" --ignore-not-found --wait=false >/dev/null 2>&1 || true
}

# One TCP connection from inside a pod; a policy that denies makes it run into its time limit.
connects() { # kubectl-arguments... -- host port
    local where=()
    while [ "$1" != -- ]; do where+=("$1"); shift; done
    kubectl exec "${where[@]}" -- /usr/bin/env python3 -c '
import socket, sys
socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5).close()' "$2" "$3" >/dev/null 2>&1
}

edge() { # allowed|denied from-description to port kubectl-arguments...
    local wanted=$1 from=$2 host=$3 port=$4 got=denied
    shift 4
    if connects "$@" -- "$host" "$port"; then got=allowed; fi
    if [ "$got" = "$wanted" ]; then ok "$from -> $host:$port $wanted"; else bad "$from -> $host:$port is $got, should be $wanted"; fi
}

workers() { kube get service -o name | sed -n 's#^service/\([a-z]*-worker-service\)$#\1#p'; }

port_of() { # service name-of-port
    kube get service "$1" -o jsonpath="{.spec.ports[?(@.name=='$2')].port}"
}

check_pods() {
    if kube wait pod --all --for=condition=Ready --timeout=120s >/dev/null; then ok "all pods are ready"; else bad "some pods are not ready: kubectl -n $namespace get pods"; fi
}

check_edges_from_inside() {
    edge allowed llm-api router-service 8001 -n "$namespace" deploy/llm-api
    edge denied llm-api router-service 9101 -n "$namespace" deploy/llm-api
    edge denied router llm-api-service 8000 -n "$namespace" deploy/router
    edge denied router llm-web-service 8080 -n "$namespace" deploy/router
    local worker
    for worker in $(workers); do
        edge allowed router "$worker" "$(port_of "$worker" http)" -n "$namespace" deploy/router
        edge allowed router "$worker" "$(port_of "$worker" ops)" -n "$namespace" deploy/router
        edge denied llm-api "$worker" "$(port_of "$worker" http)" -n "$namespace" deploy/llm-api
    done
    edge denied llm-api kubernetes.default.svc 443 -n "$namespace" deploy/llm-api
}

start_probe() { # namespace
    local image
    image=$(kube get deploy llm-api -o jsonpath='{.spec.template.spec.containers[0].image}')
    kubectl --namespace "$1" apply -f - >/dev/null <<POD
apiVersion: v1
kind: Pod
metadata: { name: $probe }
spec:
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 0
  imagePullSecrets: $(kube get deploy llm-api -o jsonpath='{.spec.template.spec.imagePullSecrets}' | grep . || echo '[]')
  securityContext: { runAsNonRoot: true, runAsUser: 10001, seccompProfile: { type: RuntimeDefault } }
  containers:
    - name: probe
      image: $image
      command: [sleep, "900"]
      securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: [ALL] }, readOnlyRootFilesystem: true }
POD
    kubectl --namespace "$1" wait pod "$probe" --for=condition=Ready --timeout=120s >/dev/null
}

check_edges_of_strangers() {
    local space worker
    for space in default "$namespace"; do
        if ! start_probe "$space"; then bad "no test pod could be started in $space"; continue; fi
        for worker in $(workers); do
            edge denied "stranger in $space" "$worker.$namespace.svc" "$(port_of "$worker" http)" -n "$space" "$probe"
        done
        edge denied "stranger in $space" "llm-api-service.$namespace.svc" 8000 -n "$space" "$probe"
        edge denied "stranger in $space" "router-service.$namespace.svc" 8001 -n "$space" "$probe"
    done
}

entry() {
    if [ -n "${HEADRACE_URL:-}" ]; then echo "${HEADRACE_URL%/}"; return; fi
    local host
    host=$(kube get ingress llm -o jsonpath='{.spec.rules[0].host}' 2>/dev/null ||
        kube get httproute llm -o jsonpath='{.spec.hostnames[0]}')
    echo "https://$host"
}

ask() { # path curl-arguments...
    local path=$1
    shift
    # shellcheck disable=SC2086  # CURL_OPTIONS is a list
    curl --silent --show-error --fail --max-time 300 ${CURL_OPTIONS:-} \
        --header "Authorization: Bearer $HEADRACE_API_KEY" --header 'Content-Type: application/json' "$url$path" "$@"
}

chat() { # words
    ask /v1/chat/completions --no-buffer --data \
        "{\"model\":\"$model\",\"stream\":true,\"max_tokens\":$1,\"messages\":[{\"role\":\"user\",\"content\":\"Count.\"}]}"
}

check_first_token() {
    if chat 16 | grep -q '^data: \[DONE\]'; then ok "a streamed answer of $model through $url"; else bad "no streamed answer of $model through $url"; fi
}

check_admin_is_closed() {
    local status
    # shellcheck disable=SC2086  # CURL_OPTIONS is a list
    status=$(curl --silent --output /dev/null --write-out '%{http_code}' --max-time 30 ${CURL_OPTIONS:-} \
        --header "Authorization: Bearer $HEADRACE_API_KEY" "$url/admin/v1/keys")
    if [ "$status" = 200 ]; then bad "/admin answers on the public host"; else ok "/admin is not on the public host ($status)"; fi
}

# Streams go on while the routers are replaced: none may fail.
check_rollout_under_load() {
    local folder lost=0 number
    folder=$(mktemp -d)
    for number in 1 2 3 4 5 6 7 8; do
        (for _ in 1 2 3 4 5 6; do chat 128 | grep -q '^data: \[DONE\]' || echo lost >>"$folder/$number"; done) &
    done
    kube rollout restart deploy/router >/dev/null
    kube rollout status deploy/router --timeout=420s >/dev/null || bad "the rollout of the router did not end"
    wait
    lost=$(cat "$folder"/* 2>/dev/null | wc -l)
    rm -rf "$folder"
    if [ "$lost" -eq 0 ]; then ok "48 streams during a rollout of the router, none lost"; else bad "$lost of 48 streams lost during a rollout"; fi
}

need kubectl
need curl
: "${HEADRACE_API_KEY:?verify: a key is needed in HEADRACE_API_KEY (kubectl exec deploy/llm-api -- headrace keys create verify --tenant default)}"
trap clean EXIT
url=$(entry)
model=${HEADRACE_MODEL:-$(ask /v1/models | grep -o '"id":"[^"]*"' | head -n 1 | cut -d'"' -f4)}
check_pods
check_edges_from_inside
check_edges_of_strangers
check_first_token
check_admin_is_closed
check_rollout_under_load
echo
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
