{{- /*
What Ray Serve runs. Declared helpers, each for a service's context:
  kuberay.serveConfig  Ray Serve's configuration, as YAML
  kuberay.llm          the application of all its language models
  kuberay.stableDiffusion  the application that draws, which installs the packages of files/stable_diffusion.txt
  kuberay.mayHaveNoReplicas  "true" if a deployment of the service may have no replica
*/ -}}

{{- define "kuberay.mayHaveNoReplicas" -}}
{{- $least := list -}}
{{- range (include "kuberay.serveConfig" . | fromYaml).applications -}}
{{- $arguments := .args | default dict -}}
{{- if hasKey $arguments "min_replicas" }}{{ $least = append $least $arguments.min_replicas }}{{ end -}}
{{- range concat ($arguments.llm_configs | default list) (.deployments | default list) -}}
{{- $scaling := dig "autoscaling_config" dict . | default (dig "deployment_config" "autoscaling_config" dict .) -}}
{{- if kindIs "map" $scaling }}{{ if hasKey $scaling "min_replicas" }}{{ $least = append $least $scaling.min_replicas }}{{ end }}{{ end -}}
{{- end -}}
{{- end -}}
{{- range $least }}{{ if eq (int .) 0 }}true{{ end }}{{ end -}}
{{- end -}}

{{- define "kuberay.serveConfig" -}}
{{- $applications := list -}}
{{- if .service.llm }}{{ $applications = append $applications (include "kuberay.llm" . | fromYaml) }}{{ end -}}
{{- if .service.stableDiffusion.enabled }}{{ $applications = append $applications (include "kuberay.stableDiffusion" . | fromYaml) }}{{ end -}}
{{- range $name := keys .service.applications | sortAlpha -}}
{{- with get $.service.applications $name }}{{ $applications = append $applications (merge (dict "name" $name) .) }}{{ end -}}
{{- end -}}
{{- if not $applications -}}
{{- fail (printf "rayServices.%s serves nothing: give it llm, stableDiffusion.enabled or applications" .name) -}}
{{- end -}}
{{- $routes := dict -}}
{{- range $applications -}}
{{- $route := .route_prefix | default "/" -}}
{{- if hasKey $routes $route -}}
{{- fail (printf "rayServices.%s: applications %s and %s are both at %s: give one another route_prefix, or make two services" $.name (get $routes $route) .name $route) -}}
{{- end -}}
{{- $_ := set $routes $route .name -}}
{{- end -}}
{{- toYaml (dict "applications" $applications) -}}
{{- end -}}

{{- define "kuberay.llm" -}}
name: llm
import_path: ray.serve.llm:build_openai_app
route_prefix: /
args:
  llm_configs:
    {{- range $name := keys .service.llm | sortAlpha }}
    {{- $own := get $.service.llm $name }}
    {{- if not (kindIs "invalid" $own) }}
    {{- $model := include "common.merge" (tuple $.root.Values.llmDefaults $own) | fromJson }}
    {{- if eq (empty $model.source.huggingFace.id) (empty $model.source.s3.uri) }}
    {{- fail (printf "rayServices.%s.llm.%s.source: set one of huggingFace.id and s3.uri" $.name $name) }}
    {{- end }}
    {{- $engine := dict "tensor_parallel_size" (int $model.tensorParallelSize) "pipeline_parallel_size" (int $model.pipelineParallelSize) }}
    {{- with $model.maxModelLen }}{{ $_ := set $engine "max_model_len" (int .) }}{{ end }}
    - model_loading_config:
        model_id: {{ $name }}
        {{- with $model.source.huggingFace.id }}
        model_source: {{ . }}
        {{- end }}
        {{- with $model.source.s3.uri }}
        model_source:
          bucket_uri: {{ . }}
        {{- end }}
      engine_kwargs:
        {{- include "common.merge" (tuple $engine $model.engineArguments) | fromJson | toYaml | nindent 8 }}
      deployment_config:
        max_ongoing_requests: {{ int $model.maxRequests }}
        autoscaling_config:
          min_replicas: {{ int $model.minReplicas }}
          max_replicas: {{ int $model.maxReplicas }}
          target_ongoing_requests: {{ int $model.targetRequests }}
    {{- end }}
    {{- end }}
{{- end -}}

{{- define "kuberay.stableDiffusion" -}}
{{- with .service.stableDiffusion -}}
name: stable-diffusion
import_path: stable_diffusion:build
route_prefix: /
{{- $packages := .packages }}
{{- if kindIs "invalid" $packages }}
{{- $packages = list }}
{{- range $line := $.root.Files.Lines "files/stable_diffusion.txt" }}
{{- if and $line (not (hasPrefix "#" $line)) }}
{{- $packages = append $packages $line }}
{{- end }}
{{- end }}
{{- end }}
{{- with $packages }}
runtime_env:
  pip:
    {{- toYaml . | nindent 4 }}
{{- end }}
args:
  model: {{ .model }}
  batch_size: {{ int .batchSize }}
  batch_wait_seconds: {{ .batchWaitSeconds }}
  min_replicas: {{ int .minReplicas }}
  max_replicas: {{ int .maxReplicas }}
{{- end -}}
{{- end -}}
