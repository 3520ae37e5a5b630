{{- /*
Names and labels. Each takes the root.
  model-gateway.name           Deployment, Service and everything else of the gateway
  model-gateway.activatorName  the same of the activator
  model-gateway.codeName       ConfigMap of the Python files
  model-gateway.catalogueName  ConfigMap in which the chart vllm keeps its models
*/ -}}

{{- define "model-gateway.name" -}}
{{- include "common.fullname" . -}}
{{- end -}}

{{- define "model-gateway.activatorName" -}}
{{- include "common.componentName" (tuple . "activator") -}}
{{- end -}}

{{- define "model-gateway.codeName" -}}
{{- include "common.componentName" (tuple . "code") -}}
{{- end -}}

{{- define "model-gateway.catalogueName" -}}
{{- .Values.catalogue.name | default (include "common.siblingName" (tuple . "vllm" "catalogue")) -}}
{{- end -}}
