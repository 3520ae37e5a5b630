{{- /*
Environment of LiteLLM. Declared helpers, each for the root:
  model-gateway.environment  env of the container
  model-gateway.masterKey    the master key, from which the activator derives what the gateway shows to it
*/ -}}

{{- define "model-gateway.masterKey" -}}
- name: LITELLM_MASTER_KEY
  valueFrom:
    secretKeyRef:
      name: {{ .Values.masterKeySecret.name }}
      key: {{ .Values.masterKeySecret.key }}
{{- end -}}

{{- define "model-gateway.environment" -}}
- name: HOME
  value: /tmp
- name: LITELLM_MODE
  value: PRODUCTION
{{- /* It would fetch prices of models from the internet. */}}
- name: LITELLM_LOCAL_MODEL_COST_MAP
  value: "True"
- name: DISABLE_ADMIN_UI
  value: "True"
- name: NO_DOCS
  value: "True"
- name: NO_REDOC
  value: "True"
- name: NO_OPENAPI
  value: "True"
{{ include "model-gateway.masterKey" . }}
{{- with .Values.redis.passwordSecret }}
{{- if and $.Values.redis.host .name }}
- name: REDIS_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ .name }}
      key: {{ .key }}
{{- end }}
{{- end }}
{{- with .Values.database.urlSecret }}
{{- if .name }}
- name: DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ .name }}
      key: {{ .key }}
- name: LITELLM_MIGRATION_DIR
  value: /tmp/migrations
{{- end }}
{{- end }}
{{- end -}}
