{{- /*
Volumes of the server, each for a model's context. Declared helpers:
  vllm.volumes       volumes of the pod
  vllm.volumeMounts  mounts of the container
  vllm.settings      files of the ConfigMap, as JSON; empty when there are none
*/ -}}

{{- define "vllm.settings" -}}
{{- $files := dict -}}
{{- with .model.engine.chatTemplate }}{{ $_ := set $files "chat-template.jinja" . }}{{ end -}}
{{- if .model.apiKeySecret.name }}{{ $_ := set $files "require_api_key.py" (.root.Files.Get "files/require_api_key.py") }}{{ end -}}
{{- toJson $files -}}
{{- end -}}

{{- define "vllm.volumes" -}}
{{- $sizes := include "vllm.sizes" . | fromJson -}}
{{- $source := include "vllm.source" . -}}
- name: shared-memory
  emptyDir:
    medium: Memory
    sizeLimit: {{ include "vllm.quantity" $sizes.sharedMemory }}
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
{{- if ne $source "huggingFace" }}
- name: model
  persistentVolumeClaim:
    claimName: {{ eq $source "s3" | ternary (include "vllm.weightsName" .) .model.source.claim.name }}
    {{- /* Some drivers attach a volume of this mode in no other way. */}}
    {{- if or (eq $source "s3") (eq .model.source.claim.accessMode "ReadOnlyMany") }}
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
- name: shared-memory
  mountPath: /dev/shm
- name: tmp
  mountPath: /tmp
- name: cache
  mountPath: /cache
{{- if ne (include "vllm.source" .) "huggingFace" }}
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
