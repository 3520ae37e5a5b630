{{- /*
What controller and server read. Declared helpers:
  argo.configuration  the configuration; takes the root
  argo.persistence    where finished workflows are archived; takes the root
  argo.sso            how people log in; takes the root
*/ -}}

{{- define "argo.configuration" -}}
{{- $retention := .Values.retention -}}
{{- $spec := dict "ttlStrategy" (dict "secondsAfterSuccess" (int64 $retention.successSeconds) "secondsAfterFailure" (int64 $retention.failureSeconds)) -}}
{{- $_ := set $spec "podGC" (dict "strategy" "OnPodCompletion" "deleteDelayDuration" "600s") -}}
{{- /* Its init container writes the manifest of a resource template to /tmp, where Argo mounts nothing (argo-workflows#10787). */ -}}
{{- $security := omit (include "common.containerSecurityContext" . | fromYaml) "readOnlyRootFilesystem" -}}
{{- $executor := dict "imagePullPolicy" "IfNotPresent" "resources" .Values.executor.resources "securityContext" $security -}}
{{- $configuration := dict "workflowDefaults" (dict "spec" $spec) "executor" $executor -}}
{{- $_ := set $configuration "retentionPolicy" (dict "completed" (int $retention.completed) "failed" (int $retention.failed) "errored" (int $retention.failed)) -}}
{{- $_ := set $configuration "metricsConfig" (dict "enabled" true "path" "/metrics" "port" 9090 "secure" false) -}}
{{- $_ := set $configuration "telemetryConfig" (dict "enabled" false) -}}
{{- with int .Values.controller.parallelism }}{{ $_ := set $configuration "parallelism" . }}{{ end -}}
{{- with int .Values.controller.namespaceParallelism }}{{ $_ := set $configuration "namespaceParallelism" . }}{{ end -}}
{{- if .Values.artifactRepository.bucket }}{{ $_ := set $configuration "artifactRepository" (include "argo.repository" . | fromYaml) }}{{ end -}}
{{- with include "argo.persistence" . | fromYaml }}{{ $_ := set $configuration "persistence" . }}{{ end -}}
{{- with include "argo.sso" . | fromYaml }}{{ $_ := set $configuration "sso" . }}{{ end -}}
{{- include "common.merge" (tuple $configuration .Values.controller.config) | fromJson | toYaml -}}
{{- end -}}

{{- define "argo.persistence" -}}
{{- with .Values.archive }}
{{- if .enabled }}
archive: true
nodeStatusOffLoad: true
archiveTTL: {{ .ttl }}
postgresql:
  host: {{ .host }}
  port: {{ int .port }}
  database: {{ .database }}
  tableName: argo_workflows
  ssl: {{ ne .sslMode "disable" }}
  sslMode: {{ .sslMode }}
  userNameSecret:
    name: {{ .userSecret.name }}
    key: {{ .userSecret.key }}
  passwordSecret:
    name: {{ .passwordSecret.name }}
    key: {{ .passwordSecret.key }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "argo.sso" -}}
{{- with .Values.server.auth.sso }}
{{- if and .enabled $.Values.server.enabled }}
issuer: {{ .issuer }}
redirectUrl: {{ .redirectUrl }}
clientId:
  name: {{ .clientId.name }}
  key: {{ .clientId.key }}
clientSecret:
  name: {{ .clientSecret.name }}
  key: {{ .clientSecret.key }}
scopes:
  {{- range $scope, $asked := .scopes }}
  {{- if $asked }}
  - {{ $scope }}
  {{- end }}
  {{- else }}
  []
  {{- end }}
rbac:
  enabled: {{ .rbac }}
{{- end }}
{{- end }}
{{- end -}}
