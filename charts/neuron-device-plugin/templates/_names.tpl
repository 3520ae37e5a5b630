{{- /*
Declared helpers; each takes the root unless said otherwise.
  neuron-device-plugin.namespace     namespace of everything here
  neuron-device-plugin.hasScheduler  "true" when the second scheduler is installed
  neuron-device-plugin.metadata      metadata of an object: (tuple . SUFFIX COMPONENT [CLUSTER_WIDE]); an empty suffix for the chart's own name
  neuron-device-plugin.nodes         affinity and tolerations of a DaemonSet: the nodes that wait for the plugin
  neuron-device-plugin.checkVersion  fails when kube-scheduler is newer than the cluster
*/ -}}

{{- define "neuron-device-plugin.namespace" -}}
{{- .Values.namespace | default .Release.Namespace -}}
{{- end -}}

{{- define "neuron-device-plugin.hasScheduler" -}}
{{- if and (include "common.global" (tuple . "neuronScheduler")) (not (include "common.autoMode" .)) -}}true{{- end -}}
{{- end -}}

{{- define "neuron-device-plugin.metadata" -}}
{{- $root := index . 0 -}}
{{- $suffix := index . 1 -}}
name: {{ empty $suffix | ternary (include "common.fullname" $root) (include "common.componentName" (tuple $root $suffix)) }}
{{- if lt (len .) 4 }}
namespace: {{ include "neuron-device-plugin.namespace" $root }}
{{- end }}
labels:
  {{- include "common.labels" (dict "root" $root "component" (index . 2)) | nindent 2 }}
{{- end -}}

{{- define "neuron-device-plugin.nodes" -}}
affinity:
  nodeAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      nodeSelectorTerms:
        - matchExpressions:
            - key: drydock.dev/neuron-device-plugin
              operator: In
              values: [chart]
tolerations:
  - operator: Exists
{{- end -}}

{{- /*
Usage: include "neuron-device-plugin.schedulerImage" . | fromJson
Releases of kube-scheduler by minor version, from Kubernetes' own tags; a newer cluster gets the newest, one minor behind it.
*/ -}}
{{- define "neuron-device-plugin.schedulerImage" -}}
{{- $releases := dict "33" "v1.33.13" "34" "v1.34.9" "35" "v1.35.8" "36" "v1.36.3" -}}
{{- $minor := regexFind "[0-9]+" .Capabilities.KubeVersion.Minor -}}
{{- $known := get $releases $minor | default (get $releases (keys $releases | sortAlpha | last)) -}}
{{- merge (dict "tag" (.Values.scheduler.image.tag | default $known)) .Values.scheduler.image | toJson -}}
{{- end -}}

{{- define "neuron-device-plugin.checkVersion" -}}
{{- $minor := regexFind "^v?1\\.[0-9]+" (toString .Values.scheduler.image.tag) | trimPrefix "v" -}}
{{- if and $minor (semverCompare (printf "<%s.0-0" $minor) .Capabilities.KubeVersion.Version) -}}
{{- fail (printf "scheduler.image.tag: kube-scheduler %s is newer than the cluster's %s, for which it is not made: set a version of that minor or the one before" .Values.scheduler.image.tag .Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- end -}}
