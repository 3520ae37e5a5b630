{{- /*
Tenants and head-room, with what they start from. Declared helpers:
  tenancy.contexts        entries of a map with defaults below, as JSON: a list of NAME and ENTRY; takes (tuple DEFAULTS MAP)
  tenancy.namespace       namespace of a tenant; takes (dict "name" NAME "entry" TENANT)
  tenancy.tenantLabels    labels of a tenant's objects; takes (dict "root" . "name" NAME)
*/ -}}

{{- define "tenancy.contexts" -}}
{{- $defaults := index . 0 -}}
{{- $contexts := list -}}
{{- range $name, $own := index . 1 -}}
{{- if not (kindIs "invalid" $own) -}}
{{- $entry := include "common.merge" (tuple $defaults $own) | fromJson -}}
{{- if $entry.enabled }}{{ $contexts = append $contexts (dict "name" $name "entry" $entry) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- toJson $contexts -}}
{{- end -}}

{{- define "tenancy.namespace" -}}
{{- .entry.namespace | default .name -}}
{{- end -}}

{{- define "tenancy.tenantLabels" -}}
{{- include "common.labels" (dict "root" .root "component" "tenant" "labels" (dict "drydock.dev/tenant" .name)) -}}
{{- end -}}
