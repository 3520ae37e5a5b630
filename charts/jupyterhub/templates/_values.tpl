{{- /*
Values in the shapes that objects need. Declared helpers:
  jupyterhub.chosen       names of a map whose value is true, as a JSON list
  jupyterhub.entries      values of a map that are not null, in the order of their names, as a JSON list
  jupyterhub.environment  env of a container from a map; takes (tuple KEY MAP OWN), OWN the names that the chart sets
  jupyterhub.corePod      what the pods of hub and proxy have in common
  jupyterhub.loadBalanced "true" when a load balancer in the VPC passes requests on
*/ -}}

{{- define "jupyterhub.chosen" -}}
{{- $chosen := list -}}
{{- range $name := keys . | sortAlpha -}}
{{- if eq true (get $ $name) }}{{ $chosen = append $chosen $name }}{{ end -}}
{{- end -}}
{{- toJson $chosen -}}
{{- end -}}

{{- define "jupyterhub.entries" -}}
{{- $entries := list -}}
{{- range $name := keys . | sortAlpha -}}
{{- $entry := get $ $name -}}
{{- if not (kindIs "invalid" $entry) }}{{ $entries = append $entries $entry }}{{ end -}}
{{- end -}}
{{- toJson $entries -}}
{{- end -}}

{{- define "jupyterhub.environment" -}}
{{- $key := index . 0 -}}
{{- $variables := index . 1 -}}
{{- $own := index . 2 -}}
{{- $environment := list -}}
{{- range $name := keys $variables | sortAlpha -}}
{{- $value := get $variables $name -}}
{{- if has $name $own -}}
{{- fail (printf "%s.%s: the chart sets this variable itself" $key $name) -}}
{{- end -}}
{{- if kindIs "map" $value -}}
{{- $environment = append $environment (dict "name" $name "valueFrom" (dict "secretKeyRef" (dict "name" $value.secret "key" $value.key))) -}}
{{- else if not (kindIs "invalid" $value) -}}
{{- include "common.checkNoCredential" (tuple (printf "%s.%s" $key $name) $name $value "put it into a Secret and set {secret: NAME, key: KEY}") -}}
{{- $environment = append $environment (dict "name" $name "value" (toString $value)) -}}
{{- end -}}
{{- end -}}
{{- toYaml $environment -}}
{{- end -}}

{{- /* Usage: include "jupyterhub.corePod" (dict "root" . "zone" ZONE); an empty ZONE takes any. */ -}}
{{- define "jupyterhub.corePod" -}}
{{- $core := .root.Values.scheduling.corePods -}}
{{- $nodeSelector := deepCopy $core.nodeSelector -}}
{{- with .zone }}{{ $_ := set $nodeSelector "topology.kubernetes.io/zone" . }}{{ end -}}
enableServiceLinks: false
{{- with include "common.imagePullSecrets" .root }}
{{ . }}
{{- end }}
{{- with $core.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "jupyterhub.entries" $core.tolerations | fromJsonArray }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "jupyterhub.loadBalanced" -}}
{{- if or .Values.ingress.enabled (eq .Values.proxy.service.type "LoadBalancer") -}}true{{- end -}}
{{- end -}}
