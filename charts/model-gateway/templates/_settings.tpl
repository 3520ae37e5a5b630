{{- /*
What the Python files read. Declared helpers, each for the root:
  model-gateway.settings  settings.json
  model-gateway.check     fails on what the schema cannot say
*/ -}}

{{- define "model-gateway.settings" -}}
{{- include "model-gateway.check" . -}}
{{- $values := .Values -}}
{{- $s3 := merge (dict "region" ($values.audit.s3.region | default (include "common.global" (tuple . "region")))) $values.audit.s3 -}}
{{- $activator := pick $values.activator "holdSeconds" "maxHeldRequests" "maxHeldMebibytes" "maxBodyMebibytes" -}}
{{- $_ := set $activator "drainSeconds" $values.shutdown.drainSeconds -}}
{{- $_ := set $activator "url" (printf "http://%s.%s:8080" (include "model-gateway.activatorName" .) .Release.Namespace) -}}
{{- $settings := dict "activator" $activator "retries" $values.retries "timeoutSeconds" $values.timeoutSeconds -}}
{{- $_ := set $settings "audit" (dict "stdout" $values.audit.stdout "content" $values.audit.content "s3" $s3) -}}
{{- $_ := set $settings "models" (include "model-gateway.models" . | fromJson) -}}
{{- with $values.dataRegions }}{{ $_ := set $settings "dataRegions" . }}{{ end -}}
{{- $_ := set $settings "keys" (include "common.entries" $values.keys | fromJson) -}}
{{- $_ := set $settings "redis" (pick $values.redis "host" "port" "tls") -}}
{{- $_ := set $settings "database" (not (empty $values.database.urlSecret.name)) -}}
{{- $_ := set $settings "replicas" (int $values.replicas) -}}
{{- $_ := set $settings "share" (empty $values.redis.host | ternary (int $values.replicas) 1) -}}
{{- toPrettyJson $settings -}}
{{- end -}}

{{- define "model-gateway.check" -}}
{{- $values := .Values -}}
{{- $keys := include "common.entries" $values.keys | fromJson -}}
{{- if and $keys $values.database.urlSecret.name -}}
{{- fail "keys: with a database LiteLLM keeps the keys there, and these would not count: make them at /key/generate, or leave database.urlSecret.name empty" -}}
{{- end -}}
{{- range $kind, $entries := dict "keys" $keys "models" (include "common.entries" $values.models | fromJson) -}}
{{- range $name, $entry := $entries -}}
{{- if and $entry.budget (not $values.redis.host) -}}
{{- fail (printf "%s.%s.budget: what is spent would be forgotten with the pod that counted it: set redis.host" $kind $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $name, $model := include "common.entries" $values.models | fromJson -}}
{{- $secret := ($model.apiKeySecret | default dict) -}}
{{- if and $secret.name (not (has $secret.key (get $values.modelKeySecrets $secret.name | default list))) -}}
{{- fail (printf "models.%s.apiKeySecret: the key is not mounted: set modelKeySecrets.%s to [%s]" $name $secret.name $secret.key) -}}
{{- end -}}
{{- if and $model.scaleToZero (not $values.activator.enabled) -}}
{{- fail (printf "models.%s.scaleToZero: nothing would hold its requests: set activator.enabled" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
