{{- /*
What no chart can see alone. Each check fails with the key, the rule and what to set. Declared helpers:
  genai-platform.checkDevicePluginConfig   a pool asks for settings of its GPUs that the device plugin does not have
  genai-platform.checkGpuSharing           pods would ask for another resource than the device plugin offers, or for too much memory
  genai-platform.checkPipelineModels       a pipeline deploys to a model that it cannot change
  genai-platform.checkModelKeys            a model asks for an API key that the gateway does not have
*/ -}}

{{- /* The plugin would not start on such a node, whose GPUs would then never show. */ -}}
{{- define "genai-platform.checkDevicePluginConfig" -}}
{{- $pools := get .Subcharts "karpenter-nodepools" -}}
{{- $plugin := get .Subcharts "nvidia-device-plugin" -}}
{{- if and $pools $plugin (not (include "common.autoMode" .)) -}}
{{- $known := include "nvidia-device-plugin.configs" $plugin | fromJson | keys | sortAlpha -}}
{{- range $name := keys $pools.Values.nodePools | sortAlpha -}}
{{- $pool := include "karpenter-nodepools.nodePool" (tuple $pools $name) | fromJson -}}
{{- $config := get $pool.labels "nvidia.com/device-plugin.config" -}}
{{- if and $pool.enabled $config (not (has $config $known)) -}}
{{- fail (printf "karpenter-nodepools.nodePools.%s.labels: nvidia.com/device-plugin.config names '%s', which is no entry of nvidia-device-plugin.configs: set one of %s, or add the entry" $name $config (join ", " $known)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "genai-platform.checkGpuSharing" -}}
{{- $plugin := get .Subcharts "nvidia-device-plugin" -}}
{{- $models := get .Subcharts "vllm" -}}
{{- if $plugin -}}
{{- $configs := include "nvidia-device-plugin.configs" $plugin | fromJson -}}
{{- $named := .Values.global.gpuSharing | default dict -}}
{{- range $name, $config := $configs -}}
{{- $resource := get $named $name | default "nvidia.com/gpu" -}}
{{- $shared := ne $config.sharing.strategy "none" -}}
{{- $offered := $config.sharing.resource -}}
{{- if and $shared $config.sharing.renameByDefault -}}
{{- $offered = printf "%s.shared" $offered -}}
{{- end -}}
{{- if and (not $shared) (eq $config.migStrategy "mixed") -}}
{{- if not (hasPrefix "nvidia.com/mig-" $resource) -}}
{{- fail (printf "global.gpuSharing.%s: nvidia-device-plugin.configs.%s offers a resource for each MIG profile: set the one that pods get, such as nvidia.com/mig-1g.10gb" $name $name) -}}
{{- end -}}
{{- else if ne $resource $offered -}}
{{- fail (printf "global.gpuSharing.%s: pods would ask for %s, and nvidia-device-plugin.configs.%s offers %s: set global.gpuSharing.%s to %s" $name $resource $name $offered $name $offered) -}}
{{- end -}}
{{- end -}}
{{- range $name := keys $named -}}
{{- if not (hasKey $configs $name) -}}
{{- fail (printf "global.gpuSharing.%s: it is no entry of nvidia-device-plugin.configs: set one of %s, or add the entry" $name (keys $configs | sortAlpha | join ", ")) -}}
{{- end -}}
{{- end -}}
{{- if $models -}}
{{- range $context := include "vllm.contexts" $models | fromJsonArray -}}
{{- with $context.model.accelerator.share -}}
{{- if not (hasKey $configs .) -}}
{{- fail (printf "vllm.models.%s.accelerator.share: '%s' is no entry of nvidia-device-plugin.configs: set one of %s, or add the entry" $context.name . (keys $configs | sortAlpha | join ", ")) -}}
{{- end -}}
{{- $sharing := (get $configs .).sharing -}}
{{- $most := divf 1 (int $sharing.replicas) -}}
{{- $used := $context.model.engine.gpuMemoryUtilization | default 0.9 -}}
{{- if and (ne $sharing.strategy "none") (gt (float64 $used) (float64 $most)) -}}
{{- fail (printf "vllm.models.%s.engine.gpuMemoryUtilization: %d pods share the GPU, and %v of its memory for each is more than there is: set %.2f or less" $context.name (int $sharing.replicas) $used (divf (floor (mulf 100 $most)) 100)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* It would end with 404, or without effect, after the training. */ -}}
{{- define "genai-platform.checkPipelineModels" -}}
{{- $models := get .Subcharts "vllm" -}}
{{- $argo := get .Subcharts "argo" -}}
{{- if and $models $argo -}}
{{- $contexts := dict -}}
{{- range include "vllm.contexts" $models | fromJsonArray }}{{ $_ := set $contexts .name . }}{{ end -}}
{{- range include "argo.pipelines" $argo | fromJsonArray -}}
{{- $deployment := .pipeline.deployment -}}
{{- if and $deployment.enabled $deployment.model (not $deployment.name) -}}
{{- $key := printf "argo.pipelines.%s.deployment.model" .name -}}
{{- $context := get $contexts $deployment.model -}}
{{- if not $context -}}
{{- fail (printf "%s: '%s' is not an enabled model of vllm.models: set one, or deployment.enabled to false" $key $deployment.model) -}}
{{- end -}}
{{- if not (include "vllm.followsFolder" (merge (dict "root" $models) $context)) -}}
{{- fail (printf "%s: model %s does not follow a pipeline, which changes models on NVIDIA GPUs or CPUs of one node with source.s3 or source.claim: set another, or deployment.enabled to false" $key $deployment.model) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* The gateway would leave the model out. */ -}}
{{- define "genai-platform.checkModelKeys" -}}
{{- $models := get .Subcharts "vllm" -}}
{{- $gateway := get .Subcharts "model-gateway" -}}
{{- if and $models $gateway -}}
{{- range $name, $model := include "vllm.catalogue" $models | fromJson -}}
{{- with $model.apiKeySecret -}}
{{- if not (has .key (get $gateway.Values.modelKeySecrets .name | default list)) -}}
{{- fail (printf "model-gateway.modelKeySecrets: model %s asks for the key %s of Secret %s, which the gateway has to send: set model-gateway.modelKeySecrets.%s to [%s]" $name .key .name .name .key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
