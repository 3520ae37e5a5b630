{{- /*
NVIDIA NIM in place of vLLM: an image that brings model and engine, or takes a model of the Hub. Each for a model's context.
Declared helpers:
  vllm.isNim                     "true" for a NIM, else nothing
  vllm.nim.environment           env of its container
  vllm.nim.check                 fails on keys that a NIM does not take
  vllm.path                      (tuple CONTEXT WHAT) where the server reports its startup, liveness, readiness or metrics
  vllm.containerSecurityContext  securityContext of the server
  vllm.imagePullSecrets          imagePullSecrets of the pod: those of the platform and that of the image
*/ -}}

{{- define "vllm.isNim" -}}
{{- if eq .model.engine.kind "nim" }}true{{ end -}}
{{- end -}}

{{- define "vllm.nim.environment" -}}
- name: NIM_CACHE_PATH
  value: /opt/nim/.cache
- name: NIM_SERVER_PORT
  value: "8000"
- name: NIM_SERVED_MODEL_NAME
  value: {{ include "vllm.servedName" . | quote }}
{{- with .model.engine.maxModelLen }}
- name: NIM_MAX_MODEL_LEN
  value: {{ int64 . | quote }}
{{- end }}
{{- with .model.source.ngc.apiKeySecret }}
{{- if .name }}
- name: NGC_API_KEY
  valueFrom:
    secretKeyRef:
      name: {{ .name }}
      key: {{ .key }}
{{- end }}
{{- end }}
{{- if eq (include "vllm.source" .) "huggingFace" }}
- name: NIM_MODEL_PATH
  value: hf://{{ .model.source.huggingFace.id }}
{{- include "vllm.hubToken" . }}
{{- end }}
{{- end -}}

{{- define "vllm.nim.check" -}}
{{- $key := printf "models.%s" .name -}}
{{- if ne .model.accelerator.kind "nvidia" -}}
{{- fail (printf "%s.accelerator.kind: a NIM runs on NVIDIA GPUs: set nvidia, or engine.kind to vllm" $key) -}}
{{- end -}}
{{- if hasPrefix "vllm/" .model.image.repository -}}
{{- fail (printf "%s.image: engine.kind nim needs an image of a NIM, such as registry nvcr.io and repository nim/meta/llama-3.1-8b-instruct with its tag" $key) -}}
{{- end -}}
{{- if and .model.source.huggingFace.id .model.source.huggingFace.revision -}}
{{- fail (printf "%s.source.huggingFace.revision: a NIM takes the newest revision of the Hub: leave it out" $key) -}}
{{- end -}}
{{- if .model.apiKeySecret.name -}}
{{- fail (printf "%s.apiKeySecret: a NIM asks for no API key: leave it out, and let the chart model-gateway ask for one" $key) -}}
{{- end -}}
{{- if .model.extraArgs -}}
{{- fail (printf "%s.extraArgs: a NIM takes no arguments of vLLM: set its variables in extraEnv, such as NIM_PASSTHROUGH_ARGS" $key) -}}
{{- end -}}
{{- if dig "multiNode" "enabled" false .model -}}
{{- fail (printf "%s.multiNode: a NIM runs on one node here: set enabled to false" $key) -}}
{{- end -}}
{{- range $name, $value := dig .name "engine" dict .root.Values.models -}}
{{- if and (not (kindIs "invalid" $value)) (not (has $name (list "kind" "servedModelName" "maxModelLen"))) -}}
{{- fail (printf "%s.engine.%s: a NIM chooses its engine's arguments by itself: leave it out, or set its variables in extraEnv" $key $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "vllm.path" -}}
{{- $nim := dict "startup" "/v1/health/ready" "liveness" "/v1/health/live" "readiness" "/v1/health/ready" "metrics" "/v1/metrics" -}}
{{- if include "vllm.isNim" (index . 0) -}}
{{- get $nim (index . 1) -}}
{{- else -}}
{{- eq (index . 1) "metrics" | ternary "/metrics" "/health" -}}
{{- end -}}
{{- end -}}

{{- /* A NIM writes the settings of its proxy into the image's own folders. */ -}}
{{- define "vllm.containerSecurityContext" -}}
{{- $context := include "common.containerSecurityContext" . | fromYaml -}}
{{- if include "vllm.isNim" . }}{{ $_ := set $context "readOnlyRootFilesystem" false }}{{ end -}}
{{- toYaml $context -}}
{{- end -}}

{{- define "vllm.imagePullSecrets" -}}
{{- $names := (.root.Values.global | default dict).imagePullSecrets | default list -}}
{{- with .model.image.pullSecret }}{{ $names = append $names . | uniq }}{{ end -}}
{{- with $names -}}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end -}}
{{- end -}}
