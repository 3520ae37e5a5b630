{{- /*
How helpers are called, and the globals. Declared helpers:
  common.checkCall   fails when a helper was called without an argument that it needs
  common.global      one string of .Values.global, empty when unset
  common.autoMode    "true" when EKS Auto Mode runs the nodes, else empty
*/ -}}

{{- /* Usage: include "common.checkCall" (tuple HELPER ARGUMENTS (list KEY...)) */ -}}
{{- define "common.checkCall" -}}
{{- $helper := index . 0 -}}
{{- $arguments := index . 1 -}}
{{- $keys := index . 2 -}}
{{- if not (kindIs "map" $arguments) -}}
{{- fail (printf "%s: call it with (dict) of %s, not with a %s" $helper (join ", " $keys) (kindOf $arguments)) -}}
{{- end -}}
{{- range $key := $keys -}}
{{- if not (hasKey $arguments $key) -}}
{{- fail (printf "%s: the call lacks %s" $helper $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Usage: include "common.global" (tuple . "storageClass"). A chart installed alone may have no globals at all. */ -}}
{{- define "common.global" -}}
{{- if or (not (kindIs "slice" .)) (ne (len .) 2) -}}
{{- fail "common.global: call it with (tuple ROOT KEY)" -}}
{{- end -}}
{{- get ((index . 0).Values.global | default dict) (index . 1) -}}
{{- end -}}

{{- define "common.autoMode" -}}
{{- if eq true (dig "autoMode" "enabled" false (.Values.global | default dict)) -}}true{{- end -}}
{{- end -}}
