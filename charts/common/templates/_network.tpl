{{- /*
What pods connect to. Declared helpers:
  common.podIdentityRule  rule of a NetworkPolicy's egress for the agent of EKS Pod Identity, which listens on the node
*/ -}}

{{- /* Pods with a role by IRSA do not need it: they reach STS on port 443. */ -}}
{{- define "common.podIdentityRule" -}}
- ports:
    - port: 80
      protocol: TCP
  to:
    - ipBlock:
        cidr: 169.254.170.23/32
    - ipBlock:
        cidr: fd00:ec2::23/128
{{- end -}}
