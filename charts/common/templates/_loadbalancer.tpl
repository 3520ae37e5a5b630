{{- /*
Services that a Network Load Balancer serves. SERVICE is a map of values: type, port, annotations, and loadBalancer with
scheme, sourceRanges and certificateArn. Declared helpers:
  common.loadBalancer.annotations  annotations of the Service, a user's own among them, as JSON
  common.loadBalancer.ranges       address ranges that may reach it, as a JSON list; takes SERVICE
  common.loadBalancer.class        controller of the load balancer; takes the root
  common.loadBalancer.check        fails when the internet could reach it without a list of addresses
*/ -}}

{{- /* Usage: include "common.loadBalancer.annotations" (dict "root" . "service" SERVICE "healthPath" PATH) */ -}}
{{- define "common.loadBalancer.annotations" -}}
{{- include "common.checkCall" (tuple "common.loadBalancer.annotations" . (list "root" "service" "healthPath")) -}}
{{- $annotations := dict -}}
{{- if eq .service.type "LoadBalancer" -}}
{{- $prefix := "service.beta.kubernetes.io/aws-load-balancer" -}}
{{- $_ := set $annotations (printf "%s-scheme" $prefix) .service.loadBalancer.scheme -}}
{{- $_ := set $annotations (printf "%s-nlb-target-type" $prefix) "ip" -}}
{{- $_ := set $annotations (printf "%s-healthcheck-protocol" $prefix) "http" -}}
{{- $_ := set $annotations (printf "%s-healthcheck-path" $prefix) .healthPath -}}
{{- with .service.loadBalancer.certificateArn -}}
{{- $_ := set $annotations (printf "%s-ssl-cert" $prefix) . -}}
{{- $_ := set $annotations (printf "%s-ssl-ports" $prefix) (toString (int $.service.port)) -}}
{{- end -}}
{{- $tags := list -}}
{{- range $name, $value := (.root.Values.global | default dict).tags | default dict -}}
{{- $tags = append $tags (printf "%s=%s" $name $value) -}}
{{- end -}}
{{- with $tags }}{{ $_ := set $annotations (printf "%s-additional-resource-tags" $prefix) (join "," .) }}{{ end -}}
{{- end -}}
{{- include "common.merge" (tuple .service.annotations $annotations) -}}
{{- end -}}

{{- define "common.loadBalancer.class" -}}
{{- empty (include "common.autoMode" .) | ternary "service.k8s.aws/nlb" "eks.amazonaws.com/nlb" -}}
{{- end -}}

{{- define "common.loadBalancer.ranges" -}}
{{- include "common.entryList" .loadBalancer.sourceRanges -}}
{{- end -}}

{{- /*
Usage: include "common.loadBalancer.check" (dict "key" KEY "service" SERVICE "reaches" TEXT)
KEY is where SERVICE stands in the values.
*/ -}}
{{- define "common.loadBalancer.check" -}}
{{- include "common.checkCall" (tuple "common.loadBalancer.check" . (list "key" "service" "reaches")) -}}
{{- if and (eq .service.type "LoadBalancer") (eq .service.loadBalancer.scheme "internet-facing") -}}
{{- $ranges := include "common.loadBalancer.ranges" .service | fromJsonArray -}}
{{- if not $ranges -}}
{{- fail (printf "%s.loadBalancer.sourceRanges: internet-facing needs the address ranges that may reach the %s: set them, or scheme to internal" .key .reaches) -}}
{{- end -}}
{{- range $ranges -}}
{{- include "common.checkNotTheWorld" (tuple (printf "%s.loadBalancer.sourceRanges" $.key) . (printf "set the ranges of those who use the %s, or scheme to internal" $.reaches)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
