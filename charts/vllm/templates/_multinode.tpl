{{- /*
Engines over several nodes, each for a model's context. A pod of such an engine has `role` in its context: leader or worker.
Declared helpers:
  vllm.isWorker               "true" for a worker, which serves no requests itself
  vllm.nodesPart              what a message about devices says of nodes
  vllm.multiNode.arguments    arguments that join the pods of a group, as JSON
  vllm.multiNode.environment  variables of their network
  vllm.multiNode.affinity     the model's affinity, with that of a group's or a pair's pods for one another, as JSON
  vllm.multiNode.members      peers of NetworkPolicies: the pods of the model, as a YAML list
  vllm.scaleTarget            what an autoscaler scales
*/ -}}

{{- define "vllm.isWorker" -}}
{{- if eq "worker" (.role | default "") -}}true{{- end -}}
{{- end -}}

{{- define "vllm.nodesPart" -}}
{{- if .model.multiNode.enabled }} x multiNode.size{{ end -}}
{{- end -}}

{{- /* The controller of LeaderWorkerSet sets LWS_LEADER_ADDRESS and LWS_WORKER_INDEX, 0 for the leader, in every container. */ -}}
{{- define "vllm.multiNode.arguments" -}}
{{- $arguments := dict -}}
{{- if .model.multiNode.enabled -}}
{{- $arguments = dict "distributed-executor-backend" "mp" "nnodes" (include "vllm.nodes" . | int) "master-addr" "$(LWS_LEADER_ADDRESS)" "node-rank" "$(LWS_WORKER_INDEX)" -}}
{{- if include "vllm.isWorker" . }}{{ $_ := set $arguments "headless" true }}{{ end -}}
{{- end -}}
{{- toJson $arguments -}}
{{- end -}}

{{- define "vllm.multiNode.environment" -}}
{{- if .model.multiNode.enabled }}
- name: VLLM_HOST_IP
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
{{- if .model.accelerator.efa }}
- name: FI_PROVIDER
  value: efa
{{- if not .model.accelerator.hugepages }}
- name: FI_EFA_USE_HUGE_PAGE
  value: "0"
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "vllm.multiNode.affinity" -}}
{{- $affinity := deepCopy .model.scheduling.affinity -}}
{{- if and .model.multiNode.enabled .model.multiNode.topology -}}
{{- $own := get $affinity "podAffinity" | default dict -}}
{{- $selector := dict "matchLabels" (include "common.selectorLabels" (dict "root" .root "component" .name) | fromYaml) -}}
{{- $term := dict "topologyKey" .model.multiNode.topology "labelSelector" $selector "matchLabelKeys" (list "leaderworkerset.sigs.k8s.io/group-index") -}}
{{- $_ := set $own "requiredDuringSchedulingIgnoredDuringExecution" (append (get $own "requiredDuringSchedulingIgnoredDuringExecution" | default list) $term) -}}
{{- $_ := set $affinity "podAffinity" $own -}}
{{- end -}}
{{- with include "vllm.side.affinityTerm" . -}}
{{- $own := get $affinity "podAffinity" | default dict -}}
{{- $_ := set $own "requiredDuringSchedulingIgnoredDuringExecution" (append (get $own "requiredDuringSchedulingIgnoredDuringExecution" | default list) (fromJson .)) -}}
{{- $_ := set $affinity "podAffinity" $own -}}
{{- end -}}
{{- toJson $affinity -}}
{{- end -}}

{{- define "vllm.multiNode.members" -}}
{{- if .model.multiNode.enabled -}}
- podSelector:
    matchLabels:
      {{- include "common.selectorLabels" (dict "root" .root "component" .name) | nindent 6 }}
{{- end -}}
{{- end -}}

{{- define "vllm.scaleTarget" -}}
{{- if .model.multiNode.enabled -}}
apiVersion: leaderworkerset.x-k8s.io/v1
kind: LeaderWorkerSet
name: {{ include "vllm.groupsName" . }}
{{- else -}}
apiVersion: apps/v1
kind: Deployment
name: {{ include "vllm.name" . }}
{{- end -}}
{{- end -}}
