{{- /*
Who reaches what. Declared helpers:
  argo.egressRules       where controller and server connect to; takes the root
  argo.stageEgressRules  where the stages of pipelines connect to; takes the root
*/ -}}

{{- define "argo.egressRules" -}}
{{ include "common.dnsRule" . }}
# The Kubernetes API; S3 and the provider of logins for the server.
{{ include "common.apiRule" . }}
{{- if .Values.archive.enabled }}
- ports:
    - port: {{ int .Values.archive.port }}
      protocol: TCP
{{- end }}
{{- end -}}

{{- define "argo.stageEgressRules" -}}
{{ include "common.dnsRule" . }}
# The Kubernetes API, S3, STS and the Hugging Face Hub.
{{ include "common.apiRule" . }}
{{ include "common.podIdentityRule" . }}
{{- with include "common.entryList" .Values.workflows.networkPolicy.egress | fromJsonArray }}
{{ toYaml . }}
{{- end }}
{{- end -}}
