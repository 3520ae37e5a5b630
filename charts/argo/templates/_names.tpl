{{- /*
Names of the objects. Each takes the root unless said otherwise.
  argo.controllerName  Deployment of the controller, and everything of it
  argo.serverName      Deployment of the server, and everything of it
  argo.repositoryName  ConfigMap of the artifact repository, in every namespace of workflows
  argo.scriptsName     ConfigMap of the scripts, in every namespace of workflows
  argo.accountName     (tuple . KIND) ServiceAccount of the stages of a kind
  argo.pipelineName    (tuple . NAME) WorkflowTemplate of a pipeline
  argo.groupName       (tuple . NAME) ServiceAccount of a group of people
*/ -}}

{{- define "argo.controllerName" -}}
{{- include "common.componentName" (tuple . "workflow-controller") -}}
{{- end -}}

{{- define "argo.serverName" -}}
{{- include "common.componentName" (tuple . "server") -}}
{{- end -}}

{{- define "argo.repositoryName" -}}
{{- include "common.componentName" (tuple . "artifact-repository") -}}
{{- end -}}

{{- define "argo.scriptsName" -}}
{{- include "common.componentName" (tuple . "scripts") -}}
{{- end -}}

{{- define "argo.accountName" -}}
{{- include "common.componentName" . -}}
{{- end -}}

{{- define "argo.pipelineName" -}}
{{- include "common.componentName" . -}}
{{- end -}}

{{- define "argo.groupName" -}}
{{- include "common.componentName" (tuple (index . 0) (printf "group-%s" (index . 1))) -}}
{{- end -}}
