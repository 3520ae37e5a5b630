{{- /*
What no chart can see alone. Each check fails with the key, the rule and what to set. Declared helpers:
  genai-platform.checkDevicePluginConfig   a pool asks for settings of its GPUs that the device plugin does not have
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
