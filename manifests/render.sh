#!/usr/bin/env bash
# Renders the plain manifests from the chart: install.yaml serves a whole cluster out of a namespace
# of its own; base/ serves the one namespace that an overlay names.
set -euo pipefail
cd "$(dirname "$0")"
chart=../charts/cacherollout
helm=${HELM:-helm}
header='# Generated from charts/cacherollout by `make manifests`; do not edit.'

# Without Helm nobody is the manager of a release, and nothing keeps definitions on uninstall.
render() {
  "$helm" template cacherollout "$chart" --skip-tests "$@" |
    sed -e '/managed-by: Helm$/d' -e '/helm\.sh\//d' -e '/^ *annotations:$/{N;/\n *helm\.sh/d}' \
        -e '/^# Source: /d' -e '/^# Generated from /d'
}

{
  echo "$header"
  cat <<'YAML'
apiVersion: v1
kind: Namespace
metadata:
  name: cacherollout-system
  labels:
    pod-security.kubernetes.io/enforce: restricted
YAML
  render --namespace cacherollout-system --set clusterWide=true
} > install.yaml
{
  echo "$header"
  render --namespace cacherollout --show-only templates/crds.yaml
} > base/crds.yaml
{
  echo "$header"
  render --namespace cacherollout --set crds.install=false
} > base/operator.yaml
