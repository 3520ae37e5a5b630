{{- /*
What the collector reads and sends. Declared helpers:
  container-insights.sources         sources that are on, as JSON: NAME to namespace, podLabels, port, path, dimensions and
                                     metrics (lists); takes the root
  container-insights.series          names of all metrics that are sent, as JSON: NAME to its dimensions; takes the root
  container-insights.scrapeConfig    one job of the Prometheus receiver; takes (dict "root" . "name" NAME "source" SOURCE)
  container-insights.collectorConfiguration  the whole, as YAML; takes the root
*/ -}}

{{- define "container-insights.sources" -}}
{{- $sources := dict -}}
{{- range $name, $source := include "common.entries" .Values.collector.sources | fromJson -}}
{{- $metrics := include "common.enabledNames" $source.metrics | fromJsonArray -}}
{{- if and $source.enabled $metrics -}}
{{- $dimensions := include "common.enabledNames" $source.dimensions | fromJsonArray -}}
{{- $_ := set $sources $name (set (set (deepCopy $source) "metrics" $metrics) "dimensions" $dimensions) -}}
{{- end -}}
{{- end -}}
{{- toJson $sources -}}
{{- end -}}

{{- define "container-insights.series" -}}
{{- $series := dict -}}
{{- if .Values.collector.enabled -}}
{{- range include "container-insights.sources" . | fromJson -}}
{{- $dimensions := .dimensions -}}
{{- range .metrics }}{{ $_ := set $series . $dimensions }}{{ end -}}
{{- end -}}
{{- end -}}
{{- toJson $series -}}
{{- end -}}

{{- /* A collector's configuration takes `$` for a variable of its environment, and `$$` for itself. */ -}}
{{- define "container-insights.scrapeConfig" -}}
job_name: {{ .name }}
scrape_interval: {{ int .root.Values.collector.intervalSeconds }}s
scrape_timeout: 10s
metrics_path: {{ .source.path | default "/metrics" }}
honor_labels: true
kubernetes_sd_configs:
  - role: pod
    {{- with .source.namespace }}
    namespaces:
      names: [{{ . }}]
    {{- end }}
    selectors:
      - role: pod
        label: {{ include "container-insights.selector" .source.podLabels | quote }}
relabel_configs:
  - source_labels: [__meta_kubernetes_pod_phase]
    regex: Running
    action: keep
  - source_labels: [__meta_kubernetes_pod_ip]
    regex: (.+)
    target_label: __address__
    replacement: $$1:{{ int .source.port }}
  {{- if not .source.path }}
  - source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_path]
    regex: (.+)
    target_label: __metrics_path__
  {{- end }}
  - target_label: ClusterName
    replacement: {{ include "container-insights.clusterName" .root }}
  - source_labels: [__meta_kubernetes_pod_name]
    target_label: scraped_pod
metric_relabel_configs:
  - source_labels: [__name__]
    regex: ({{ join "|" .source.metrics }})(_bucket|_sum|_count)?
    action: keep
{{- end -}}

{{- define "container-insights.selector" -}}
{{- $terms := list -}}
{{- range $key, $value := . }}{{ $terms = append $terms (printf "%s=%s" $key $value) }}{{ end -}}
{{- join "," $terms -}}
{{- end -}}

{{- define "container-insights.collectorConfiguration" -}}
{{- $sources := include "container-insights.sources" . | fromJson -}}
extensions:
  health_check:
    endpoint: 0.0.0.0:13133
receivers:
  prometheus:
    config:
      scrape_configs:
        {{- range $name, $source := $sources }}
        - {{ include "container-insights.scrapeConfig" (dict "root" $ "name" $name "source" $source) | nindent 10 | trim }}
        {{- end }}
processors:
  memory_limiter:
    check_interval: 5s
    limit_percentage: 80
    spike_limit_percentage: 20
  # What CloudWatch adds up has to be what came since the reading before.
  cumulativetodelta: {}
  batch:
    timeout: 10s
exporters:
  awsemf:
    region: {{ include "container-insights.region" . }}
    namespace: {{ .Values.collector.metricsNamespace }}
    log_group_name: {{ include "container-insights.logGroup" (tuple . "prometheus") }}
    log_stream_name: {{ include "common.componentName" (tuple . "collector") }}
    dimension_rollup_option: NoDimensionRollup
    metric_declarations:
      {{- range $name, $source := $sources }}
      - dimensions:
          - [ClusterName]
          {{- with $source.dimensions }}
          - [ClusterName, {{ join ", " . }}]
          {{- end }}
        metric_name_selectors:
          {{- range $source.metrics }}
          - ^{{ . }}$$
          {{- end }}
      {{- end }}
service:
  extensions: [health_check]
  pipelines:
    metrics:
      receivers: [prometheus]
      processors: [memory_limiter, cumulativetodelta, batch]
      exporters: [awsemf]
{{- end -}}
