{{- /*
NetworkPolicies, and what pods connect to. Declared helpers:
  common.networkPolicy    a policy up to its rules
  common.ingress          rules of a policy's ingress for those who may connect
  common.peer             peer: the release's pods of a component; takes (tuple ROOT COMPONENT)
  common.defaultDeny      closes every pod of the release's namespace that no other policy opens; takes the root
  common.namespace        a namespace for code of users, closed and restricted; takes (tuple ROOT NAMESPACE COMPONENT)
  common.denyIn           the policy that closes a namespace; takes (tuple ROOT NAMESPACE)
  common.releasePeers     peers of a policy in a namespace, as a JSON list; takes (tuple ROOT NAMESPACE PEERS)
  common.releaseRules     rules of its egress, likewise; takes (tuple ROOT NAMESPACE RULES)
  common.peerIn           peer: the release's pods of a component in a namespace; takes (tuple ROOT COMPONENT NAMESPACE)
  common.deniesByDefault  "true" unless `global.defaultDeny` is false; takes the root
  common.openPolicy       opens pods whose own policy is turned off, in a namespace that is closed
  common.dnsRule          rule of a NetworkPolicy's egress for the cluster's DNS
  common.privateBlocks    ipBlocks of private addresses, as peers
  common.apiRule          the same for the Kubernetes API, and for HTTPS to anywhere else
  common.podIdentityRule  the same for the agent of EKS Pod Identity, which listens on the node
*/ -}}

{{- /*
Usage: include "common.networkPolicy" (dict "root" . "name" NAME "component" COMPONENT ["namespace" NAMESPACE]
         ["labels" LABELS] ["selector" LABELS]), followed by `ingress` and `egress` at an indent of 2
LABELS are YAML; they are those of the component when absent.
*/ -}}
{{- define "common.networkPolicy" -}}
{{- include "common.checkCall" (tuple "common.networkPolicy" . (list "root" "name" "component")) -}}
{{- $component := dict "root" .root "component" .component -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ .name }}
  namespace: {{ .namespace | default .root.Release.Namespace }}
  labels:
    {{- .labels | default (include "common.labels" $component) | nindent 4 }}
spec:
  podSelector:
    matchLabels:
      {{- .selector | default (include "common.selectorLabels" $component) | nindent 6 }}
  policyTypes:
    - Ingress
    - Egress
{{- end -}}

{{- /*
Usage: include "common.ingress" (list (dict "ports" (list 8000) "from" PEERS) ...) | nindent 2
A rule without peers would admit all peers, so what has none is left out; nothing at all closes the pods.
*/ -}}
{{- define "common.ingress" -}}
{{- $rules := list -}}
{{- range . -}}
{{- if .from -}}
{{- $ports := list -}}
{{- range .ports }}{{ $ports = append $ports (dict "port" . "protocol" "TCP") }}{{ end -}}
{{- $rules = append $rules (dict "ports" $ports "from" .from) -}}
{{- end -}}
{{- end -}}
{{- if $rules -}}
ingress:
{{- range $rules }}
  - ports:
      {{- toYaml .ports | nindent 6 }}
    from:
      {{- toYaml .from | nindent 6 }}
{{- end }}
{{- else -}}
ingress: []
{{- end -}}
{{- end -}}

{{- define "common.peer" -}}
- podSelector:
    matchLabels:
      {{- include "common.selectorLabels" (dict "root" (index . 0) "component" (index . 1)) | nindent 6 }}
{{- end -}}

{{- define "common.peerIn" -}}
{{- include "common.peer" (tuple (index . 0) (index . 1)) }}
{{- if ne (index . 2) (index . 0).Release.Namespace }}
  namespaceSelector:
    matchLabels:
      kubernetes.io/metadata.name: {{ index . 2 }}
{{- end -}}
{{- end -}}

{{- /* What values name by labels alone is of the release, wherever the policy stands. */ -}}
{{- define "common.releasePeers" -}}
{{- $root := index . 0 -}}
{{- $elsewhere := ne (index . 1) $root.Release.Namespace -}}
{{- $peers := list -}}
{{- range index . 2 -}}
{{- $peer := deepCopy . -}}
{{- if and $elsewhere (hasKey $peer "podSelector") (not (hasKey $peer "namespaceSelector")) -}}
{{- $_ := set $peer "namespaceSelector" (dict "matchLabels" (dict "kubernetes.io/metadata.name" $root.Release.Namespace)) -}}
{{- end -}}
{{- $peers = append $peers $peer -}}
{{- end -}}
{{- toJson $peers -}}
{{- end -}}

{{- define "common.releaseRules" -}}
{{- $rules := list -}}
{{- range index . 2 -}}
{{- $rule := deepCopy . -}}
{{- with $rule.to }}{{ $_ := set $rule "to" (include "common.releasePeers" (tuple (index $ 0) (index $ 1) .) | fromJsonArray) }}{{ end -}}
{{- $rules = append $rules $rule -}}
{{- end -}}
{{- toJson $rules -}}
{{- end -}}

{{- /* It stays when the release goes: with it would go what users made. */ -}}
{{- define "common.namespace" -}}
{{- $root := index . 0 -}}
apiVersion: v1
kind: Namespace
metadata:
  name: {{ index . 1 }}
  labels:
    {{- include "common.labels" (dict "root" $root "component" (index . 2)) | nindent 4 }}
    {{- range list "enforce" "audit" "warn" }}
    pod-security.kubernetes.io/{{ . }}: restricted
    {{- end }}
  annotations:
    helm.sh/resource-policy: keep
    argocd.argoproj.io/sync-options: Prune=false,Delete=false
---
{{ include "common.denyIn" (tuple $root (index . 1)) }}
{{- end -}}

{{- define "common.dnsRule" -}}
- ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
  {{- /* A resolver anywhere else could be an attacker's, and names carry data out. 169.254.20.10 is NodeLocal DNSCache. */}}
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
{{- include "common.denyIn" (tuple . .Release.Namespace) -}}
{{- end -}}

{{- define "common.denyIn" -}}
{{- $root := index . 0 -}}
{{- if include "common.deniesByDefault" $root -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ include "common.componentName" (tuple $root "default-deny") }}
  namespace: {{ index . 1 }}
  labels:
    {{- include "common.labels" (dict "root" $root "component" "default-deny") | nindent 4 }}
spec:
  podSelector: {}
  policyTypes: [Ingress, Egress]
  ingress: []
  egress: []
{{- end -}}
{{- end -}}

{{- /* Usage: as common.networkPolicy, with nothing behind it */ -}}
{{- define "common.openPolicy" -}}
{{- if include "common.deniesByDefault" .root -}}
{{ include "common.networkPolicy" . }}
  ingress: [{}]
  egress: [{}]
{{- end -}}
{{- end -}}

{{- define "common.deniesByDefault" -}}
{{- if dig "defaultDeny" true (.Values.global | default dict) }}true{{ end -}}
{{- end -}}
