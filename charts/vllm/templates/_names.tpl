{{- /*
Names of the objects of a model. Each takes a model's context: (dict "root" . "name" NAME "model" MODEL).
  vllm.name            Deployment, Service and everything else in the namespace
  vllm.groupsName      LeaderWorkerSet, and the headless Service that its controller names after it
  vllm.weightsName     PersistentVolumeClaim of weights in S3, without what follows from its content
  vllm.volumeName      PersistentVolume of a claim; it is of the whole cluster, so the namespace is in it; takes (tuple CONTEXT CLAIM)
  vllm.cacheName       PersistentVolumeClaim of the cache
  vllm.devicesName     ResourceClaimTemplate
  vllm.adapterName     the same of a LoRA adapter in S3; takes (tuple CONTEXT ADAPTER)
  vllm.claimName       name of a claim on a folder in S3; takes (tuple CONTEXT NAME URI SIZE)
  vllm.serviceAccount  ServiceAccount of a model: that of all of them, or its own
*/ -}}

{{- define "vllm.name" -}}
{{- include "common.componentName" (tuple .root .name) -}}
{{- end -}}

{{- define "vllm.groupsName" -}}
{{- include "common.componentName" (tuple .root (printf "%s-nodes" .name)) -}}
{{- end -}}

{{- /* A template of claims cannot be changed: other devices are another one. */ -}}
{{- define "vllm.devicesName" -}}
{{- printf "%s-%d" (include "vllm.name" .) (int .model.accelerator.count) -}}
{{- end -}}

{{- define "vllm.weightsName" -}}
{{- include "common.componentName" (tuple .root (printf "%s-weights" .name)) -}}
{{- end -}}

{{- define "vllm.volumeName" -}}
{{- printf "%s-%s" (index . 0).root.Release.Namespace (index . 1) -}}
{{- end -}}

{{- /* Volumes cannot be changed, and pods that have one do not learn of it: another folder is another volume, and so a rollout. */ -}}
{{- define "vllm.claimName" -}}
{{- $context := index . 0 -}}
{{- $s3 := $context.model.source.s3 -}}
{{- $global := include "common.global" (tuple $context.root "region") -}}
{{- $content := list (index . 2) (index . 3) ($s3.region | default $global) $s3.authenticationSource ($s3.stsRegion | default $global) (int64 $context.model.uid) -}}
{{- with $s3.volumeAttributes }}{{ $content = append $content . }}{{ end -}}
{{- printf "%s-%s" (index . 1) ($content | toJson | sha256sum | trunc 8) -}}
{{- end -}}

{{- /* Names of adapters may have letters and signs that names of objects may not. */ -}}
{{- define "vllm.adapterName" -}}
{{- $adapter := index . 1 -}}
{{- if not (regexMatch "^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$" $adapter) }}{{ $adapter = $adapter | sha256sum | trunc 10 }}{{ end -}}
{{- include "common.componentName" (tuple (index . 0).root (printf "%s-lora-%s" (index . 0).name $adapter)) -}}
{{- end -}}

{{- define "vllm.cacheName" -}}
{{- if .model.cache.existingClaim -}}
{{- .model.cache.existingClaim -}}
{{- else -}}
{{- include "common.componentName" (tuple .root (printf "%s-cache" .name)) -}}
{{- end -}}
{{- end -}}

{{- define "vllm.serviceAccount" -}}
{{- if .model.serviceAccount.own -}}
{{- include "vllm.name" . -}}
{{- else -}}
{{- include "common.fullname" .root -}}
{{- end -}}
{{- end -}}
