{{- /*
Values in the shapes that objects need. Declared helpers:
  argo.namespaces  namespaces of workflows, as a JSON list; takes the root
  argo.scope       Role or ClusterRole, whichever holds the rights of controller and server; takes the root
  argo.region      Region of the artifact repository; takes the root
  argo.repository  the artifact repository in Argo's words; takes the root
  argo.key         (tuple . PATH) key of an artifact of a run
  argo.address     (tuple . PATH) the same as an address of S3
*/ -}}

{{- define "argo.namespaces" -}}
{{- $names := prepend (include "common.enabledNames" .Values.workflows.namespaces | fromJsonArray) .Release.Namespace -}}
{{- if and .Values.controller.enabled (not .Values.controller.clusterWide) (gt (len (uniq $names)) 1) -}}
{{- fail (printf "workflows.namespaces: the controller looks after %s alone: set controller.clusterWide, or install the chart in each namespace" .Release.Namespace) -}}
{{- end -}}
{{- uniq $names | toJson -}}
{{- end -}}

{{- define "argo.scope" -}}
{{- .Values.controller.clusterWide | ternary "ClusterRole" "Role" -}}
{{- end -}}

{{- define "argo.region" -}}
{{- .Values.artifactRepository.region | default (include "common.global" (tuple . "region")) -}}
{{- end -}}

{{- define "argo.repository" -}}
{{- $repository := .Values.artifactRepository -}}
{{- $region := include "argo.region" . -}}
{{- if not $region -}}
{{- fail "artifactRepository.region: workflows could not store their artifacts: set it, or global.region" -}}
{{- end -}}
archiveLogs: true
s3:
  bucket: {{ $repository.bucket }}
  endpoint: {{ $repository.endpoint | default (printf "s3.%s.amazonaws.com" $region) }}
  region: {{ $region }}
  useSDKCreds: true
  keyFormat: {{ include "argo.key" (tuple . (print "{" "{pod.name}}")) | quote }}
{{- end -}}

{{- define "argo.key" -}}
{{- printf "%s/{{workflow.namespace}}/{{workflow.name}}/%s" (trimAll "/" (index . 0).Values.artifactRepository.prefix) (index . 1) | trimPrefix "/" -}}
{{- end -}}

{{- define "argo.address" -}}
{{- printf "s3://%s/%s" (index . 0).Values.artifactRepository.bucket (include "argo.key" .) -}}
{{- end -}}
