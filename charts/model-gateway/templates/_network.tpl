{{- /*
Who reaches what. Declared helpers:
  model-gateway.peers        peers of a map, as a list; takes (tuple MAP)
  model-gateway.egressRules  rules of a component's egress; takes (dict "root" . "component" NAME)
  model-gateway.ports        ports that the gateway connects to outside of the release, as JSON; takes the root
*/ -}}

{{- define "model-gateway.peers" -}}
{{- $peers := list -}}
{{- $entries := include "model-gateway.entries" . | fromJson -}}
{{- range $name := keys $entries | sortAlpha }}{{ $peers = append $peers (get $entries $name) }}{{ end -}}
{{- toYaml $peers -}}
{{- end -}}

{{- define "model-gateway.egressRules" -}}
- ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
- ports:
    - port: 8000
      protocol: TCP
  to:
    - podSelector:
        matchLabels:
          app.kubernetes.io/name: vllm
{{- if and (eq .component "gateway") .root.Values.activator.enabled }}
- ports:
    - port: 8080
      protocol: TCP
  to:
    - podSelector:
        matchLabels:
          {{- include "common.selectorLabels" (dict "root" .root "component" "activator") | nindent 10 }}
{{- end }}
{{- if eq .component "gateway" }}
{{- range include "model-gateway.ports" .root | fromJsonArray }}
- ports:
    - port: {{ int . }}
      protocol: TCP
{{- end }}
{{- if .root.Values.audit.s3.bucket }}
{{ include "common.podIdentityRule" .root }}
{{- end }}
{{- end }}
{{- range $name, $rule := include "model-gateway.entries" (tuple .root.Values.networkPolicy.egress) | fromJson }}
- {{ toYaml $rule | nindent 2 | trim }}
{{- end }}
{{- end -}}

{{- define "model-gateway.ports" -}}
{{- $ports := list -}}
{{- range $name, $model := include "model-gateway.entries" (tuple .Values.models) | fromJson -}}
{{- with $model.url -}}
{{- $url := urlParse . -}}
{{- $ports = append $ports (regexFind "[0-9]+$" (regexFind ":[0-9]+$" $url.host) | default (eq $url.scheme "https" | ternary "443" "80") | int) -}}
{{- end -}}
{{- end -}}
{{- if .Values.redis.host }}{{ $ports = append $ports (int .Values.redis.port) }}{{ end -}}
{{- if .Values.database.urlSecret.name }}{{ $ports = append $ports (int .Values.database.port) }}{{ end -}}
{{- if .Values.audit.s3.bucket }}{{ $ports = append $ports 443 }}{{ end -}}
{{- toJson (uniq $ports) -}}
{{- end -}}
