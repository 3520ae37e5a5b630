{{- /*
What the accounts of workflows may change. Declared helpers, a list of resource rules and one of validations for each account;
each takes the root, but argo.trainingValidations takes (dict "root" . "images" (list IMAGE...) "secrets" (list NAME...)):
  argo.controllerResources, argo.controllerValidations
  argo.serverResources, argo.serverValidations
  argo.deploymentResources, argo.deploymentValidations
  argo.trainingResources, argo.trainingValidations
*/ -}}

{{- define "argo.controllerResources" -}}
- apiGroups: [""]
  apiVersions: [v1]
  resources: [pods]
  operations: [CREATE, UPDATE, DELETE]
- apiGroups: [""]
  apiVersions: [v1]
  resources: [pods/exec]
  operations: [CONNECT]
{{- end -}}

{{- define "argo.controllerValidations" -}}
- expression: >-
    request.operation == 'CONNECT' || 'workflows.argoproj.io/workflow' in
    (request.operation == 'CREATE' ? object : oldObject).metadata.?labels.orValue({})
  message: the workflow controller changes no pods but those of workflows
- expression: >-
    request.operation != 'CONNECT' ||
    (object.command.size() == 4 && object.command[0] == '/var/run/argo/argoexec' && object.command[1] == 'kill') ||
    (object.command.size() == 3 && object.command[0] == '/bin/sh' && object.command[1] == '-c' && object.command[2].matches('^kill -[0-9]+ 1$'))
  message: the workflow controller runs nothing in pods but what ends them
{{- end -}}

{{- define "argo.serverResources" -}}
- apiGroups: [""]
  apiVersions: [v1]
  resources: [secrets]
  operations: [CREATE, UPDATE]
{{- end -}}

{{- define "argo.serverValidations" -}}
- expression: object.metadata.?name.orValue('') == 'sso' && object.?type.orValue('Opaque') == 'Opaque'
  message: the server makes no Secret but the key of its cookies
{{- end -}}

{{- define "argo.deploymentResources" -}}
- apiGroups: [apps]
  apiVersions: [v1]
  resources: [deployments, deployments/scale]
  operations: [CREATE, UPDATE, DELETE]
{{- end -}}

{{- define "argo.deploymentValidations" -}}
- expression: request.operation == 'UPDATE' && (!has(request.subResource) || request.subResource == '')
  message: a pipeline changes which model a Deployment serves, and nothing else
- expression: >-
    ['labels', 'annotations', 'finalizers', 'ownerReferences'].all(k,
      (k in object.metadata) == (k in oldObject.metadata) &&
      (!(k in object.metadata) || object.metadata[k] == oldObject.metadata[k])) &&
    object.spec.all(k, k in oldObject.spec && (k == 'template' || object.spec[k] == oldObject.spec[k])) &&
    oldObject.spec.all(k, k in object.spec)
  message: a pipeline changes nothing of a Deployment but its template
- expression: >-
    object.spec.template.metadata.all(k, k == 'annotations' ||
      (k in oldObject.spec.template.metadata && object.spec.template.metadata[k] == oldObject.spec.template.metadata[k])) &&
    object.spec.template.metadata.?annotations.orValue({}).all(k,
      (k in ['drydock.dev/model-folder', 'drydock.dev/previous-model-folder'] &&
       object.spec.template.metadata.annotations[k].matches('^(/[A-Za-z0-9._-]*[A-Za-z0-9_-][A-Za-z0-9._-]*)*$')) ||
      (k in oldObject.spec.template.metadata.?annotations.orValue({}) &&
       object.spec.template.metadata.annotations[k] == oldObject.spec.template.metadata.annotations[k])) &&
    oldObject.spec.template.metadata.?annotations.orValue({}).all(k,
      k in object.spec.template.metadata.?annotations.orValue({}))
  message: a pipeline changes no label of a Deployment's pods, and no annotation but those that name the model's folder
- expression: object.spec.template.spec == oldObject.spec.template.spec
  message: a pipeline changes nothing of a Deployment's pods but the folder of the model
{{- end -}}

{{- define "argo.trainingResources" -}}
- apiGroups: [ray.io]
  apiVersions: ["*"]
  resources: [rayjobs]
  operations: [CREATE, UPDATE, DELETE]
{{- end -}}

{{- define "argo.trainingValidations" -}}
{{- $account := include "argo.accountName" (tuple .root "training") -}}
- expression: request.operation == 'CREATE'
  message: a pipeline changes no RayJob once it is there
- expression: >-
    object.spec.?entrypoint.orValue('') == {{ include "argo.rayEntrypoint" . | quote }} &&
    !('runtimeEnvYAML' in object.spec) && !('submitterPodTemplate' in object.spec) && !('clusterSelector' in object.spec) &&
    object.spec.?submissionMode.orValue('') == 'HTTPMode'
  message: a pipeline's RayJob runs the training of the chart
- expression: object.spec.rayClusterSpec.?authOptions.?mode.orValue('') == 'token'
  message: a pipeline's RayJob asks for a token
- expression: >-
    ([object.spec.rayClusterSpec.headGroupSpec] + object.spec.rayClusterSpec.?workerGroupSpecs.orValue([])).all(group,
      group.template.spec.?serviceAccountName.orValue('') == {{ $account | quote }} &&
      group.template.spec.?automountServiceAccountToken.orValue(true) == false &&
      ['hostNetwork', 'hostPID', 'hostIPC', 'initContainers', 'ephemeralContainers', 'nodeName'].all(k,
        !(k in group.template.spec)) &&
      group.template.spec.?securityContext.?runAsNonRoot.orValue(false) &&
      group.template.spec.containers.size() == 1 &&
      group.template.spec.containers.all(container,
        container.image in {{ toJson .images }} &&
        !('command' in container) && !('args' in container) && !('lifecycle' in container) && !('envFrom' in container) &&
        !container.?securityContext.?privileged.orValue(false) &&
        container.?securityContext.?allowPrivilegeEscalation.orValue(true) == false &&
        container.?env.orValue([]).all(variable, !('valueFrom' in variable) ||
          variable.valueFrom.?secretKeyRef.?name.orValue('') in {{ toJson .secrets }})) &&
      group.template.spec.?volumes.orValue([]).all(volume, volume.all(k, k in ['name', 'emptyDir'] ||
        (k == 'configMap' && volume.configMap.?name.orValue('') == {{ include "argo.scriptsName" .root | quote }}))))
  message: a pipeline's RayJob has the pods of the chart
{{- end -}}
