{{- /*
The models as others find them. Declared helpers:
  vllm.catalogue      every model by its key, two behind a router as one by the router's, as JSON: `names` in requests, `url`, `apiKeySecret`, `scaleToZero`; takes the root
  vllm.catalogueName  ConfigMap that holds it; takes the root
  vllm.scalesToZero   "true" for a model that may have no pods; takes a model's context
*/ -}}

{{- define "vllm.catalogue" -}}
{{- $catalogue := dict -}}
{{- range include "vllm.contexts" . | fromJsonArray -}}
{{- $context := dict "root" $ "name" .name "model" .model -}}
{{- $side := include "vllm.side" $context | default "{}" | fromJson -}}
{{- if ne ($side.role | default "") "prefill" -}}
{{- $names := list (include "vllm.servedName" $context) -}}
{{- range $adapter := keys .model.engine.loraAdapters | sortAlpha -}}
{{- if get $context.model.engine.loraAdapters $adapter }}{{ $names = append $names $adapter }}{{ end -}}
{{- end -}}
{{- $entry := dict "names" $names "scaleToZero" (include "vllm.scalesToZero" $context | eq "true") -}}
{{- $door := empty $side | not | ternary (dict "root" $ "name" $side.router) $context -}}
{{- $_ := set $entry "url" (printf "http://%s.%s:%d" (include "vllm.name" $door) $.Release.Namespace (int .model.service.port)) -}}
{{- if .model.apiKeySecret.name }}{{ $_ := set $entry "apiKeySecret" .model.apiKeySecret }}{{ end -}}
{{- $_ := set $catalogue ($side.router | default .name) $entry -}}
{{- end -}}
{{- end -}}
{{- toJson $catalogue -}}
{{- end -}}

{{- define "vllm.catalogueName" -}}
{{- include "common.componentName" (tuple . "catalogue") -}}
{{- end -}}

{{- define "vllm.scalesToZero" -}}
{{- $autoscaling := .model.autoscaling -}}
{{- if and $autoscaling.enabled (eq $autoscaling.kind "ScaledObject") (eq 0 (int $autoscaling.minReplicas)) -}}true{{- end -}}
{{- end -}}
