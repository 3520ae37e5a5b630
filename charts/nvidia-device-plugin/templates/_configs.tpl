{{- /*
The configs. Declared helpers:
  nvidia-device-plugin.configs      every entry with its defaults, checked, as JSON
  nvidia-device-plugin.configFile   one entry as the file that the plugin reads
  nvidia-device-plugin.withMig      "true" when an entry has a MIG strategy
  nvidia-device-plugin.mpsConfigs   names of the entries that share by MPS, as JSON
  nvidia-device-plugin.checksum     changes with the configs: the plugin reads its file once, so a change restarts the pods
*/ -}}

{{- define "nvidia-device-plugin.configs" -}}
{{- $defaults := dict "migStrategy" "none" "sharing" (dict "strategy" "none" "replicas" 1 "resource" "nvidia.com/gpu" "renameByDefault" false) -}}
{{- $configs := dict -}}
{{- range $name, $own := .Values.configs -}}
{{- if not (kindIs "invalid" $own) -}}
{{- $config := include "common.merge" (tuple $defaults $own) | fromJson -}}
{{- include "nvidia-device-plugin.checkConfig" (tuple (printf "configs.%s" $name) $config) -}}
{{- if and (eq $config.sharing.strategy "mps") (not (get (($.Values.global | default dict).mpsSharing | default dict) $name)) -}}
{{- fail (printf "configs.%s.sharing.strategy: pods find the MPS daemon by the /dev/shm of the node, which their own would hide: set global.mpsSharing.%s to true" $name $name) -}}
{{- end -}}
{{- $_ := set $configs $name $config -}}
{{- end -}}
{{- end -}}
{{- if not (hasKey $configs .Values.defaultConfig) -}}
{{- fail (printf "defaultConfig: there is no '%s' under configs: set one of %s" .Values.defaultConfig (keys $configs | sortAlpha | join ", ")) -}}
{{- end -}}
{{- toJson $configs -}}
{{- end -}}

{{- define "nvidia-device-plugin.checkConfig" -}}
{{- $key := index . 0 -}}
{{- $config := index . 1 -}}
{{- $replicas := int $config.sharing.replicas -}}
{{- if and (ne $config.sharing.strategy "none") (lt $replicas 2) -}}
{{- fail (printf "%s.sharing.replicas: %s shares a GPU among 2 pods or more: set 2 to 48, or the strategy to none" $key $config.sharing.strategy) -}}
{{- end -}}
{{- if and (eq $config.sharing.strategy "none") (gt $replicas 1) -}}
{{- fail (printf "%s.sharing.strategy: %d replicas need a way to share: set time-slicing or mps" $key $replicas) -}}
{{- end -}}
{{- if eq $config.sharing.strategy "mps" -}}
{{- if ne $config.migStrategy "none" -}}
{{- fail (printf "%s.migStrategy: MPS works on whole GPUs only: set migStrategy to none, or sharing.strategy to time-slicing" $key) -}}
{{- end -}}
{{- if ne $config.sharing.resource "nvidia.com/gpu" -}}
{{- fail (printf "%s.sharing.resource: MPS shares nvidia.com/gpu only" $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Usage: include "nvidia-device-plugin.configFile" CONFIG. More than one share does not mean more of the GPU, so such a request is refused. */ -}}
{{- define "nvidia-device-plugin.configFile" -}}
version: v1
flags:
  migStrategy: {{ .migStrategy }}
{{- if ne .sharing.strategy "none" }}
sharing:
  {{ ternary "mps" "timeSlicing" (eq .sharing.strategy "mps") }}:
    renameByDefault: {{ .sharing.renameByDefault }}
    failRequestsGreaterThanOne: true
    resources:
      - name: {{ .sharing.resource }}
        replicas: {{ int .sharing.replicas }}
{{- end }}
{{- end -}}

{{- define "nvidia-device-plugin.withMig" -}}
{{- range $config := include "nvidia-device-plugin.configs" . | fromJson -}}
{{- if ne $config.migStrategy "none" -}}true{{- end -}}
{{- end -}}
{{- end -}}

{{- define "nvidia-device-plugin.mpsConfigs" -}}
{{- $names := list -}}
{{- range $name, $config := include "nvidia-device-plugin.configs" . | fromJson -}}
{{- if eq $config.sharing.strategy "mps" -}}
{{- $names = append $names $name -}}
{{- end -}}
{{- end -}}
{{- $names | sortAlpha | toJson -}}
{{- end -}}

{{- define "nvidia-device-plugin.checksum" -}}
{{- include "nvidia-device-plugin.configs" . | sha256sum -}}
{{- end -}}
