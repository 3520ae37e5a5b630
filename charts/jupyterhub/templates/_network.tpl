{{- /*
Rules that several NetworkPolicies have. Declared helpers:
  jupyterhub.dnsRule          egress: DNS of the cluster
  jupyterhub.internet         ipBlocks of everything that is neither private nor of the node
  jupyterhub.private          ipBlocks of private addresses
*/ -}}

{{- /* Pods of EKS may have addresses of 100.64.0.0/10; fd00:ec2:: holds IPv6 addresses of the node's own services. */ -}}
{{- define "jupyterhub.private" -}}
{{- range list "10.0.0.0/8" "100.64.0.0/10" "172.16.0.0/12" "192.168.0.0/16" -}}
- ipBlock:
    cidr: {{ . }}
{{ end -}}
- ipBlock:
    cidr: fc00::/7
    except: ["fd00:ec2::/32"]
{{- end -}}

{{- /* 169.254.20.10 is NodeLocal DNSCache. */ -}}
{{- define "jupyterhub.dnsRule" -}}
{{ include "common.dnsRule" . }}
  to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: kube-system
    - ipBlock:
        cidr: 169.254.20.10/32
    {{- include "jupyterhub.private" . | nindent 4 }}
{{- end -}}

{{- /* Link-local addresses are of the node: the instance metadata service and the Pod Identity agent are among them. */ -}}
{{- define "jupyterhub.internet" -}}
- ipBlock:
    cidr: 0.0.0.0/0
    except: [10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16, 172.16.0.0/12, 192.168.0.0/16]
- ipBlock:
    cidr: ::/0
    except: ["::1/128", "fc00::/7", "fe80::/10"]
{{- end -}}
