{{- /*
Who reaches a model, each for a model's context. Declared helpers:
  vllm.sourceRanges        address ranges that may reach the load balancer, as JSON
  vllm.serviceAnnotations  annotations of the Service, or nothing
  vllm.loadBalancerClass   controller of the load balancer
  vllm.ingressPeers        peers of the NetworkPolicy's ingress
  vllm.egressRules         rules of its egress
*/ -}}

{{- define "vllm.sourceRanges" -}}
{{- $ranges := list -}}
{{- range $name := keys .model.service.loadBalancer.sourceRanges | sortAlpha -}}
{{- with get $.model.service.loadBalancer.sourceRanges $name }}{{ $ranges = append $ranges . }}{{ end -}}
{{- end -}}
{{- toJson $ranges -}}
{{- end -}}

{{- define "vllm.loadBalancerClass" -}}
{{- empty (include "common.autoMode" .root) | ternary "service.k8s.aws/nlb" "eks.amazonaws.com/nlb" -}}
{{- end -}}

{{- define "vllm.serviceAnnotations" -}}
{{- $annotations := dict -}}
{{- if eq .model.service.type "LoadBalancer" -}}
{{- $prefix := "service.beta.kubernetes.io/aws-load-balancer" -}}
{{- $_ := set $annotations (printf "%s-scheme" $prefix) .model.service.loadBalancer.scheme -}}
{{- $_ := set $annotations (printf "%s-nlb-target-type" $prefix) "ip" -}}
{{- $_ := set $annotations (printf "%s-healthcheck-protocol" $prefix) "http" -}}
{{- $_ := set $annotations (printf "%s-healthcheck-path" $prefix) (include "vllm.path" (tuple . "readiness")) -}}
{{- with .model.service.loadBalancer.certificateArn -}}
{{- $_ := set $annotations (printf "%s-ssl-cert" $prefix) . -}}
{{- $_ := set $annotations (printf "%s-ssl-ports" $prefix) (toString (int $.model.service.port)) -}}
{{- end -}}
{{- $tags := list -}}
{{- range $name, $value := (.root.Values.global | default dict).tags | default dict -}}
{{- $tags = append $tags (printf "%s=%s" $name $value) -}}
{{- end -}}
{{- with $tags }}{{ $_ := set $annotations (printf "%s-additional-resource-tags" $prefix) (join "," .) }}{{ end -}}
{{- end -}}
{{- with include "common.merge" (tuple .model.service.annotations $annotations) | fromJson -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{- define "vllm.ingressPeers" -}}
{{- $peers := list -}}
{{- range $name := keys .model.networkPolicy.ingress | sortAlpha -}}
{{- $peer := get $.model.networkPolicy.ingress $name -}}
{{- if not (kindIs "invalid" $peer) }}{{ $peers = append $peers $peer }}{{ end -}}
{{- end -}}
{{- if include "vllm.kedaAsksPods" . -}}
{{- $peers = append $peers (dict "namespaceSelector" (dict "matchLabels" (dict "kubernetes.io/metadata.name" .model.autoscaling.keda.namespace))) -}}
{{- end -}}
{{- if eq .model.service.type "LoadBalancer" -}}
{{- range $name := keys .model.networkPolicy.loadBalancerRanges | sortAlpha -}}
{{- with get $.model.networkPolicy.loadBalancerRanges $name }}{{ $peers = append $peers (dict "ipBlock" (dict "cidr" .)) }}{{ end -}}
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
{{- range $name := keys .model.networkPolicy.egress | sortAlpha }}
{{- with get $.model.networkPolicy.egress $name }}
- {{ toYaml . | nindent 2 | trim }}
{{- end }}
{{- end }}
{{- end -}}
