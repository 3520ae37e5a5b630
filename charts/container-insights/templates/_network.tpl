{{- /* container-insights.awsEgress: rules for DNS, the API server and AWS, and EKS Pod Identity's agent on the node. */ -}}
{{- define "container-insights.awsEgress" -}}
- ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
{{ include "common.apiRule" . }}
{{ include "common.podIdentityRule" . }}
{{- end -}}
