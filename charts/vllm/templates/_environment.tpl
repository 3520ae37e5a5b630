{{- /*
Environment of the server. Declared helpers:
  vllm.environment  env of the container; takes a model's context
  vllm.serverEnvironment  what vLLM needs of it; takes a model's context
  vllm.neuron.folder  where a compiled model is kept; takes a model's context
  vllm.hubToken     the token of the Hub, if there is one, on a line of its own; takes a model's context
  vllm.checkVariables  fails for variables that open the engine to any client
  vllm.ownNames     variables that the chart sets, as a JSON list
*/ -}}

{{- define "vllm.ownNames" -}}
{{- list "BASE_COMPILE_WORK_DIR" "DO_NOT_TRACK" "DRYDOCK_MODEL_FOLDER" "FI_EFA_USE_HUGE_PAGE" "FI_PROVIDER" "HF_HOME" "HF_HUB_OFFLINE" "HF_TOKEN" "HOME" "NEURON_COMPILED_ARTIFACTS" "NEURON_COMPILE_CACHE_URL" "NGC_API_KEY" "NIM_CACHE_PATH" "NIM_MAX_MODEL_LEN" "NIM_MODEL_PATH" "NIM_SERVED_MODEL_NAME" "NIM_SERVER_PORT" "PYTHONPATH" "TORCHINDUCTOR_CACHE_DIR" "TRITON_CACHE_DIR" "USER" "VLLM_API_KEY" "VLLM_CACHE_ROOT" "VLLM_HOST_IP" "VLLM_HTTP_TIMEOUT_KEEP_ALIVE" "VLLM_NIXL_SIDE_CHANNEL_HOST" "VLLM_NO_USAGE_STATS" | toJson -}}
{{- end -}}

{{- /*
What lies there is loaded whatever the arguments say, and a cache on a claim outlasts them: so each engine has a folder of its own.
*/ -}}
{{- define "vllm.neuron.folder" -}}
{{- $arguments := omit (include "vllm.argumentMap" . | fromJson) "port" "served-model-name" "shutdown-timeout" "middleware" -}}
{{- $engine := list (include "common.image" (dict "root" .root "image" .model.image)) (include "vllm.modelPath" .) .model.source.s3.uri $arguments -}}
{{- with .model.source.claim.name }}{{ $engine = append $engine . }}{{ end -}}
{{- with .model.extraEnv }}{{ $engine = append $engine . }}{{ end -}}
{{- printf "/cache/compiled/%s-%s" .name (toJson $engine | sha256sum | trunc 8) -}}
{{- end -}}

{{- define "vllm.hubToken" -}}
{{- if .model.source.huggingFace.tokenSecret.name }}
- name: HF_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ .model.source.huggingFace.tokenSecret.name }}
      key: {{ .model.source.huggingFace.tokenSecret.key }}
      {{- if not .model.source.huggingFace.gated }}
      optional: true
      {{- end }}
{{- end }}
{{- end -}}

{{- define "vllm.serverEnvironment" -}}
{{- $hub := eq (include "vllm.source" .) "huggingFace" -}}
- name: HOME
  value: /cache
{{- /* PyTorch asks for the name of the user, and the uid need not be in the image's /etc/passwd. */}}
- name: USER
  value: vllm
- name: HF_HOME
  value: /cache/huggingface
- name: VLLM_CACHE_ROOT
  value: /cache/vllm
- name: TORCHINDUCTOR_CACHE_DIR
  value: /cache/torchinductor
- name: TRITON_CACHE_DIR
  value: /cache/triton
{{- if eq .model.accelerator.kind "neuron" }}
- name: NEURON_COMPILE_CACHE_URL
  value: {{ .model.neuron.compileCacheUrl | default "/cache/neuron" }}
{{- /* Without it the plugin makes a folder in the model's, which is mounted read-only. */}}
- name: NEURON_COMPILED_ARTIFACTS
  value: {{ .model.neuron.compiledArtifacts | default (include "vllm.neuron.folder" .) }}
- name: BASE_COMPILE_WORK_DIR
  value: /cache/nxd_model/
{{- end }}
{{- if include "vllm.followsFolder" . }}
- name: DRYDOCK_MODEL_FOLDER
  valueFrom:
    fieldRef:
      fieldPath: metadata.annotations['drydock.dev/model-folder']
{{- end }}
{{- /* Beyond the 120 seconds that LiteLLM keeps a connection, or a request could meet one that is being closed. */}}
- name: VLLM_HTTP_TIMEOUT_KEEP_ALIVE
  value: "130"
{{- include "vllm.multiNode.environment" . }}
{{- include "vllm.side.environment" . }}
- name: DO_NOT_TRACK
  value: "1"
- name: VLLM_NO_USAGE_STATS
  value: "1"
{{- if not $hub }}
- name: HF_HUB_OFFLINE
  value: "1"
{{- else }}
{{- include "vllm.hubToken" . }}
{{- end }}
{{- if .model.apiKeySecret.name }}
- name: VLLM_API_KEY
  valueFrom:
    secretKeyRef:
      name: {{ .model.apiKeySecret.name }}
      key: {{ .model.apiKeySecret.key }}
- name: PYTHONPATH
  value: /etc/vllm
{{- end }}
{{- end -}}

{{- /* Usage: include "vllm.checkVariables" (tuple KEY VARIABLES) */ -}}
{{- define "vllm.checkVariables" -}}
{{- $variables := index . 1 | default dict -}}
{{- range $name := list "VLLM_SERVER_DEV_MODE" "VLLM_ALLOW_RUNTIME_LORA_UPDATING" -}}
{{- if not (has (get $variables $name | toString) (list "" "0")) -}}
{{- fail (printf "%s.%s: with it any client may change, pause or reload the engine: leave it out" (index $ 0) $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "vllm.environment" -}}
{{- include (empty (include "vllm.isNim" .) | ternary "vllm.serverEnvironment" "vllm.nim.environment") . }}
{{- $own := include "vllm.ownNames" . | fromJsonArray }}
{{- include "vllm.checkVariables" (tuple (printf "models.%s.extraEnv" .name) .model.extraEnv) }}
{{- with include "common.environment" (dict "key" (printf "models.%s.extraEnv" .name) "variables" .model.extraEnv "own" $own) }}
{{ . }}
{{- end }}
{{- end -}}
