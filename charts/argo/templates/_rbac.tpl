{{- /*
Rights. Declared helpers:
  argo.binding          the binding of a role to a ServiceAccount of the same name; takes (dict "root" . "kind" KIND "name" NAME
                        "component" COMPONENT)
  argo.controllerRules  rights of the controller over workflows and their pods; takes the root
  argo.serverRules      rights of the server itself; takes the root
  argo.peopleRules      rights of people over workflows; takes (tuple ROOT ACCESS), ACCESS `view` or `edit`
  argo.secrets          Secrets that controller and server read, as JSON; takes the root
*/ -}}

{{- define "argo.binding" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .kind }}Binding
metadata:
  name: {{ .name }}
  {{- if eq .kind "Role" }}
  namespace: {{ .root.Release.Namespace }}
  {{- end }}
  labels:
    {{- include "common.labels" (dict "root" .root "component" .component) | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ .kind }}
  name: {{ .name }}
subjects:
  - kind: ServiceAccount
    name: {{ .account | default .name }}
    namespace: {{ .root.Release.Namespace }}
{{- end -}}

{{- /* Each is what release 3.7 asks the API for. */ -}}
{{- define "argo.controllerRules" -}}
- apiGroups: [""]
  resources: [pods]
  verbs: [create, get, list, watch, update, patch, delete]
# How it ends the other containers of a pod.
- apiGroups: [""]
  resources: [pods/exec]
  verbs: [create]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [persistentvolumeclaims, persistentvolumeclaims/finalizers]
  verbs: [create, get, update, delete]
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [get, list]
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [create, get, delete]
- apiGroups: [argoproj.io]
  resources: [workflows, workflows/finalizers, workflowtasksets, workflowtasksets/finalizers, workflowartifactgctasks]
  verbs: [create, get, list, watch, update, patch, delete]
- apiGroups: [argoproj.io]
  resources: [workflowtemplates, workflowtemplates/finalizers{{ if .Values.controller.clusterWide }}, clusterworkflowtemplates, clusterworkflowtemplates/finalizers{{ end }}]
  verbs: [get, list, watch]
- apiGroups: [argoproj.io]
  resources: [cronworkflows, cronworkflows/finalizers]
  verbs: [get, list, watch, update, patch, delete]
- apiGroups: [argoproj.io]
  resources: [workflowtaskresults]
  verbs: [list, watch, deletecollection]
{{- if .Values.controller.clusterWide }}
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get, list, watch]
{{- end }}
{{- end -}}

{{- define "argo.serverRules" -}}
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [get, list, watch]
{{- $sso := .Values.server.auth.sso }}
{{ include "argo.peopleRules" (tuple . (or .Values.server.auth.server (and $sso.enabled (not $sso.rbac)) | ternary "edit" "view")) }}
{{- end -}}

{{- define "argo.peopleRules" -}}
{{- $clusterWide := (index . 0).Values.controller.clusterWide -}}
{{- $verbs := eq (index . 1) "edit" | ternary (list "create" "get" "list" "watch" "update" "patch" "delete") (list "get" "list" "watch") -}}
- apiGroups: [argoproj.io]
  resources: [workflows, workflowtemplates, cronworkflows, workfloweventbindings{{ if $clusterWide }}, clusterworkflowtemplates{{ end }}]
  verbs: [{{ join ", " $verbs }}]
- apiGroups: [""]
  resources: [pods, pods/log, events]
  verbs: [get, list, watch]
{{- end -}}

{{- define "argo.secrets" -}}
{{- $secrets := list -}}
{{- if .Values.archive.enabled }}{{ $secrets = list .Values.archive.userSecret.name .Values.archive.passwordSecret.name }}{{ end -}}
{{- toJson (uniq $secrets) -}}
{{- end -}}
