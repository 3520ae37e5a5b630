{{- /*
The proxy's Service. Declared helpers:
  jupyterhub.serviceAnnotations  its annotations, as JSON
*/ -}}

{{- define "jupyterhub.serviceAnnotations" -}}
{{- $service := .Values.proxy.service -}}
{{- $annotations := dict -}}
{{- if eq $service.type "LoadBalancer" -}}
{{- $prefix := "service.beta.kubernetes.io/aws-load-balancer" -}}
{{- $_ := set $annotations (printf "%s-scheme" $prefix) $service.loadBalancer.scheme -}}
{{- $_ := set $annotations (printf "%s-nlb-target-type" $prefix) "ip" -}}
{{- $_ := set $annotations (printf "%s-healthcheck-protocol" $prefix) "http" -}}
{{- $_ := set $annotations (printf "%s-healthcheck-path" $prefix) "/_chp_healthz" -}}
{{- with $service.loadBalancer.certificateArn -}}
{{- $_ := set $annotations (printf "%s-ssl-cert" $prefix) . -}}
{{- $_ := set $annotations (printf "%s-ssl-ports" $prefix) (toString (int $service.port)) -}}
{{- end -}}
{{- $tags := list -}}
{{- range $name, $value := (.Values.global | default dict).tags | default dict -}}
{{- $tags = append $tags (printf "%s=%s" $name $value) -}}
{{- end -}}
{{- with $tags }}{{ $_ := set $annotations (printf "%s-additional-resource-tags" $prefix) (join "," .) }}{{ end -}}
{{- end -}}
{{- include "common.merge" (tuple $service.annotations $annotations) -}}
{{- end -}}
