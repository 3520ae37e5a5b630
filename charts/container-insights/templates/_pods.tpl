{{- /*
What the pods have in common. Declared helpers:
  container-insights.daemonPod  fields of a DaemonSet's pod; takes (dict "root" . "component" NAME "account" BOOL)
  container-insights.affinity   nodes of a kind of accelerator; takes (dict "root" . "plugin" LABEL "label" LABEL "value" VALUE)
  container-insights.hostPaths  volumes by name, as host paths; takes a map of name to path
  container-insights.mounts     the same, mounted read-only; takes a map of name to (list PATH)
  container-insights.role       ClusterRole and its binding; takes (dict "root" . "component" NAME "namespace" NS "rules" RULES)
*/ -}}

{{- define "container-insights.daemonPod" -}}
{{- with include "common.imagePullSecrets" .root }}{{ . }}
{{ end -}}
{{- if .account }}
serviceAccountName: {{ include "common.componentName" (tuple .root .component) }}
{{- else }}
automountServiceAccountToken: false
{{- end }}
priorityClassName: system-node-critical
enableServiceLinks: false
# A node is to be seen from its first minute, whatever taints it has.
tolerations:
  - operator: Exists
{{- end -}}

{{- define "container-insights.affinity" -}}
nodeAffinity:
  requiredDuringSchedulingIgnoredDuringExecution:
    nodeSelectorTerms:
      - matchExpressions:
          - key: {{ .plugin }}
            operator: Exists
      - matchExpressions:
          - key: {{ include "common.nodeLabel" (tuple .root .label) }}
            operator: In
            values: [{{ .value }}]
{{- end -}}

{{- define "container-insights.role" -}}
{{- $name := include "common.componentName" (tuple .root .component) -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: {{ $name }}
  labels:
    {{- include "common.labels" (dict "root" .root "component" .component) | nindent 4 }}
rules:
  {{- toYaml .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ $name }}
  labels:
    {{- include "common.labels" (dict "root" .root "component" .component) | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ $name }}
subjects:
  - kind: ServiceAccount
    name: {{ $name }}
    namespace: {{ .namespace }}
{{- end -}}
