{{- /*
Pods of controllers and servers. Declared helpers:
  common.corePod              what they have in common, up to their containers
  common.podDisruptionBudget  a budget that keeps all pods but one, where there are several
*/ -}}

{{- /*
Usage: include "common.podDisruptionBudget" (dict "root" . "name" NAME "component" COMPONENT "replicas" N ["namespace" NAMESPACE]
         ["labels" LABELS])
LABELS are YAML; they are those of the component when absent.
*/ -}}
{{- define "common.podDisruptionBudget" -}}
{{- include "common.checkCall" (tuple "common.podDisruptionBudget" . (list "root" "name" "component" "replicas")) -}}
{{- $component := dict "root" .root "component" .component -}}
{{- if gt (int .replicas) 1 -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ .name }}
  namespace: {{ .namespace | default .root.Release.Namespace }}
  labels:
    {{- .labels | default (include "common.labels" $component) | nindent 4 }}
spec:
  maxUnavailable: 1
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "common.selectorLabels" $component | nindent 6 }}
{{- end -}}
{{- end -}}

{{- /*
Usage: include "common.corePod" (dict "root" . "scheduling" SCHEDULING ["zone" ZONE])
SCHEDULING is a map of values: priorityClassName, nodeSelector and tolerations by name. An empty ZONE takes any.
*/ -}}
{{- define "common.corePod" -}}
{{- include "common.checkCall" (tuple "common.corePod" . (list "root" "scheduling")) -}}
{{- $nodeSelector := deepCopy .scheduling.nodeSelector -}}
{{- with .zone }}{{ $_ := set $nodeSelector "topology.kubernetes.io/zone" . }}{{ end -}}
enableServiceLinks: false
{{- with include "common.imagePullSecrets" .root }}
{{ . }}
{{- end }}
{{- with .scheduling.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "common.entryList" .scheduling.tolerations | fromJsonArray }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
