{{- /*
Names and what all parts need. Each takes the root, if nothing else is said.
  container-insights.namespace      namespace of the DaemonSets
  container-insights.componentName  objects of a component; takes (tuple ROOT COMPONENT)
  container-insights.clusterName    global.clusterName, which is needed
  container-insights.region         global.region, which is needed
  container-insights.logGroup       log group of Container Insights; takes (tuple ROOT NAME)
  container-insights.serviceAccount ServiceAccount of a component; takes (dict "root" . "component" NAME "namespace" NAMESPACE)
  container-insights.entries        entries of a map that are neither null nor false, as JSON; takes (tuple MAP)
*/ -}}

{{- define "container-insights.namespace" -}}
{{- .Values.namespace | default .Release.Namespace -}}
{{- end -}}

{{- define "container-insights.componentName" -}}
{{- include "common.componentName" . -}}
{{- end -}}

{{- define "container-insights.clusterName" -}}
{{- include "common.global" (tuple . "clusterName") | required "container-insights: set global.clusterName, which metrics and log groups are named after" -}}
{{- end -}}

{{- define "container-insights.region" -}}
{{- include "common.global" (tuple . "region") | required "container-insights: set global.region, the AWS Region that metrics and logs go to" -}}
{{- end -}}

{{- define "container-insights.logGroup" -}}
{{- printf "/aws/containerinsights/%s/%s" (include "container-insights.clusterName" (index . 0)) (index . 1) -}}
{{- end -}}

{{- define "container-insights.serviceAccount" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "container-insights.componentName" (tuple .root .component) }}
  namespace: {{ .namespace }}
  labels:
    {{- include "common.labels" (dict "root" .root "component" .component) | nindent 4 }}
  {{- with .root.Values.serviceAccounts.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{- define "container-insights.entries" -}}
{{- $entries := dict -}}
{{- range $name, $entry := index . 0 -}}
{{- if not (or (kindIs "invalid" $entry) (eq (toString $entry) "false")) }}{{ $_ := set $entries $name $entry }}{{ end -}}
{{- end -}}
{{- toJson $entries -}}
{{- end -}}
