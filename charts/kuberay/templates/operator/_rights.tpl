{{- /*
Rights of the operator. Declared helpers; each takes the root:
  kuberay.scope        Role or ClusterRole
  kuberay.namespaces   namespaces that it looks after, as a JSON list; empty for all
  kuberay.rules        what release 1.6 asks the API for, and what it hands on: it may give no right that it does not have
  kuberay.incremental  "true" when a service is upgraded by the incremental way
*/ -}}

{{- define "kuberay.scope" -}}
{{- .Values.operator.clusterWide | ternary "ClusterRole" "Role" -}}
{{- end -}}

{{- define "kuberay.namespaces" -}}
{{- $names := concat (list .Release.Namespace) (.Values.operator.clusterWide | ternary list (include "kuberay.ownNamespaces" . | fromJsonArray)) -}}
{{- range $name := keys .Values.operator.watchNamespaces | sortAlpha -}}
{{- if get $.Values.operator.watchNamespaces $name }}{{ $names = append $names $name }}{{ end -}}
{{- end -}}
{{- if .Values.operator.clusterWide -}}
{{- if gt (len (uniq $names)) 1 -}}
{{- fail "operator.watchNamespaces: with clusterWide it looks after all namespaces: leave one of them out" -}}
{{- end -}}
[]
{{- else -}}
{{- uniq $names | toJson -}}
{{- end -}}
{{- end -}}

{{- define "kuberay.incremental" -}}
{{- range include "kuberay.services" . | fromJsonArray -}}
{{- if eq .service.upgrade.type "NewClusterWithIncrementalUpgrade" }}true{{ end -}}
{{- end -}}
{{- end -}}

{{- define "kuberay.rules" -}}
- apiGroups: [ray.io]
  resources: [rayclusters, rayjobs, rayservices]
  verbs: [get, list, watch, create, update, patch, delete]
- apiGroups: [ray.io]
  resources: [rayclusters/status, rayjobs/status, rayservices/status]
  verbs: [get, update, patch]
- apiGroups: [ray.io]
  resources: [rayclusters/finalizers, rayjobs/finalizers, rayservices/finalizers]
  verbs: [update]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, create, update, patch, delete, deletecollection]
- apiGroups: [""]
  resources: [pods/resize]
  verbs: [patch]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, update, patch, delete]
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [get, list, watch, create, delete]
# It makes the token of each cluster.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create]
- apiGroups: ["", events.k8s.io]
  resources: [events]
  verbs: [create, patch]
# It lets a cluster's autoscaler look after its pods.
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [get, list, watch, create, update, delete]
# Submitters of RayJobs, and cleaning up of Redis.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, update, patch, delete]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [get, list, watch]
{{- if include "kuberay.incremental" . }}
- apiGroups: [gateway.networking.k8s.io]
  resources: [gateways, httproutes]
  verbs: [get, list, watch, create, update]
{{- end }}
{{- end -}}
