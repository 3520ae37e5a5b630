{{- /*
Prefill and decode on different engines. A router's context is (dict "root" . "name" NAME "router" ROUTER). Declared helpers:
  vllm.routers          every enabled router in the order of its name, as JSON: a list of NAME and ROUTER; takes the root
  vllm.routerContexts   the contexts of its two models, as JSON: `prefill` and `decode`, without `root`; takes a router's context
  vllm.checkRouter      fails on what two models cannot do together; takes a router's context
  vllm.side             which part a model has, as JSON: `router` and `role`, or nothing; takes a model's context
  vllm.side.arguments   its arguments, as JSON
  vllm.side.environment its variables
  vllm.side.affinityTerm  keeps the pods of both models in one zone, as JSON, or nothing
  vllm.side.members     peers of NetworkPolicies: the pods of both models, as a YAML list, or nothing
*/ -}}

{{- define "vllm.routers" -}}
{{- $routers := list -}}
{{- range $name := keys .Values.routers | sortAlpha -}}
{{- if not (kindIs "invalid" (get $.Values.routers $name)) -}}
{{- $router := include "common.merge" (tuple $.Values.routerDefaults (get $.Values.routers $name)) | fromJson -}}
{{- if $router.enabled }}{{ $routers = append $routers (dict "name" $name "router" $router) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- toJson $routers -}}
{{- end -}}

{{- define "vllm.side" -}}
{{- $sides := list -}}
{{- range include "vllm.routers" .root | fromJsonArray -}}
{{- $name := .name -}}
{{- $router := .router -}}
{{- range $role := list "prefill" "decode" -}}
{{- if eq $.name (get $router $role) }}{{ $sides = append $sides (dict "router" $name "role" $role "members" (list $router.prefill $router.decode)) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- if gt (len $sides) 1 -}}
{{- if eq (index $sides 0).router (index $sides 1).router -}}
{{- fail (printf "routers.%s: prefill and decode name the same model: add another entry to models" (first $sides).router) -}}
{{- end -}}
{{- fail (printf "routers.%s: model %s is behind routers.%s already, and an engine has one part alone: add another model" (index $sides 1).router .name (index $sides 0).router) -}}
{{- end -}}
{{- with $sides }}{{ first . | toJson }}{{ end -}}
{{- end -}}

{{- define "vllm.side.arguments" -}}
{{- $arguments := dict -}}
{{- with include "vllm.side" . -}}
{{- $prefill := eq (fromJson .).role "prefill" -}}
{{- $config := dict "kv_connector" "NixlConnector" "kv_role" ($prefill | ternary "kv_producer" "kv_consumer") -}}
{{- /* vLLM's default fails the requests of a prefill engine that died; decode can compute their prompts itself. */ -}}
{{- if not $prefill }}{{ $_ := set $config "kv_load_failure_policy" "recompute" }}{{ end -}}
{{- $_ := set $arguments "kv-transfer-config" $config -}}
{{- end -}}
{{- toJson $arguments -}}
{{- end -}}

{{- define "vllm.side.environment" -}}
{{- if include "vllm.side" . }}
- name: VLLM_NIXL_SIDE_CHANNEL_HOST
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
{{- end }}
{{- end -}}

{{- /* The KV cache of each request crosses the network: between zones that is slow, and billed both ways. */ -}}
{{- define "vllm.side.affinityTerm" -}}
{{- with include "vllm.side" . -}}
{{- $labels := include "common.selectorLabels" (dict "root" $.root "component" $.name) | fromYaml -}}
{{- $members := dict "key" "app.kubernetes.io/component" "operator" "In" "values" (fromJson .).members -}}
{{- $selector := dict "matchLabels" (omit $labels "app.kubernetes.io/component") "matchExpressions" (list $members) -}}
{{- toJson (dict "topologyKey" "topology.kubernetes.io/zone" "labelSelector" $selector) -}}
{{- end -}}
{{- end -}}

{{- define "vllm.side.members" -}}
{{- with include "vllm.side" . }}
{{- range (fromJson .).members }}
- podSelector:
    matchLabels:
      {{- include "common.selectorLabels" (dict "root" $.root "component" .) | nindent 6 }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "vllm.routerContexts" -}}
{{- $contexts := dict -}}
{{- $key := printf "routers.%s" .name -}}
{{- range $role := list "prefill" "decode" -}}
{{- $model := get $.router $role -}}
{{- range include "vllm.contexts" $.root | fromJsonArray -}}
{{- if eq .name $model }}{{ $_ := set $contexts $role . }}{{ end -}}
{{- end -}}
{{- /* Fails for a model of two routers. */ -}}
{{- $_ := include "vllm.side" (dict "root" $.root "name" $model) -}}
{{- if not (hasKey $contexts $role) -}}
{{- fail (printf "%s.%s: '%s' is no entry of models that is enabled: set one" $key $role $model) -}}
{{- end -}}
{{- end -}}
{{- toJson $contexts -}}
{{- end -}}

{{- define "vllm.checkRouter" -}}
{{- $key := printf "routers.%s" .name -}}
{{- if get .root.Values.models .name -}}
{{- fail (printf "%s: a model has this name, and both would have the same Service: give the router another" $key) -}}
{{- end -}}
{{- $contexts := include "vllm.routerContexts" . | fromJson -}}
{{- range $role, $own := $contexts -}}
{{- $context := dict "root" $.root "name" $own.name "model" $own.model -}}
{{- if or (ne $own.model.accelerator.kind "nvidia") (include "vllm.isNim" $context) $own.model.multiNode.enabled -}}
{{- fail (printf "%s.%s: model %s cannot hand over its KV cache, which only vLLM models on the NVIDIA GPUs of one node can: name another" $key $role $own.name) -}}
{{- end -}}
{{- if include "vllm.scalesToZero" $context -}}
{{- fail (printf "%s.%s: model %s may have no pods, and the router does not wake it: set autoscaling.minReplicas to 1 or more" $key $role $own.name) -}}
{{- end -}}
{{- end -}}
{{- $prefill := dict "root" .root "name" $contexts.prefill.name "model" $contexts.prefill.model -}}
{{- $decode := dict "root" .root "name" $contexts.decode.name "model" $contexts.decode.model -}}
{{- range $what, $pair := dict "engine.servedModelName" (list (include "vllm.servedName" $prefill) (include "vllm.servedName" $decode)) "apiKeySecret" (list (toJson $prefill.model.apiKeySecret) (toJson $decode.model.apiKeySecret)) "scheduling.zone" (list $prefill.model.scheduling.zone $decode.model.scheduling.zone) -}}
{{- if ne (first $pair) (last $pair) -}}
{{- fail (printf "%s: models %s and %s serve the same requests together, so their %s must be the same" $key $prefill.name $decode.name $what) -}}
{{- end -}}
{{- end -}}
{{- end -}}
