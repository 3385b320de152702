{{- define "cacherollout.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "cacherollout.fullname" -}}
{{- $name := include "cacherollout.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "cacherollout.selectorLabels" -}}
app.kubernetes.io/name: {{ include "cacherollout.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "cacherollout.labels" -}}
{{ include "cacherollout.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "cacherollout.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (ternary (include "cacherollout.fullname" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{- define "cacherollout.image" -}}
{{- $image := .Values.image }}
{{- if $image.digest }}
{{- printf "%s@%s" $image.repository $image.digest }}
{{- else }}
{{- printf "%s:%s" $image.repository ($image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}

{{/* Namespaces that get a Role, as JSON: those watched, or the release's own. */}}
{{- define "cacherollout.namespaces" -}}
{{- .Values.watchNamespaces | default (list .Release.Namespace) | uniq | toJson }}
{{- end }}

{{- define "cacherollout.leaseName" -}}
{{ include "cacherollout.fullname" . }}-operator
{{- end }}

{{- define "cacherollout.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "cacherollout.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* Everything the operator may do where it serves rollouts; the only list, for Role and ClusterRole. */}}
{{- define "cacherollout.rules" -}}
# The rollouts: the operator adds its finalizer and takes off requests that it has answered.
- apiGroups: [cacherollout.io]
  resources: [cacherollouts]
  verbs: [get, list, watch, patch]
- apiGroups: [cacherollout.io]
  resources: [cacherollouts/status]
  verbs: [update]
# What it creates for a rollout is owned by it, and goes with it.
- apiGroups: [cacherollout.io]
  resources: [cacherollouts/finalizers]
  verbs: [update]
- apiGroups: [cacherollout.io]
  resources: [cachebackends]
  verbs: [get, list, watch]
# The target is patched: its hold, its cache version, its template on a roll-back. The canary is
# created and deleted.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [get, list]
# Pod templates to return to.
- apiGroups: [apps]
  resources: [controllerrevisions]
  verbs: [get, list, create, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
# The readiness gate of canary pods is a condition of their status.
- apiGroups: [""]
  resources: [pods/status]
  verbs: [patch]
# Whether the namespace is being deleted; inside a Role this means its own namespace alone.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
{{- with .Values.backendSecrets }}
# Credentials of caches, by name; never listed.
- apiGroups: [""]
  resources: [secrets]
  resourceNames: {{ toJson . }}
  verbs: [get]
{{- end }}
{{- end }}
