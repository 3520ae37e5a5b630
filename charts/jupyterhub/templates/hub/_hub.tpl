{{- /*
The hub's pod. Declared helpers:
  jupyterhub.hubZone         zone of a hub whose volume is tied to one, or nothing
  jupyterhub.hubEnvironment  env of the container
  jupyterhub.hubProbe        what its probes ask
*/ -}}

{{- define "jupyterhub.hubZone" -}}
{{- if and (eq .Values.hub.db.type "sqlite-pvc") (eq .Values.hub.db.pvc.accessMode "ReadWriteOnce") -}}
{{- $zones := (.Values.global | default dict).zones | default list -}}
{{- .Values.scheduling.corePods.zone | default (first (append $zones "")) -}}
{{- end -}}
{{- end -}}

{{- define "jupyterhub.hubEnvironment" -}}
{{- $secrets := dict "CONFIGPROXY_AUTH_TOKEN" "hub.config.ConfigurableHTTPProxy.auth_token" "JPY_COOKIE_SECRET" "hub.config.JupyterHub.cookie_secret" -}}
{{- if has .Values.hub.authenticator.type (list "oidc" "github") -}}
{{- $_ := set $secrets "OAUTH_CLIENT_ID" "client_id" -}}
{{- $_ := set $secrets "OAUTH_CLIENT_SECRET" "client_secret" -}}
{{- end -}}
{{- if eq .Values.hub.db.type "postgres" }}{{ $_ := set $secrets "PGPASSWORD" "hub.db.password" }}{{ end -}}
{{- if eq .Values.hub.db.type "mysql" }}{{ $_ := set $secrets "MYSQL_PWD" "hub.db.password" }}{{ end -}}
{{- $own := concat (keys $secrets) (list "JUPYTERHUB_CRYPT_KEY" "POD_NAMESPACE" "PYTHONUNBUFFERED") -}}
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: PYTHONUNBUFFERED
  value: "1"
{{- range $name := keys $secrets | sortAlpha }}
- name: {{ $name }}
  valueFrom:
    secretKeyRef:
      name: {{ $.Values.hub.existingSecret }}
      key: {{ get $secrets $name }}
{{- end }}
# Only a hub that keeps authentication state needs it.
- name: JUPYTERHUB_CRYPT_KEY
  valueFrom:
    secretKeyRef:
      name: {{ .Values.hub.existingSecret }}
      key: hub.config.CryptKeeper.keys
      optional: true
{{- with include "common.environment" (dict "key" "hub.extraEnv" "variables" .Values.hub.extraEnv "own" $own) | fromYamlArray }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "jupyterhub.hubProbe" -}}
httpGet:
  path: {{ .Values.hub.baseUrl }}hub/health
  port: http
{{- end -}}
