{{- /*
Who reaches what. Declared helpers:
  model-gateway.egressRules  rules of a component's egress; takes (dict "root" . "component" NAME)
  model-gateway.modelPorts   ports of models and providers outside of the release, as JSON; the same. The activator has those that sleep
  model-gateway.asRole       whether the gateway signs requests as its ServiceAccount's role; takes the root
  model-gateway.portOf       port of a URL
  model-gateway.ports        all ports outside of the release, as JSON; the same
*/ -}}

{{- define "model-gateway.egressRules" -}}
{{ include "common.dnsRule" . }}
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
{{- range include "model-gateway.ports" . | fromJsonArray }}
- ports:
    - port: {{ int . }}
      protocol: TCP
{{- end }}
{{- if and (eq .component "gateway") (include "model-gateway.asRole" .root) }}
{{ include "common.podIdentityRule" .root }}
{{- end }}
{{- range $name, $rule := include "common.entries" .root.Values.networkPolicy.egress | fromJson }}
- {{ toYaml $rule | nindent 2 | trim }}
{{- end }}
{{- end -}}

{{- define "model-gateway.modelPorts" -}}
{{- $component := .component -}}
{{- $ports := list -}}
{{- if eq $component "gateway" -}}
{{- range $name, $provider := include "model-gateway.providers" .root | fromJson -}}
{{- $ports = append $ports (include "model-gateway.portOf" ($provider.url | default "https://") | int) -}}
{{- end -}}
{{- end -}}
{{- range $name, $model := include "common.entries" .root.Values.models | fromJson -}}
{{- if and $model.url (or (eq $component "gateway") $model.scaleToZero) -}}
{{- $ports = append $ports (include "model-gateway.portOf" $model.url | int) -}}
{{- end -}}
{{- end -}}
{{- toJson $ports -}}
{{- end -}}

{{- define "model-gateway.portOf" -}}
{{- $url := urlParse . -}}
{{- regexFind "[0-9]+$" (regexFind ":[0-9]+$" $url.host) | default (eq $url.scheme "https" | ternary "443" "80") -}}
{{- end -}}

{{- define "model-gateway.ports" -}}
{{- $ports := include "model-gateway.modelPorts" . | fromJsonArray -}}
{{- if eq .component "gateway" -}}
{{- with .root.Values -}}
{{- if .redis.host }}{{ $ports = append $ports (int .redis.port) }}{{ end -}}
{{- if .database.urlSecret.name }}{{ $ports = append $ports (int .database.port) }}{{ end -}}
{{- if .audit.s3.bucket }}{{ $ports = append $ports 443 }}{{ end -}}
{{- end -}}
{{- end -}}
{{- $numbers := list -}}
{{- range $ports }}{{ $numbers = append $numbers (int .) }}{{ end -}}
{{- toJson (uniq $numbers) -}}
{{- end -}}

{{- define "model-gateway.asRole" -}}
{{- if .Values.audit.s3.bucket }}true{{ end -}}
{{- range $name, $provider := include "model-gateway.providers" . | fromJson -}}
{{- if eq $provider.kind "bedrock" }}true{{ end -}}
{{- end -}}
{{- end -}}
