{{- /*
Names and labels. Declared helpers:
  common.name            name of the chart as a label value
  common.fullname        release and chart name: the stem of every object's name
  common.componentName   common.fullname with a suffix, cut so that the suffix survives
  common.siblingName     common.componentName of another chart of the release
  common.selectorLabels  what a selector may hold: name, instance, component
  common.labels          metadata labels: the selector's, and version, part-of, managed-by, chart
*/ -}}

{{- define "common.name" -}}
{{- .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- /* A Service's name is a DNS label: 63 characters. A release that already names the chart is not doubled. */ -}}
{{- define "common.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* Usage: include "common.componentName" (tuple . "config"). Two long names that differ at their ends stay two. */ -}}
{{- define "common.componentName" -}}
{{- if or (not (kindIs "slice" .)) (ne (len .) 2) -}}
{{- fail "common.componentName: call it with (tuple ROOT SUFFIX)" -}}
{{- end -}}
{{- $suffix := index . 1 -}}
{{- $stem := include "common.fullname" (index . 0) -}}
{{- $room := sub 62 (len $suffix) | int -}}
{{- if lt $room 1 -}}
{{- fail (printf "common.componentName: '%s' is longer than an object's name may be (61 characters)" $suffix) -}}
{{- end -}}
{{- printf "%s-%s" ($stem | trunc $room | trimSuffix "-") $suffix -}}
{{- end -}}

{{- /* Usage: include "common.siblingName" (tuple . CHART SUFFIX) */ -}}
{{- define "common.siblingName" -}}
{{- if or (not (kindIs "slice" .)) (ne (len .) 3) -}}
{{- fail "common.siblingName: call it with (tuple ROOT CHART SUFFIX)" -}}
{{- end -}}
{{- $chart := dict "Chart" (dict "Name" (index . 1)) "Release" (index . 0).Release -}}
{{- include "common.componentName" (tuple $chart (index . 2)) -}}
{{- end -}}

{{- /*
Usage: include "common.selectorLabels" (dict "root" . "component" "engine")
A selector is immutable, so nothing from values may enter it.
*/ -}}
{{- define "common.selectorLabels" -}}
{{- include "common.checkCall" (tuple "common.selectorLabels" . (list "root" "component")) -}}
app.kubernetes.io/name: {{ include "common.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- /*
Usage: include "common.labels" (dict "root" . "component" "engine" ["labels" MAP])
"labels" are a user's own; they cannot replace those of the suite.
*/ -}}
{{- define "common.labels" -}}
{{- include "common.checkCall" (tuple "common.labels" . (list "root" "component")) -}}
{{- $own := include "common.selectorLabels" (dict "root" .root "component" .component) | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/part-of" "genai-platform" -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" .root.Release.Service -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63) -}}
{{- if .root.Chart.AppVersion -}}
{{- $_ := set $own "app.kubernetes.io/version" .root.Chart.AppVersion -}}
{{- end -}}
{{- toYaml (merge $own (deepCopy (.labels | default dict))) -}}
{{- end -}}
