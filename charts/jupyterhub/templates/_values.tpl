{{- /*
Values in the shapes that objects need. Declared helpers:
  jupyterhub.loadBalanced "true" when a load balancer in the VPC passes requests on
*/ -}}

{{- define "jupyterhub.loadBalanced" -}}
{{- if or .Values.ingress.enabled (eq .Values.proxy.service.type "LoadBalancer") -}}true{{- end -}}
{{- end -}}
