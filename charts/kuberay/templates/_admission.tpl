{{- /*
What the accounts of Ray may change. Declared helpers; each takes the root, or nothing:
  kuberay.autoscalerResources    what the autoscaler's accounts are watched at
  kuberay.autoscalerValidations  the number of workers of their own cluster, and which of them go
  kuberay.operatorResources      what the operator is watched at
  kuberay.operatorValidations    what it made itself, and no more rights than KubeRay gives
*/ -}}

{{- define "kuberay.autoscalerResources" -}}
- apiGroups: [""]
  apiVersions: [v1]
  resources: [pods, pods/resize]
  operations: [CREATE, UPDATE, DELETE]
- apiGroups: [ray.io]
  apiVersions: ["*"]
  resources: [rayclusters]
  operations: [CREATE, UPDATE, DELETE]
{{- end -}}

{{- define "kuberay.autoscalerValidations" -}}
- expression: request.operation == 'UPDATE' && request.resource.resource == 'rayclusters'
  message: Ray's autoscaler changes nothing but its RayCluster
- expression: >-
    request.resource.resource != 'rayclusters' || request.operation != 'UPDATE' ||
    request.userInfo.username.endsWith(':' + oldObject.spec.headGroupSpec.template.spec.serviceAccountName)
  message: Ray's autoscaler changes no RayCluster but its own
- expression: >-
    request.resource.resource != 'rayclusters' || request.operation != 'UPDATE' || (
    ['labels', 'annotations', 'finalizers', 'ownerReferences'].all(k,
      (k in object.metadata) == (k in oldObject.metadata) &&
      (!(k in object.metadata) || object.metadata[k] == oldObject.metadata[k])) &&
    object.spec.all(k, k in oldObject.spec) && oldObject.spec.all(k, k in object.spec) &&
    object.spec.all(k, k == 'workerGroupSpecs' || object.spec[k] == oldObject.spec[k]) &&
    (!('workerGroupSpecs' in object.spec) || (
      object.spec.workerGroupSpecs.size() == oldObject.spec.workerGroupSpecs.size() &&
      object.spec.workerGroupSpecs.all(new, oldObject.spec.workerGroupSpecs.exists_one(old,
        old.groupName == new.groupName &&
        new.all(k, k in ['replicas', 'scaleStrategy'] || (k in old && new[k] == old[k])) &&
        old.all(k, k in ['replicas', 'scaleStrategy'] || k in new))) &&
      oldObject.spec.workerGroupSpecs.all(old,
        object.spec.workerGroupSpecs.exists_one(new, new.groupName == old.groupName)))))
  message: Ray's autoscaler changes replicas and scaleStrategy of groups of workers alone
{{- end -}}

{{- define "kuberay.operatorResources" -}}
- apiGroups: [""]
  apiVersions: [v1]
  resources: [pods, pods/resize, services, serviceaccounts]
  operations: [CREATE, UPDATE, DELETE]
- apiGroups: [""]
  apiVersions: [v1]
  resources: [secrets]
  operations: [CREATE, UPDATE, DELETE]
- apiGroups: [batch]
  apiVersions: [v1]
  resources: [jobs]
  operations: [CREATE, UPDATE, DELETE]
- apiGroups: [rbac.authorization.k8s.io]
  apiVersions: [v1]
  resources: [roles, rolebindings]
  operations: [CREATE, UPDATE, DELETE]
{{- end -}}

{{- define "kuberay.operatorValidations" -}}
- expression: >-
    (request.operation == 'CREATE' ? object : oldObject).metadata.?labels.orValue({}).exists(k, k.startsWith('ray.io/'))
  message: KubeRay's operator changes nothing but what it made for Ray
- expression: >-
    request.resource.resource != 'secrets' || request.operation == 'DELETE' || object.?type.orValue('Opaque') == 'Opaque'
  message: KubeRay's operator makes no token of a ServiceAccount
- expression: >-
    request.resource.resource != 'roles' || request.operation == 'DELETE' || object.rules.all(rule,
    rule.?apiGroups.orValue([]).all(group, group in ['', 'ray.io']) &&
    rule.?resources.orValue([]).all(name, name in ['pods', 'pods/resize', 'rayclusters']) &&
    rule.verbs.all(verb, verb in ['get', 'list', 'watch', 'patch']))
  message: KubeRay's operator gives no rights but those of an autoscaler
- expression: >-
    request.resource.resource != 'rolebindings' || request.operation == 'DELETE' ||
    (object.roleRef.kind == 'Role' && object.roleRef.name == object.metadata.name)
  message: KubeRay's operator binds no role but one that it made
{{- end -}}
