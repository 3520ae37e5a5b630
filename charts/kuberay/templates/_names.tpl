{{- /*
Names of the objects. Each takes the root unless said otherwise.
  kuberay.operatorName  Deployment of the operator, and everything of it
  kuberay.accountName   ServiceAccount of Ray's pods
  kuberay.objectName    (tuple . NAME) RayCluster or RayService
  kuberay.scriptsName   ConfigMap of the applications
*/ -}}

{{- define "kuberay.operatorName" -}}
{{- include "common.componentName" (tuple . "operator") -}}
{{- end -}}

{{- define "kuberay.accountName" -}}
{{- include "common.componentName" (tuple . "ray") -}}
{{- end -}}

{{- define "kuberay.objectName" -}}
{{- include "common.componentName" . -}}
{{- end -}}

{{- define "kuberay.scriptsName" -}}
{{- include "common.componentName" (tuple . "applications") -}}
{{- end -}}
