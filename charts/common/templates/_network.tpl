{{- /*
What pods connect to. Declared helpers:
  common.dnsRule          rule of a NetworkPolicy's egress for DNS, to anywhere: a `to` may follow it
  common.apiRule          the same for the Kubernetes API, and for HTTPS to anywhere else
  common.podIdentityRule  the same for the agent of EKS Pod Identity, which listens on the node
*/ -}}

{{- define "common.dnsRule" -}}
- ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
{{- end -}}

{{- /* Policies see the port behind the API's Service: 443 on EKS, 6443 on kind and most other clusters. */ -}}
{{- define "common.apiRule" -}}
- ports:
    - port: 443
      protocol: TCP
    - port: 6443
      protocol: TCP
{{- end -}}

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
