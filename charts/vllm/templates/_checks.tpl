{{- /*
What the schema cannot say, each for a model's context. Each check fails with the key, the rule and what to set.
Declared helpers:
  vllm.check          all of them
  vllm.checkAccess    credentials, and who may reach the model
  vllm.checkStorage   volumes that only one node, or only one zone, can mount
  vllm.checkScaling   rollouts and replicas
  vllm.checkNodes     engines over several nodes
*/ -}}

{{- define "vllm.check" -}}
{{- if include "vllm.isNim" . }}{{ include "vllm.nim.check" . }}{{ end -}}
{{- include "vllm.checkAccess" . -}}
{{- include "vllm.checkStorage" . -}}
{{- include "vllm.checkScaling" . -}}
{{- include "vllm.checkNodes" . -}}
{{- $key := printf "models.%s" .name -}}
{{- $sizes := include "vllm.sizes" . | fromJson -}}
{{- if gt (mul 2 (int64 $sizes.sharedMemory)) (int64 $sizes.memory) -}}
{{- fail (printf "%s.resources: what is written to /dev/shm (%s) counts as memory of the pod (%s), and the engine needs the rest: set memory to twice sharedMemory or more" $key (include "vllm.quantity" $sizes.sharedMemory) (include "vllm.quantity" $sizes.memory)) -}}
{{- end -}}
{{- with .model.scheduling.zone -}}
{{- $zones := ($.root.Values.global | default dict).zones -}}
{{- if and $zones (not (has . $zones)) -}}
{{- fail (printf "%s.scheduling.zone: %s is not a zone of the platform: set one of %s, or add it to global.zones" $key . (join ", " $zones)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "vllm.checkAccess" -}}
{{- $key := printf "models.%s" .name -}}
{{- $hub := .model.source.huggingFace -}}
{{- if and $hub.gated $hub.id (not $hub.tokenSecret.name) -}}
{{- fail (printf "%s.source.huggingFace: the Hub asks for a token for %s: set tokenSecret.name to a Secret that holds one" $key $hub.id) -}}
{{- end -}}
{{- if and (eq .model.service.type "LoadBalancer") (eq .model.service.loadBalancer.scheme "internet-facing") -}}
{{- if not .model.apiKeySecret.name -}}
{{- fail (printf "%s.service.loadBalancer.scheme: internet-facing without an API key lets any client use the model: set apiKeySecret.name, or scheme to internal" $key) -}}
{{- end -}}
{{- if not .model.service.loadBalancer.certificateArn -}}
{{- fail (printf "%s.service.loadBalancer.scheme: internet-facing without a certificate sends keys and prompts unencrypted: set certificateArn, or scheme to internal" $key) -}}
{{- end -}}
{{- include "common.loadBalancer.check" (dict "key" (printf "%s.service" $key) "service" .model.service "reaches" "model") -}}
{{- end -}}
{{- end -}}

{{- define "vllm.checkStorage" -}}
{{- $key := printf "models.%s" .name -}}
{{- if and (eq .model.cache.type "persistentVolumeClaim") (eq .model.cache.accessMode "ReadWriteOnce") -}}
{{- include "vllm.checkOneZone" (dict "context" . "key" (printf "%s.cache" $key)) -}}
{{- end -}}
{{- if and (eq .model.cache.type "persistentVolumeClaim") (eq .model.cache.accessMode "ReadWriteMany") (not .model.cache.existingClaim) -}}
{{- if not (or .model.cache.storageClass (include "common.global" (tuple .root "storageClass"))) -}}
{{- fail (printf "%s.cache.storageClass: EBS, the default of most clusters, has no ReadWriteMany volumes: set a class of EFS or FSx for Lustre" $key) -}}
{{- end -}}
{{- end -}}
{{- if and (eq (include "vllm.source" .) "claim") (eq .model.source.claim.accessMode "ReadWriteOnce") -}}
{{- include "vllm.checkOneZone" (dict "context" . "key" (printf "%s.source.claim" $key)) -}}
{{- end -}}
{{- end -}}

{{- /* Usage: include "vllm.checkOneZone" (dict "context" CONTEXT "key" KEY): KEY is a ReadWriteOnce claim. */ -}}
{{- define "vllm.checkOneZone" -}}
{{- $model := .context.model -}}
{{- $pods := mul (include "vllm.mostReplicas" .context | int) (include "vllm.nodes" .context | int) -}}
{{- if gt $pods 1 -}}
{{- fail (printf "%s: only one node can mount a ReadWriteOnce volume, and the model may have %d pods: set accessMode to ReadWriteMany on EFS or FSx, take the weights from S3, or run one pod" .key $pods) -}}
{{- end -}}
{{- if gt (int $model.rollout.maxSurge) 0 -}}
{{- fail (printf "%s: only one node can mount a ReadWriteOnce volume, so the new pod of a rollout would wait for the old one indefinitely: set rollout.maxSurge to 0" .key) -}}
{{- end -}}
{{- if and (not $model.scheduling.zone) (ne 1 (len ((.context.root.Values.global | default dict).zones | default list))) -}}
{{- fail (printf "%s: a ReadWriteOnce volume (EBS) exists in one zone, and the pod could be started in another: set scheduling.zone, or accessMode to ReadWriteMany on EFS or FSx" .key) -}}
{{- end -}}
{{- end -}}

{{- define "vllm.checkScaling" -}}
{{- $key := printf "models.%s" .name -}}
{{- $rollout := .model.rollout -}}
{{- if and (eq 0 (int $rollout.maxSurge)) (eq 0 (int $rollout.maxUnavailable)) -}}
{{- fail (printf "%s.rollout: maxSurge 0 and maxUnavailable 0 let no rollout begin: set maxUnavailable to 1" $key) -}}
{{- end -}}
{{- $autoscaling := .model.autoscaling -}}
{{- if $autoscaling.enabled -}}
{{- if gt (int $autoscaling.minReplicas) (int $autoscaling.maxReplicas) -}}
{{- fail (printf "%s.autoscaling: minReplicas %d is more than maxReplicas %d" $key (int $autoscaling.minReplicas) (int $autoscaling.maxReplicas)) -}}
{{- end -}}
{{- if and (eq 0 (int $autoscaling.minReplicas)) (eq $autoscaling.kind "HorizontalPodAutoscaler") -}}
{{- fail (printf "%s.autoscaling.minReplicas: a HorizontalPodAutoscaler keeps one pod at least: set 1, or kind to ScaledObject, for which KEDA has to be in the cluster" $key) -}}
{{- end -}}
{{- $policy := .model.networkPolicy -}}
{{- if and (eq $autoscaling.kind "ScaledObject") (eq $autoscaling.keda.source "prometheus") $policy.enabled -}}
{{- $others := include "common.entryList" $policy.metrics | fromJsonArray -}}
{{- range include "common.entryList" $policy.ingress | fromJsonArray -}}
{{- if or .namespaceSelector .ipBlock }}{{ $others = append $others . }}{{ end -}}
{{- end -}}
{{- if and (not $others) (not (regexMatch (printf `://[^./:]+\.%s([.:/]|$)` .root.Release.Namespace) $autoscaling.keda.prometheusAddress)) -}}
{{- fail (printf "%s.networkPolicy.metrics: Prometheus at '%s' would not reach the pods, and KEDA takes no series for no load: name the namespace of Prometheus" $key $autoscaling.keda.prometheusAddress) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "vllm.checkNodes" -}}
{{- $key := printf "models.%s" .name -}}
{{- if .model.multiNode.enabled -}}
{{- if ne 1 (int .model.engine.dataParallelSize) -}}
{{- fail (printf "%s.engine.dataParallelSize: copies of the model within one engine stay on its node: leave it out and set replicas, each of which has multiNode.size nodes of its own" $key) -}}
{{- end -}}
{{- if eq .model.accelerator.kind "none" -}}
{{- fail (printf "%s.multiNode: an engine over several nodes needs accelerators: set accelerator.kind, or multiNode.enabled to false" $key) -}}
{{- end -}}
{{- else if .model.accelerator.efa -}}
{{- fail (printf "%s.accelerator.efa: a model on one node has no peer to talk to over EFA: set multiNode.enabled, or efa to 0" $key) -}}
{{- end -}}
{{- end -}}
