{{- /*
Fluent Bit's files. Each takes the root.
  container-insights.fluentBitConfiguration  inputs, filters and outputs
  container-insights.fluentBitParsers        files/parsers.conf
*/ -}}

{{- define "container-insights.fluentBitConfiguration" -}}
[SERVICE]
    Flush                     5
    Grace                     30
    Log_Level                 warn
    Daemon                    off
    Parsers_File              /fluent-bit/parsers/parsers.conf
    Parsers_File              /etc/fluent-bit/parsers.conf
    HTTP_Server               On
    HTTP_Listen               0.0.0.0
    HTTP_Port                 2020
    storage.path              /var/fluent-bit/buffer
    storage.max_chunks_up     64

[INPUT]
    Name                      tail
    Tag                       kube.*
    Path                      /var/log/containers/*.log
    Exclude_Path              {{ include "container-insights.excludedPaths" . }}
    multiline.parser          docker, cri
    DB                        /var/fluent-bit/tail.db
    Mem_Buf_Limit             50MB
    Skip_Long_Lines           On
    Refresh_Interval          10
    Rotate_Wait               30
    storage.type              filesystem
    Read_from_Head            Off

# A traceback is one entry.
[FILTER]
    Name                      multiline
    Match                     kube.*
    multiline.key_content     log
    multiline.parser          python
    emitter_storage.type      filesystem
    emitter_mem_buf_limit     50M

# Lines of JSON, such as the audit log of the gateway, become fields, below `line`: a pod that prints a field `kubernetes` does not
# take the place of who it is.
[FILTER]
    Name                      kubernetes
    Match                     kube.*
    Kube_URL                  https://kubernetes.default.svc:443
    Merge_Log                 On
    Merge_Log_Key             line
    Keep_Log                  Off
    K8S-Logging.Parser        Off
    K8S-Logging.Exclude       Off
    Labels                    On
    Annotations               Off
    Buffer_Size               0

# The first that fits makes fields of a line; a line that none fits stays as it is.
[FILTER]
    Name                      parser
    Match                     kube.*
    Key_Name                  log
    Parser                    vllm
    Parser                    uvicorn
    Parser                    ray
    Parser                    klog
    Reserve_Data              On
    Preserve_Key              Off
{{- if .Values.logs.cloudWatch.enabled }}

[OUTPUT]
    Name                      cloudwatch_logs
    Match                     kube.*
    region                    {{ include "container-insights.region" . }}
    log_group_name            {{ .Values.logs.cloudWatch.group | default (include "container-insights.logGroup" (tuple . "application")) }}
    log_stream_prefix         ${NODE_NAME}-
    auto_create_group         {{ .Values.logs.cloudWatch.createGroup }}
    {{- if .Values.logs.cloudWatch.createGroup }}
    log_retention_days        {{ int .Values.logs.cloudWatch.retentionDays }}
    {{- end }}
    retry_limit               5
{{- end }}
{{- if .Values.logs.loki.enabled }}

[OUTPUT]
    Name                      loki
    Match                     kube.*
    host                      {{ .Values.logs.loki.host }}
    port                      {{ int .Values.logs.loki.port }}
    tls                       {{ ternary "on" "off" .Values.logs.loki.tls }}
    {{- with .Values.logs.loki.tenant }}
    tenant_id                 {{ . }}
    {{- end }}
    labels                    cluster={{ include "container-insights.clusterName" . }}, namespace=$kubernetes['namespace_name'], container=$kubernetes['container_name']
    line_format               json
    retry_limit               5
{{- end }}
{{- end -}}

{{- define "container-insights.excludedPaths" -}}
{{- $paths := list (printf "/var/log/containers/%s-*.log" (include "common.componentName" (tuple . "fluent-bit"))) -}}
{{- range include "common.enabledNames" .Values.logs.excludedNamespaces | fromJsonArray -}}
{{- $paths = append $paths (printf "/var/log/containers/*_%s_*.log" .) -}}
{{- end -}}
{{- join "," $paths -}}
{{- end -}}

{{- define "container-insights.fluentBitParsers" -}}
{{- .Files.Get "files/parsers.conf" | trimSuffix "\n" -}}
{{- end -}}
