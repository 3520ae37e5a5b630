{{- /*
Declared helpers:
  vllm.metrics         metrics of the HorizontalPodAutoscaler; takes a model's context
  vllm.triggers        triggers of KEDA's ScaledObject; takes a model's context
  vllm.kedaAsksPods    "true" if KEDA asks the pods of a model for the engine's metrics; takes a model's context
  vllm.engineTrigger   (dict "context" CONTEXT "trigger" TRIGGER) one that looks at the metrics of the engine
  vllm.activatorUrl    where KEDA learns of requests for a model that has no pods; takes a model's context
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

{{- /* The engine's own metrics go with its last pod. What wakes the model is counted elsewhere. */ -}}
{{- define "vllm.triggers" -}}
{{- $keda := .model.autoscaling.keda -}}
{{- $triggers := list -}}
{{- if include "vllm.scalesToZero" . -}}
{{- $count := dict "url" (include "vllm.activatorUrl" .) "valueLocation" "requests" "targetValue" (include "common.scalar" $keda.requestsPerPod) -}}
{{- $triggers = append $triggers (dict "type" "metrics-api" "name" "requests" "metadata" (merge $count (dict "aggregateFromKubeServiceEndpoints" "true" "aggregationType" "sum"))) -}}
{{- end -}}
{{- if or (eq $keda.source "prometheus") (include "vllm.kedaAsksPods" .) -}}
{{- range $name := keys $keda.triggers | sortAlpha -}}
{{- with get $keda.triggers $name -}}
{{- $triggers = append $triggers (merge (dict "name" $name) (include "vllm.engineTrigger" (dict "context" $ "trigger" .) | fromJson)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if not $triggers -}}
{{- fail (printf "models.%s.autoscaling.keda.triggers: there is nothing to scale by: set one, or enabled to false" .name) -}}
{{- end -}}
{{- toYaml $triggers -}}
{{- end -}}

{{- /*
KEDA takes it for a failure when there is no pod to ask: the ScaledObject of a model that sleeps would not be Ready, and
a pod that never becomes ready would never be taken away. Prometheus has no value then, which counts as 0.
*/ -}}
{{- define "vllm.kedaAsksPods" -}}
{{- $autoscaling := .model.autoscaling -}}
{{- if and $autoscaling.enabled (eq $autoscaling.kind "ScaledObject") (eq $autoscaling.keda.source "metrics-api") (not (include "vllm.scalesToZero" .)) -}}
true
{{- end -}}
{{- end -}}

{{- /* A sum is shared among the pods; an average, or the highest of all, is compared as it is. */ -}}
{{- define "vllm.engineTrigger" -}}
{{- $keda := .context.model.autoscaling.keda -}}
{{- $series := printf "%s{model_name=%q}" .trigger.metric (include "vllm.servedName" .context) -}}
{{- $target := include "common.scalar" .trigger.target -}}
{{- $metadata := dict -}}
{{- if eq $keda.source "prometheus" -}}
{{- $address := $keda.prometheusAddress | required (printf "models.%s.autoscaling.keda.prometheusAddress: KEDA has to know where Prometheus is: set its URL, or source to metrics-api" .context.name) -}}
{{- $function := get (dict "sum" "sum" "average" "avg" "max" "max") .trigger.aggregation -}}
{{- $metadata = dict "serverAddress" $address "threshold" $target "query" (printf "%s(%s)" $function $series) -}}
{{- /* KEDA takes no series for 0: a Prometheus that does not reach the pods would look like a model without requests. */ -}}
{{- if not (include "vllm.scalesToZero" .context) }}{{ $_ := set $metadata "ignoreNullValues" "false" }}{{ end -}}
{{- else -}}
{{- $url := printf "http://%s.%s.svc:8000%s" (include "vllm.name" .context) .context.root.Release.Namespace (include "vllm.path" (tuple .context "metrics")) -}}
{{- $metadata = dict "url" $url "format" "prometheus" "valueLocation" $series "targetValue" $target "aggregateFromKubeServiceEndpoints" "true" "aggregationType" .trigger.aggregation -}}
{{- end -}}
{{- toJson (dict "type" $keda.source "metricType" (eq .trigger.aggregation "sum" | ternary "AverageValue" "Value") "metadata" $metadata) -}}
{{- end -}}

{{- /* KEDA takes the second part of the host, up to the next dot, for the namespace: `NAME.NAMESPACE:PORT` it would not find. */ -}}
{{- define "vllm.activatorUrl" -}}
{{- $own := .model.autoscaling.keda.activatorUrl -}}
{{- if and $own (not (regexMatch "^https?://[^./:]+[.][^./:]+[.][^/]+$" $own)) -}}
{{- fail (printf "models.%s.autoscaling.keda.activatorUrl: KEDA reads Service and namespace from %s: set http://NAME.NAMESPACE.svc:8081" .name $own) -}}
{{- end -}}
{{- $activator := printf "http://%s.%s.svc:8081" (include "common.siblingName" (tuple .root "model-gateway" "activator")) .root.Release.Namespace -}}
{{- printf "%s/models/%s" ($own | default $activator | trimSuffix "/") .name -}}
{{- end -}}
