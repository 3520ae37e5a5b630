{{- /*
What pods connect to. Declared helpers:
  common.dnsRule          rule of a NetworkPolicy's egress for the cluster's DNS
  common.privateBlocks    ipBlocks of private addresses, as peers
  common.apiRule          the same for the Kubernetes API, and for HTTPS to anywhere else
  common.podIdentityRule  the same for the agent of EKS Pod Identity, which listens on the node
*/ -}}

{{- define "common.dnsRule" -}}
- ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
  {{- /* A resolver anywhere else could be somebody's own, and names carry data out. 169.254.20.10 is NodeLocal DNSCache. */}}
  to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: kube-system
    - ipBlock:
        cidr: 169.254.20.10/32
    {{- include "common.privateBlocks" . | nindent 4 }}
{{- end -}}

{{- /* Pods of EKS may have addresses of 100.64.0.0/10 or 198.19.0.0/16; fd00:ec2:: holds IPv6 addresses of the node's own services. */ -}}
{{- define "common.privateBlocks" -}}
{{- range list "10.0.0.0/8" "100.64.0.0/10" "172.16.0.0/12" "192.168.0.0/16" "198.18.0.0/15" -}}
- ipBlock:
    cidr: {{ . }}
{{ end -}}
- ipBlock:
    cidr: fc00::/7
    except: ["fd00:ec2::/32"]
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
