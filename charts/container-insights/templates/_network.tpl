{{- /* container-insights.awsEgress: rules for DNS, the API server and AWS, and EKS Pod Identity's agent on the node. */ -}}
{{- define "container-insights.awsEgress" -}}
{{ include "common.dnsRule" . }}
{{ include "common.apiRule" . }}
{{ include "common.podIdentityRule" . }}
{{- end -}}
