{{- /*
What the pods of the gateway and of the activator have in common. Declared helpers:
  model-gateway.podSpec      (dict "root" . "component" NAME) account, priority, nodes, security
  model-gateway.podMetadata  (dict "root" . "component" NAME "port" PORT) labels and annotations
  model-gateway.volumes      volumes of settings, catalogue, code and scratch space; takes the root
  model-gateway.mounts       where they are mounted
  model-gateway.modelKeys    keys by the name of the Secret, those of modelKeySecrets and of providers, as JSON; takes the root
*/ -}}

{{- define "model-gateway.podSpec" -}}
{{- $values := .root.Values -}}
{{- with include "common.imagePullSecrets" .root }}{{ . }}
{{ end -}}
serviceAccountName: {{ include "model-gateway.name" .root }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with $values.scheduling.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
terminationGracePeriodSeconds: {{ add (int64 $values.shutdown.preStopSeconds) (int64 $values.shutdown.drainSeconds) 15 }}
securityContext:
  {{- include "common.podSecurityContext" dict | nindent 2 }}
{{- $nodeSelector := deepCopy $values.scheduling.nodeSelector -}}
{{- with $values.scheduling.architecture }}{{ $_ := set $nodeSelector "kubernetes.io/arch" . }}{{ end }}
{{- with $nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "common.entries" $values.scheduling.tolerations | fromJson }}
tolerations:
{{- range $toleration := . }}
  - {{ toYaml $toleration | nindent 4 | trim }}
{{- end }}
{{- end }}
{{- with include "common.entries" $values.scheduling.topologySpread | fromJson }}
topologySpreadConstraints:
{{- range $label, $constraint := . }}
  - topologyKey: {{ $label }}
    maxSkew: {{ int $constraint.maxSkew }}
    whenUnsatisfiable: {{ $constraint.whenUnsatisfiable }}
    matchLabelKeys: [pod-template-hash]
    labelSelector:
      matchLabels:
        {{- include "common.selectorLabels" (dict "root" $.root "component" $.component) | nindent 8 }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "model-gateway.podMetadata" -}}
labels:
  {{- include "common.selectorLabels" (dict "root" .root "component" .component) | nindent 2 }}
  app.kubernetes.io/part-of: genai-platform
annotations:
  checksum/settings: {{ include "model-gateway.settings" .root | sha256sum | trunc 16 }}
  checksum/code: {{ (.root.Files.Glob "files/*.py").AsConfig | sha256sum | trunc 16 }}
  {{- if .root.Values.metrics.annotate }}
  prometheus.io/scrape: "true"
  prometheus.io/port: {{ .port | quote }}
  prometheus.io/path: /metrics
  {{- end }}
{{- end -}}

{{- define "model-gateway.volumes" -}}
- name: code
  configMap:
    name: {{ include "model-gateway.codeName" . }}
- name: settings
  configMap:
    name: {{ include "model-gateway.name" . }}
- name: catalogue
  configMap:
    name: {{ include "model-gateway.catalogueName" . }}
    optional: true
- name: tmp
  emptyDir:
    sizeLimit: 1Gi
{{- end -}}

{{- define "model-gateway.mounts" -}}
- name: code
  mountPath: /opt/gateway
  readOnly: true
- name: settings
  mountPath: /etc/gateway/settings
  readOnly: true
- name: catalogue
  mountPath: /etc/gateway/catalogue
  readOnly: true
- name: tmp
  mountPath: /tmp
{{- end -}}

{{- define "model-gateway.modelKeys" -}}
{{- $secrets := include "common.entries" .Values.modelKeySecrets | fromJson -}}
{{- range $name, $provider := include "model-gateway.providers" . | fromJson -}}
{{- $secret := $provider.apiKeySecret | default dict -}}
{{- with $secret.name }}{{ $_ := set $secrets . (append (get $secrets . | default list) $secret.key | uniq) }}{{ end -}}
{{- end -}}
{{- toJson $secrets -}}
{{- end -}}
