{{- /*
Environment of containers. Declared helpers:
  common.environment  variables of a map of values, as a list of env
*/ -}}

{{- /*
Usage: include "common.environment" (dict "key" KEY "variables" MAP "own" LIST)
KEY is where MAP stands in the values; LIST holds the variables that the chart sets itself. A value is plain, or
{secret: NAME, key: KEY}; a name that is a credential's must be the latter.
*/ -}}
{{- define "common.environment" -}}
{{- include "common.checkCall" (tuple "common.environment" . (list "key" "variables" "own")) -}}
{{- $environment := list -}}
{{- range $name, $value := .variables -}}
{{- if has $name $.own -}}
{{- fail (printf "%s.%s: the chart sets this variable itself" $.key $name) -}}
{{- end -}}
{{- if kindIs "map" $value -}}
{{- $environment = append $environment (dict "name" $name "valueFrom" (dict "secretKeyRef" (dict "name" $value.secret "key" $value.key))) -}}
{{- else if not (kindIs "invalid" $value) -}}
{{- include "common.checkNoCredential" (tuple (printf "%s.%s" $.key $name) $name $value "put it into a Secret and set {secret: NAME, key: KEY}") -}}
{{- $environment = append $environment (dict "name" $name "value" (include "common.scalar" $value)) -}}
{{- end -}}
{{- end -}}
{{- with $environment }}{{ toYaml . }}{{ end -}}
{{- end -}}
