{{- /*
What no chart can see alone. Each check fails with the key, the rule and what to set. Declared helpers:
  genai-platform.checkDevicePluginConfig   a pool asks for settings of its GPUs that the device plugin does not have
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
