{{- /*
Alarms and dashboard, made of files/alarms.yaml and files/dashboard.yaml. Each gives JSON and takes the root, if nothing else
is said.
  container-insights.alarmData    every alarm of the file, with the prices that are set
  container-insights.alarms       the alarms that are on and whose metrics are sent, each with `threshold` and `minutes`
  container-insights.panels       the panels whose metrics are sent to CloudWatch
  container-insights.metricQueries  queries of an alarm's metrics; takes (dict "root" . "alarm" ALARM)
  container-insights.expression   metric math of an alarm; takes the same
*/ -}}

{{- define "container-insights.alarmData" -}}
{{- $dollars := float64 .Values.alarms.dollarsPerHour -}}
{{- $all := dict -}}
{{- range $name, $alarm := .Files.Get "files/alarms.yaml" | fromYaml -}}
{{- $own := omit $alarm "fixed" -}}
{{- if and $alarm.fixed (gt $dollars 0.0) -}}
{{- $fixed := $alarm.fixed -}}
{{- $own = mergeOverwrite (omit $own "metrics") (dict
      "metrics" $fixed.metrics
      "expression" ($fixed.expression | replace "DOLLARS" (toString $dollars))
      "promql" ($fixed.promql | replace "DOLLARS" (toString $dollars))) -}}
{{- end -}}
{{- $_ := set $all $name $own -}}
{{- end -}}
{{- toJson $all -}}
{{- end -}}

{{- define "container-insights.alarms" -}}
{{- $data := include "container-insights.alarmData" . | fromJson -}}
{{- $alarms := dict -}}
{{- range $name, $entry := include "common.entries" .Values.alarms.entries | fromJson -}}
{{- if not (hasKey $data $name) -}}
{{- fail (printf "container-insights: alarms.entries.%s is no alarm of files/alarms.yaml, which has %s" $name (keys $data | sortAlpha | join ", ")) -}}
{{- end -}}
{{- if $entry.enabled }}{{ $_ := set $alarms $name (merge (dict) (get $data $name) $entry) }}{{ end -}}
{{- end -}}
{{- toJson $alarms -}}
{{- end -}}

{{- define "container-insights.isSent" -}}
{{- $series := .series -}}
{{- $sent := true -}}
{{- range .metrics }}{{ if not (hasKey $series .metric) }}{{ $sent = false }}{{ end }}{{ end -}}
{{- if $sent }}true{{ end -}}
{{- end -}}

{{- define "container-insights.metricQueries" -}}
{{- $root := .root -}}
{{- $cluster := list (dict "Name" "ClusterName" "Value" (include "container-insights.clusterName" $root)) -}}
{{- $queries := list -}}
{{- $alarm := .alarm -}}
{{- range $id := keys $alarm.metrics | sortAlpha -}}
{{- $each := get $alarm.metrics $id -}}
{{- $metric := dict "Namespace" $root.Values.collector.metricsNamespace "MetricName" $each.metric "Dimensions" $cluster -}}
{{- $stat := dict "Metric" $metric "Period" (int ($alarm.period | default 60)) "Stat" $each.statistic -}}
{{- $queries = append $queries (dict "Id" $id "MetricStat" $stat "ReturnData" (not $alarm.expression)) -}}
{{- end -}}
{{- with include "container-insights.expression" . -}}
{{- $queries = append $queries (dict "Id" "result" "Expression" . "ReturnData" true) -}}
{{- end -}}
{{- toJson $queries -}}
{{- end -}}

{{- define "container-insights.expression" -}}
{{- with .alarm.expression }}{{ replace "INTERVAL" (toString $.root.Values.collector.intervalSeconds) . }}{{ end -}}
{{- end -}}
