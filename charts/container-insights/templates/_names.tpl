{{- /*
Names and what all parts need. Each takes the root, if nothing else is said.
  container-insights.namespace      namespace of the DaemonSets
  container-insights.clusterName    global.clusterName, which is needed
  container-insights.region         global.region, which is needed
  container-insights.logGroup       log group of Container Insights; takes (tuple ROOT NAME)
  container-insights.serviceAccount ServiceAccount of a component; takes (dict "root" . "component" NAME "namespace" NAMESPACE)
*/ -}}

{{- define "container-insights.namespace" -}}
{{- .Values.namespace | default .Release.Namespace -}}
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
  name: {{ include "common.componentName" (tuple .root .component) }}
  namespace: {{ .namespace }}
  labels:
    {{- include "common.labels" (dict "root" .root "component" .component) | nindent 4 }}
  {{- with .root.Values.serviceAccounts.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
