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

{{- /* The operator puts up to six characters behind it, and refuses a RayCluster of more than 53. */ -}}
{{- define "kuberay.objectName" -}}
{{- $name := include "common.componentName" . -}}
{{- if gt (len $name) 47 -}}
{{- fail (printf "%s: KubeRay takes names of 47 characters, and %s has %d: choose a shorter one, of it or of the release" (index . 1) $name (len $name)) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{- define "kuberay.scriptsName" -}}
{{- include "common.componentName" (tuple . "applications") -}}
{{- end -}}
