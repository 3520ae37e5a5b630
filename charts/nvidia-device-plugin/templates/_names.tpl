{{- /*
Names of objects. Declared helpers:
  nvidia-device-plugin.namespace                  namespace of everything namespaced
  nvidia-device-plugin.serviceAccountName         account of the plugin and the MPS control daemon
  nvidia-device-plugin.configMapName              the configs
  nvidia-device-plugin.mpsControlDaemonName       MPS control daemon
  nvidia-device-plugin.gpuFeatureDiscoveryName    GPU feature discovery and its role
*/ -}}

{{- define "nvidia-device-plugin.namespace" -}}
{{- .Values.namespace | default .Release.Namespace -}}
{{- end -}}

{{- define "nvidia-device-plugin.serviceAccountName" -}}
{{- include "common.fullname" . -}}
{{- end -}}

{{- define "nvidia-device-plugin.configMapName" -}}
{{- include "common.componentName" (tuple . "configs") -}}
{{- end -}}

{{- define "nvidia-device-plugin.mpsControlDaemonName" -}}
{{- include "common.componentName" (tuple . "mps-control-daemon") -}}
{{- end -}}

{{- define "nvidia-device-plugin.gpuFeatureDiscoveryName" -}}
{{- include "common.componentName" (tuple . "gpu-feature-discovery") -}}
{{- end -}}
