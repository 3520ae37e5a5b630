{{- /*
Who reaches what. Declared helpers:
  argo.egressRules  where controller and server connect to; takes the root
*/ -}}

{{- define "argo.egressRules" -}}
- ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
# The Kubernetes API; S3 and the provider of logins for the server.
- ports:
    - port: 443
      protocol: TCP
{{- if .Values.archive.enabled }}
- ports:
    - port: {{ int .Values.archive.port }}
      protocol: TCP
{{- end }}
{{- end -}}
