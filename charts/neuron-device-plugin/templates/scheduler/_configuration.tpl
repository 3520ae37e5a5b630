{{- /*
Declared helpers:
  neuron-device-plugin.configuration  what the second scheduler reads; takes the root
*/ -}}

{{- define "neuron-device-plugin.configuration" -}}
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
leaderElection:
  leaderElect: true
  resourceNamespace: {{ include "neuron-device-plugin.namespace" . }}
  resourceName: {{ include "common.componentName" (tuple . "scheduler") }}
enableProfiling: false
profiles:
  - schedulerName: {{ include "common.global" (tuple . "neuronScheduler") }}
extenders:
  - urlPrefix: http://{{ include "common.componentName" (tuple . "scheduler-extension") }}.{{ include "neuron-device-plugin.namespace" . }}:12345
    filterVerb: filter
    bindVerb: bind
    nodeCacheCapable: true
    # Devices that only the kubelet chose need not be neighbours.
    ignorable: false
    managedResources:
      - name: aws.amazon.com/neuron
        ignoredByScheduler: false
      - name: aws.amazon.com/neuroncore
        ignoredByScheduler: false
      - name: aws.amazon.com/neurondevice
        ignoredByScheduler: false
{{- end -}}
