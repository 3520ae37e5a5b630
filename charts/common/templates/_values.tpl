{{- /*
Values. Declared helpers:
  common.merge         one map over another, every type of value taken as it is
  common.entries       entries of a map that are not null, as JSON; takes the map
  common.entryList     the same as a list, in the order of their names
  common.scalar        a value as text, whole numbers without an exponent
  common.enabledNames  names of a map whose value is true, in their order, as a JSON list; takes the map
*/ -}}

{{- define "common.entries" -}}
{{- $entries := dict -}}
{{- range $name, $entry := . -}}
{{- if not (kindIs "invalid" $entry) }}{{ $_ := set $entries $name $entry }}{{ end -}}
{{- end -}}
{{- toJson $entries -}}
{{- end -}}

{{- define "common.entryList" -}}
{{- $entries := list -}}
{{- range $name, $entry := . -}}
{{- if not (kindIs "invalid" $entry) }}{{ $entries = append $entries $entry }}{{ end -}}
{{- end -}}
{{- toJson $entries -}}
{{- end -}}

{{- /* Helm hands numbers over as floating point, which would print 1000000 as 1e+06. */ -}}
{{- define "common.scalar" -}}
{{- if kindIs "float64" . -}}
{{- if eq (floor .) . }}{{ int64 . }}{{ else }}{{ . }}{{ end -}}
{{- else -}}
{{- . -}}
{{- end -}}
{{- end -}}

{{- define "common.enabledNames" -}}
{{- $names := list -}}
{{- range $name, $enabled := . -}}
{{- if and (kindIs "bool" $enabled) $enabled }}{{ $names = append $names $name }}{{ end -}}
{{- end -}}
{{- toJson $names -}}
{{- end -}}

{{- /*
Usage: include "common.merge" (tuple BASE OVERLAY) | fromJson
Maps merge key by key; anything else in OVERLAY replaces BASE, and null removes. Sprig's mergeOverwrite would drop a
false, a 0 and an empty list of OVERLAY.
*/ -}}
{{- define "common.merge" -}}
{{- if or (not (kindIs "slice" .)) (ne (len .) 2) -}}
{{- fail "common.merge: call it with (tuple BASE OVERLAY)" -}}
{{- end -}}
{{- $merged := deepCopy (index . 0 | default dict) -}}
{{- range $key, $value := index . 1 | default dict -}}
{{- $old := get $merged $key -}}
{{- if kindIs "invalid" $value -}}
{{- $_ := unset $merged $key -}}
{{- else if and (kindIs "map" $value) (kindIs "map" $old) -}}
{{- $_ := set $merged $key (include "common.merge" (tuple $old $value) | fromJson) -}}
{{- else -}}
{{- $_ := set $merged $key $value -}}
{{- end -}}
{{- end -}}
{{- toJson $merged -}}
{{- end -}}
