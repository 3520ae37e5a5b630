{{- /*
Declared helpers:
  vllm.metrics   metrics of the HorizontalPodAutoscaler; takes a model's context
*/ -}}

{{- define "vllm.metrics" -}}
{{- $metrics := list -}}
{{- range $name := keys .model.autoscaling.metrics | sortAlpha -}}
{{- with get $.model.autoscaling.metrics $name -}}
{{- $key := printf "models.%s.autoscaling.metrics.%s" $.name $name -}}
{{- if and (ne .type "Resource") (not .averageValue) -}}
{{- fail (printf "%s: a metric of %s is compared with a value for each pod: set averageValue" $key .type) -}}
{{- end -}}
{{- $target := dict -}}
{{- if .averageUtilization -}}
{{- if ne .type "Resource" -}}
{{- fail (printf "%s.averageUtilization: only a Resource has a utilization: set averageValue alone" $key) -}}
{{- end -}}
{{- $target = dict "type" "Utilization" "averageUtilization" (int .averageUtilization) -}}
{{- else -}}
{{- $target = dict "type" "AverageValue" "averageValue" (.averageValue | required (printf "%s: set averageValue or averageUtilization" $key)) -}}
{{- end -}}
{{- if eq .type "Resource" -}}
{{- $metrics = append $metrics (dict "type" "Resource" "resource" (dict "name" .metric "target" $target)) -}}
{{- else -}}
{{- $metrics = append $metrics (dict "type" .type (lower .type) (dict "metric" (dict "name" .metric) "target" $target)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if not $metrics -}}
{{- fail (printf "models.%s.autoscaling.metrics: there is nothing to scale by: set one, or enabled to false" .name) -}}
{{- end -}}
{{- toYaml $metrics -}}
{{- end -}}
