{{- /*
What pods connect to, and who connects to them. Declared helpers:
  common.defaultDeny      closes every pod of the release's namespace that no other policy opens; takes the root
  common.openPolicy       opens pods whose own policy is turned off, in a namespace that is closed
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

{{- /*
Policies of the charts name their pods by labels. Any other pod, of a person or made by an operator, would have none: all ways out,
the node's credentials among them, and all ways in. Each chart brings this policy, since each may be alone in its namespace.
*/ -}}
{{- define "common.defaultDeny" -}}
{{- if include "common.deniesByDefault" . -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ include "common.componentName" (tuple . "default-deny") }}
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "common.labels" (dict "root" . "component" "default-deny") | nindent 4 }}
spec:
  podSelector: {}
  policyTypes: [Ingress, Egress]
  ingress: []
  egress: []
{{- end -}}
{{- end -}}

{{- /* Usage: include "common.openPolicy" (dict "root" . "name" NAME "component" COMPONENT ["selector" LABELS] ["namespace" NAMESPACE]) */ -}}
{{- define "common.openPolicy" -}}
{{- include "common.checkCall" (tuple "common.openPolicy" . (list "root" "name" "component")) -}}
{{- if include "common.deniesByDefault" .root -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ .name }}
  namespace: {{ .namespace | default .root.Release.Namespace }}
  labels:
    {{- include "common.labels" (dict "root" .root "component" .component) | nindent 4 }}
spec:
  podSelector:
    matchLabels:
      {{- .selector | default (include "common.selectorLabels" (dict "root" .root "component" .component)) | nindent 6 }}
  policyTypes: [Ingress, Egress]
  ingress: [{}]
  egress: [{}]
{{- end -}}
{{- end -}}

{{- define "common.deniesByDefault" -}}
{{- if dig "defaultDeny" true (.Values.global | default dict) }}true{{ end -}}
{{- end -}}
