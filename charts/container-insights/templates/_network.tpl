{{- /*
Who reaches what. Declared helpers:
  container-insights.awsEgress       rules for DNS, the API server and AWS, and EKS Pod Identity's agent on the node
  container-insights.exporterPolicy  NetworkPolicy of an exporter; takes (dict "root" . "component" NAME "port" PORT)
*/ -}}

{{- define "container-insights.awsEgress" -}}
{{ include "common.dnsRule" . }}
{{ include "common.apiRule" . }}
{{ include "common.podIdentityRule" . }}
{{- end -}}

{{- define "container-insights.exporterPolicy" -}}
{{- $root := .root -}}
{{- $collector := dict "namespaceSelector" (dict "matchLabels" (dict "kubernetes.io/metadata.name" $root.Release.Namespace)) "podSelector" (dict "matchLabels" (include "common.selectorLabels" (dict "root" $root "component" "collector") | fromYaml)) -}}
{{- $readers := prepend (include "common.entryList" $root.Values.networkPolicy.metrics | fromJsonArray) $collector -}}
{{ include "common.networkPolicy" (dict "root" $root "name" (include "common.componentName" (tuple $root .component)) "component" .component "namespace" (include "container-insights.namespace" $root)) }}
  {{- /* collector, readers of metrics --> exporter */}}
  {{- include "common.ingress" (list (dict "ports" (list .port) "from" $readers)) | nindent 2 }}
  egress: []
{{- end -}}
