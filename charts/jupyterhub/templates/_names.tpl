{{- /*
Names of objects. Declared helpers:
  jupyterhub.hubName         hub: its Deployment, Service, ServiceAccount, role and claim
  jupyterhub.proxyName       proxy: its Deployment and the Service of its pages
  jupyterhub.proxyApiName    Service through which the hub configures the proxy's routes
  jupyterhub.singleuserName  ServiceAccount and NetworkPolicy of the servers
  jupyterhub.namespace       namespace of the servers
  jupyterhub.imagePullerName DaemonSet that keeps images on nodes
*/ -}}

{{- define "jupyterhub.hubName" -}}
{{- include "common.componentName" (tuple . "hub") -}}
{{- end -}}

{{- define "jupyterhub.proxyName" -}}
{{- include "common.componentName" (tuple . "proxy-public") -}}
{{- end -}}

{{- define "jupyterhub.proxyApiName" -}}
{{- include "common.componentName" (tuple . "proxy-api") -}}
{{- end -}}

{{- define "jupyterhub.singleuserName" -}}
{{- include "common.componentName" (tuple . "singleuser") -}}
{{- end -}}

{{- define "jupyterhub.namespace" -}}
{{- .Values.singleuser.namespace | default .Release.Namespace -}}
{{- end -}}

{{- define "jupyterhub.imagePullerName" -}}
{{- include "common.componentName" (tuple . "image-puller") -}}
{{- end -}}
