{{- /*
Volumes of the server, each for a model's context. Declared helpers:
  vllm.volumes       volumes of the pod
  vllm.volumeMounts  mounts of the container
  vllm.s3Folders     folders in S3 that the pod mounts, as JSON: a list of `volume`, `claim`, `uri`, `size`, `path`
  vllm.settings      files of the ConfigMap, as JSON; empty when there are none
*/ -}}

{{- define "vllm.settings" -}}
{{- $files := dict -}}
{{- with .model.engine.chatTemplate }}{{ $_ := set $files "chat-template.jinja" . }}{{ end -}}
{{- if .model.apiKeySecret.name }}{{ $_ := set $files "require_api_key.py" (.root.Files.Get "files/require_api_key.py") }}{{ end -}}
{{- toJson $files -}}
{{- end -}}

{{- define "vllm.s3Folders" -}}
{{- $folders := list -}}
{{- if eq (include "vllm.source" .) "s3" -}}
{{- $claim := include "vllm.claimName" (tuple . (include "vllm.weightsName" .) .model.source.s3.uri .model.source.size) -}}
{{- $folders = append $folders (dict "volume" "model" "claim" $claim "uri" .model.source.s3.uri "size" .model.source.size "path" "/model") -}}
{{- end -}}
{{- range $name := keys .model.engine.loraAdapters | sortAlpha -}}
{{- with get $.model.engine.loraAdapters $name -}}
{{- if hasPrefix "s3://" .path -}}
{{- $volume := printf "adapter-%s" ($name | sha256sum | trunc 10) -}}
{{- $claim := include "vllm.claimName" (tuple $ (include "vllm.adapterName" (tuple $ $name)) .path "1Gi") -}}
{{- $folders = append $folders (dict "volume" $volume "claim" $claim "uri" .path "size" "1Gi" "path" (printf "/adapters/%s" $name)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $folders -}}
{{- end -}}

{{- define "vllm.volumes" -}}
{{- $sizes := include "vllm.sizes" . | fromJson -}}
{{- $source := include "vllm.source" . -}}
{{- if not (include "common.accelerator.byMps" (tuple .root .model.accelerator)) -}}
- name: shared-memory
  emptyDir:
    medium: Memory
    sizeLimit: {{ include "vllm.quantity" $sizes.sharedMemory }}
{{- end }}
- name: tmp
  emptyDir:
    sizeLimit: {{ include "vllm.quantity" $sizes.tmp }}
- name: cache
{{- if eq .model.cache.type "emptyDir" }}
  emptyDir:
    sizeLimit: {{ include "vllm.quantity" $sizes.cache }}
{{- else }}
  persistentVolumeClaim:
    claimName: {{ include "vllm.cacheName" . }}
{{- end }}
{{- range include "vllm.s3Folders" . | fromJsonArray }}
- name: {{ .volume }}
  persistentVolumeClaim:
    claimName: {{ .claim }}
    readOnly: true
{{- end }}
{{- if eq $source "claim" }}
- name: model
  persistentVolumeClaim:
    claimName: {{ .model.source.claim.name }}
    {{- /* Some drivers attach a volume of this mode in no other way. */}}
    {{- if eq .model.source.claim.accessMode "ReadOnlyMany" }}
    readOnly: true
    {{- end }}
{{- end }}
{{- if include "vllm.settings" . | fromJson }}
- name: settings
  configMap:
    name: {{ include "vllm.name" . }}
{{- end }}
{{- end -}}

{{- define "vllm.volumeMounts" -}}
{{- if not (include "common.accelerator.byMps" (tuple .root .model.accelerator)) -}}
- name: shared-memory
  mountPath: /dev/shm
{{- end }}
- name: tmp
  mountPath: /tmp
- name: cache
  mountPath: {{ empty (include "vllm.isNim" .) | ternary "/cache" "/opt/nim/.cache" }}
{{- range include "vllm.s3Folders" . | fromJsonArray }}
- name: {{ .volume }}
  mountPath: {{ .path }}
  readOnly: true
{{- end }}
{{- if eq (include "vllm.source" .) "claim" }}
- name: model
  mountPath: /model
  readOnly: true
{{- end }}
{{- if include "vllm.settings" . | fromJson }}
- name: settings
  mountPath: /etc/vllm
  readOnly: true
{{- end }}
{{- end -}}
