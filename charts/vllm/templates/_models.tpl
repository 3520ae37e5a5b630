{{- /*
The models. Declared helpers:
  vllm.contexts      every enabled model in the order of its name, as JSON: a list of NAME and MODEL; takes the root
  vllm.model         one model with the defaults below it, as JSON
  vllm.source        where a model's weights come from: huggingFace, s3, claim, or ngc for a NIM that brings its own
  vllm.labels        labels of a model's objects
  vllm.mostReplicas  replicas that a model may have, each a pod, or a pod on each of its nodes
  vllm.nodes         nodes of a replica

A model's context, which most helpers take, is (dict "root" . "name" NAME "model" MODEL).
*/ -}}

{{- define "vllm.contexts" -}}
{{- $contexts := list -}}
{{- range $name := keys .Values.models | sortAlpha -}}
{{- if not (kindIs "invalid" (get $.Values.models $name)) -}}
{{- $model := include "vllm.model" (tuple $ $name) | fromJson -}}
{{- if $model.enabled -}}
{{- $contexts = append $contexts (dict "name" $name "model" $model) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $contexts -}}
{{- end -}}

{{- /* Usage: include "vllm.model" (tuple . NAME) | fromJson */ -}}
{{- define "vllm.model" -}}
{{- $defaults := (index . 0).Values.modelDefaults -}}
{{- $own := get (index . 0).Values.models (index . 1) -}}
{{- $kind := dig "accelerator" "kind" $defaults.any.accelerator.kind $own -}}
{{- $byKind := include "common.merge" (tuple $defaults.any (get $defaults $kind)) | fromJson -}}
{{- $model := include "common.merge" (tuple $byKind $own) | fromJson -}}
{{- if and (or (dig "accelerator" "share" "" $own) (dig "accelerator" "dynamicResourceAllocation" false $own)) (not (dig "accelerator" "pool" "" $own)) -}}
{{- /* The way to the GPU says which pools will do; the kind's own has whole GPUs of the device plugin. */ -}}
{{- $_ := set $model.accelerator "pool" "" -}}
{{- end -}}
{{- toJson $model -}}
{{- end -}}

{{- define "vllm.source" -}}
{{- $source := .model.source -}}
{{- $named := list -}}
{{- if $source.huggingFace.id }}{{ $named = append $named "huggingFace" }}{{ end -}}
{{- if $source.s3.uri }}{{ $named = append $named "s3" }}{{ end -}}
{{- if $source.claim.name }}{{ $named = append $named "claim" }}{{ end -}}
{{- if include "vllm.isNim" . -}}
{{- if or $source.s3.uri $source.claim.name -}}
{{- fail (printf "models.%s.source: a NIM takes its model from NGC or from the Hub: leave s3.uri and claim.name out" .name) -}}
{{- end -}}
{{- $named = append $named "ngc" -}}
{{- else if ne 1 (len $named) -}}
{{- fail (printf "models.%s.source: %s: set exactly one of huggingFace.id, s3.uri and claim.name" .name (ternary "says nowhere where the weights are" (printf "names both %s" (join " and " $named)) (empty $named))) -}}
{{- end -}}
{{- first $named -}}
{{- end -}}

{{- define "vllm.labels" -}}
{{- include "common.labels" (dict "root" .root "component" .name) -}}
{{- end -}}

{{- define "vllm.mostReplicas" -}}
{{- ternary .model.autoscaling.maxReplicas .model.replicas .model.autoscaling.enabled | int -}}
{{- end -}}

{{- define "vllm.nodes" -}}
{{- ternary .model.multiNode.size 1 .model.multiNode.enabled | int -}}
{{- end -}}
