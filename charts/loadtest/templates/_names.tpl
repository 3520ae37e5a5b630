{{- /*
Names of objects. Declared helpers:
  loadtest.masterName   Job of the pod that conducts, and the Service by which workers find it
  loadtest.workersName  Job of the workers
  loadtest.planName     ConfigMap of the plan
*/ -}}

{{- define "loadtest.masterName" -}}
{{- include "common.componentName" (tuple . "master") -}}
{{- end -}}

{{- define "loadtest.workersName" -}}
{{- include "common.componentName" (tuple . "workers") -}}
{{- end -}}

{{- define "loadtest.planName" -}}
{{- include "common.componentName" (tuple . "plan") -}}
{{- end -}}
