{{- /*
Who reaches a model, each for a model's context. Declared helpers:
  vllm.ingressPeers        peers of the NetworkPolicy's ingress
  vllm.egressRules         rules of its egress
*/ -}}

{{- define "vllm.ingressPeers" -}}
{{- $peers := include "common.entryList" .model.networkPolicy.ingress | fromJsonArray -}}
{{- if include "vllm.kedaAsksPods" . -}}
{{- $peers = append $peers (dict "namespaceSelector" (dict "matchLabels" (dict "kubernetes.io/metadata.name" .model.autoscaling.keda.namespace))) -}}
{{- end -}}
{{- $peers = concat $peers (include "common.entryList" .model.networkPolicy.metrics | fromJsonArray) -}}
{{- if eq .model.service.type "LoadBalancer" -}}
{{- range include "common.entryList" .model.networkPolicy.loadBalancerRanges | fromJsonArray -}}
{{- $peers = append $peers (dict "ipBlock" (dict "cidr" .)) -}}
{{- end -}}
{{- end -}}
{{- toYaml $peers -}}
{{- end -}}

{{- define "vllm.egressRules" -}}
{{ include "common.dnsRule" . }}
{{- if or (has (include "vllm.source" .) (list "huggingFace" "ngc")) .model.neuron.compileCacheUrl }}
- ports:
    - port: 443
      protocol: TCP
{{- end }}
{{- if hasPrefix "s3://" (.model.neuron.compileCacheUrl | default "") }}
{{ include "common.podIdentityRule" .root }}
{{- end }}
{{- with include "common.entryList" .model.networkPolicy.egress | fromJsonArray }}
{{ toYaml . }}
{{- end }}
{{- end -}}
