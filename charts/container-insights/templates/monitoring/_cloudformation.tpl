{{- /*
The template of CloudFormation. Declared helpers:
  container-insights.alarmResource   an AWS::CloudWatch::Alarm, as JSON; takes (dict "root" . "name" NAME "alarm" ALARM)
  container-insights.widget          a widget of the dashboard, as JSON; takes (dict "root" . "panel" PANEL "series" SERIES "index" N)
  container-insights.cloudFormation  the whole template, as JSON; takes the root
*/ -}}

{{- define "container-insights.alarmResource" -}}
{{- $alarm := .alarm -}}
{{- $period := int ($alarm.period | default 60) -}}
{{- $count := div (add (mul 60 (int $alarm.minutes)) $period -1) $period -}}
{{- $properties := dict
      "AlarmName" (printf "%s-%s" (include "container-insights.clusterName" .root) .name)
      "AlarmDescription" $alarm.description
      "ComparisonOperator" (ternary "GreaterThanThreshold" "LessThanThreshold" $alarm.above)
      "Threshold" $alarm.threshold
      "EvaluationPeriods" $count
      "DatapointsToAlarm" $count
      "TreatMissingData" "notBreaching"
      "Metrics" (include "container-insights.metricQueries" . | fromJsonArray) -}}
{{- with .root.Values.alarms.topicArn -}}
{{- $_ := set $properties "AlarmActions" (list .) -}}
{{- $_ := set $properties "OKActions" (list .) -}}
{{- end -}}
{{- dict "Type" "AWS::CloudWatch::Alarm" "Properties" $properties | toJson -}}
{{- end -}}

{{- define "container-insights.widget" -}}
{{- $root := .root -}}
{{- $panel := .panel -}}
{{- $cluster := include "container-insights.clusterName" $root -}}
{{- $namespace := $root.Values.collector.metricsNamespace -}}
{{- $metrics := list -}}
{{- if $panel.alarm -}}
{{- $alarm := get (include "container-insights.alarmData" $root | fromJson) $panel.alarm -}}
{{- range $id := keys $alarm.metrics | sortAlpha -}}
{{- $each := get $alarm.metrics $id -}}
{{- $metrics = append $metrics (list $namespace $each.metric "ClusterName" $cluster (dict "id" $id "stat" $each.statistic "visible" false)) -}}
{{- end -}}
{{- $expression := include "container-insights.expression" (dict "root" $root "alarm" $alarm) -}}
{{- $metrics = append $metrics (list (dict "id" "result" "expression" $expression "label" $panel.title)) -}}
{{- else if and $panel.by (has $panel.by (get .series $panel.metric)) -}}
{{- $dimensions := get .series $panel.metric | join "," -}}
{{- $search := printf "SEARCH('{%s,ClusterName,%s} MetricName=\"%s\" ClusterName=\"%s\"', '%s', 60)" $namespace $dimensions $panel.metric $cluster $panel.statistic -}}
{{- $metrics = append $metrics (list (dict "id" "result" "expression" $search "label" (printf "${PROP('Dim.%s')}" $panel.by))) -}}
{{- else -}}
{{- $metrics = append $metrics (list $namespace $panel.metric "ClusterName" $cluster (dict "id" "result" "stat" $panel.statistic)) -}}
{{- end -}}
{{- $properties := dict "title" $panel.title "view" "timeSeries" "stacked" false "region" (include "container-insights.region" $root) "period" (ternary 3600 60 (not (empty $panel.alarm))) "metrics" $metrics -}}
{{- dict "type" "metric" "x" (mul 8 (mod .index 3)) "y" (mul 6 (div .index 3)) "width" 8 "height" 6 "properties" $properties | toJson -}}
{{- end -}}

{{- define "container-insights.cloudFormation" -}}
{{- $series := include "container-insights.series" . | fromJson -}}
{{- $resources := dict -}}
{{- range $name, $alarm := include "container-insights.alarms" . | fromJson -}}
{{- if include "container-insights.isSent" (dict "series" $series "metrics" (values $alarm.metrics)) -}}
{{- $id := printf "%sAlarm" ($name | replace "-" " " | title | replace " " "") -}}
{{- $_ := set $resources $id (include "container-insights.alarmResource" (dict "root" $ "name" $name "alarm" $alarm) | fromJson) -}}
{{- end -}}
{{- end -}}
{{- $data := include "container-insights.alarmData" . | fromJson -}}
{{- $widgets := list -}}
{{- range $panel := .Files.Get "files/dashboard.yaml" | fromYamlArray -}}
{{- $metrics := list $panel -}}
{{- with $panel.alarm }}{{ $metrics = values (get $data .).metrics }}{{ end -}}
{{- if include "container-insights.isSent" (dict "series" $series "metrics" $metrics) -}}
{{- $widgets = append $widgets (include "container-insights.widget" (dict "root" $ "panel" $panel "series" $series "index" (len $widgets)) | fromJson) -}}
{{- end -}}
{{- end -}}
{{- if $widgets -}}
{{- $name := printf "%s-models" (include "container-insights.clusterName" .) -}}
{{- $properties := dict "DashboardName" $name "DashboardBody" (dict "widgets" $widgets | toJson) -}}
{{- $_ := set $resources "Dashboard" (dict "Type" "AWS::CloudWatch::Dashboard" "Properties" $properties) -}}
{{- end -}}
{{- dict "AWSTemplateFormatVersion" "2010-09-09" "Description" (printf "Alarms and dashboard of the models on %s" (include "container-insights.clusterName" .)) "Resources" $resources | toPrettyJson -}}
{{- end -}}
