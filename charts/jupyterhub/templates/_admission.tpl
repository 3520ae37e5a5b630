{{- /*
What the hub may change. Declared helpers; each takes the root:
  jupyterhub.hubResources    pods
  jupyterhub.hubValidations  those of users' servers, with the account of servers and no token
*/ -}}

{{- define "jupyterhub.hubResources" -}}
- apiGroups: [""]
  apiVersions: [v1]
  resources: [pods]
  operations: [CREATE, UPDATE, DELETE]
{{- end -}}

{{- define "jupyterhub.hubValidations" -}}
- expression: >-
    (request.operation == 'CREATE' ? object : oldObject).metadata.?labels.orValue({})[?'app.kubernetes.io/component']
    .orValue('') == 'singleuser-server'
  message: the hub starts and ends no pods but users' servers
- expression: >-
    request.operation != 'CREATE' || (
    object.spec.?serviceAccountName.orValue('') == {{ include "jupyterhub.singleuserName" . | quote }} &&
    object.spec.?automountServiceAccountToken.orValue(true) == false &&
    object.spec.?volumes.orValue([]).all(volume, !('hostPath' in volume) && !('projected' in volume)))
  message: users' servers run as their own account, without its token and without folders of the node
{{- end -}}
