{{- /*
Pods that are no model's and no user's. Declared helpers:
  common.corePod  what pods of controllers and servers have in common, up to their containers
*/ -}}

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
