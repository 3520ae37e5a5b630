{{- /*
Names of the objects of a model. Each takes a model's context: (dict "root" . "name" NAME "model" MODEL).
  vllm.name            Deployment, Service and everything else in the namespace
  vllm.weightsName     PersistentVolumeClaim of weights in S3
  vllm.volumeName      PersistentVolume of weights in S3; it is of the whole cluster, so the namespace is in it
  vllm.cacheName       PersistentVolumeClaim of the cache
  vllm.serviceAccount  ServiceAccount of every model; takes the root
*/ -}}

{{- define "vllm.name" -}}
{{- include "common.componentName" (tuple .root .name) -}}
{{- end -}}

{{- define "vllm.weightsName" -}}
{{- include "common.componentName" (tuple .root (printf "%s-weights" .name)) -}}
{{- end -}}

{{- define "vllm.volumeName" -}}
{{- printf "%s-%s" .root.Release.Namespace (include "vllm.weightsName" .) -}}
{{- end -}}

{{- define "vllm.cacheName" -}}
{{- if .model.cache.existingClaim -}}
{{- .model.cache.existingClaim -}}
{{- else -}}
{{- include "common.componentName" (tuple .root (printf "%s-cache" .name)) -}}
{{- end -}}
{{- end -}}

{{- define "vllm.serviceAccount" -}}
{{- include "common.fullname" . -}}
{{- end -}}
