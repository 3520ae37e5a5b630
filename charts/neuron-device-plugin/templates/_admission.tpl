{{- /*
What the plugin and the scheduler's extension may change of pods. Declared helpers:
  neuron-device-plugin.podResources    pods
  neuron-device-plugin.podValidations  their annotations
*/ -}}

{{- define "neuron-device-plugin.podResources" -}}
- apiGroups: [""]
  apiVersions: [v1]
  resources: [pods]
  operations: [CREATE, UPDATE, DELETE]
{{- end -}}

{{- define "neuron-device-plugin.podValidations" -}}
- expression: >-
    request.operation == 'UPDATE' && object.spec == oldObject.spec &&
    ['labels', 'finalizers', 'ownerReferences'].all(k,
      (k in object.metadata) == (k in oldObject.metadata) &&
      (!(k in object.metadata) || object.metadata[k] == oldObject.metadata[k]))
  message: the Neuron components change nothing of pods but annotations
{{- end -}}
