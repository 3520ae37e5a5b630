{{- /*
The pod of a model, each for a model's context. Declared helpers:
  vllm.podTemplate     template of the pod, with what values add to it
  vllm.ownPodTemplate  the same without them
  vllm.podSpec         spec of the pod
  vllm.podLabels       its labels
  vllm.podAnnotations  its annotations, or nothing
  vllm.strategy        how a rollout replaces pods
  vllm.scheduling      nodeSelector, affinity and tolerations
  vllm.topologySpread  topologySpreadConstraints of two or more pods, or nothing
*/ -}}

{{- define "vllm.podTemplate" -}}
{{- $key := printf "models.%s.pod" .name -}}
{{- include "vllm.checkVariables" (tuple (printf "%s.env" $key) .model.pod.env) -}}
{{- include "common.podTemplate" (dict "root" .root "key" $key "pod" .model.pod "template" (include "vllm.ownPodTemplate" .) "own" (include "vllm.ownNames" . | fromJsonArray)) -}}
{{- end -}}

{{- define "vllm.ownPodTemplate" -}}
metadata:
  labels:
    {{- include "vllm.podLabels" . | nindent 4 }}
  {{- with include "vllm.podAnnotations" . }}
  annotations:
    {{- . | nindent 4 }}
  {{- end }}
spec:
  {{- include "vllm.podSpec" . | nindent 2 }}
{{- end -}}

{{- define "vllm.podSpec" -}}
{{- $sizes := include "vllm.sizes" . | fromJson -}}
{{- $worker := include "vllm.isWorker" . -}}
{{- $memory := include "vllm.quantity" $sizes.memory -}}
{{- $requests := dict "cpu" (mod $sizes.cpu 1000 | eq 0 | ternary (div $sizes.cpu 1000 | toString) (printf "%dm" (int64 $sizes.cpu))) "memory" $memory "ephemeral-storage" (include "vllm.quantity" $sizes.disk) -}}
{{- $resources := dict "requests" $requests "limits" (dict "memory" $memory) -}}
{{- with include "vllm.imagePullSecrets" . }}{{ . }}
{{ end -}}
serviceAccountName: {{ include "vllm.serviceAccount" . }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .model.scheduling.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .model.scheduling.schedulerName | default (include "common.accelerator.schedulerName" (tuple .root .model.accelerator)) }}
schedulerName: {{ . }}
{{- end }}
terminationGracePeriodSeconds: {{ int64 $sizes.graceSeconds }}
securityContext:
  {{- include "common.podSecurityContext" (dict "uid" .model.uid) | nindent 2 }}
{{- with include "vllm.scheduling" . }}
{{ . }}
{{- end }}
{{- if include "common.accelerator.claimed" .model.accelerator }}
resourceClaims:
  - name: accelerator
    resourceClaimTemplateName: {{ include "vllm.devicesName" . }}
{{- end }}
{{- with include "vllm.topologySpread" . }}
topologySpreadConstraints:
{{ . }}
{{- end }}
containers:
  - name: vllm
    image: {{ include "common.image" (dict "root" .root "image" .model.image) }}
    imagePullPolicy: IfNotPresent
    {{- if not (include "vllm.isNim" .) }}
    command: {{ include "vllm.command" . }}
    args:
      {{- include "vllm.arguments" . | fromJsonArray | toYaml | nindent 6 }}
    {{- end }}
    {{- /* Its plugin writes a copy of the weights to `local-models` of the working directory, which is root's in the image. */}}
    {{- if eq .model.accelerator.kind "neuron" }}
    workingDir: /cache
    {{- end }}
    env:
      {{- include "vllm.environment" . | nindent 6 }}
    {{- if not $worker }}
    ports:
      - name: http
        containerPort: 8000
    {{- end }}
    resources:
      {{- include "common.accelerator.resources" (dict "root" .root "accelerator" .model.accelerator "resources" $resources) | nindent 6 }}
    securityContext:
      {{- include "vllm.containerSecurityContext" . | nindent 6 }}
    {{- /* A worker serves nothing: it ends with its engine, and its group is recreated. */}}
    {{- if not $worker }}
    startupProbe:
      httpGet:
        path: {{ include "vllm.path" (tuple . "startup") }}
        port: http
      periodSeconds: {{ int64 .model.startup.periodSeconds }}
      timeoutSeconds: 5
      failureThreshold: {{ int64 $sizes.startupFailures }}
    {{- range $kind := list "liveness" "readiness" }}
    {{- $probe := get $.model.probes $kind }}
    {{ $kind }}Probe:
      httpGet:
        path: {{ include "vllm.path" (tuple $ $kind) }}
        port: http
      periodSeconds: {{ int64 $probe.periodSeconds }}
      timeoutSeconds: {{ int64 $probe.timeoutSeconds }}
      failureThreshold: {{ int64 $probe.failureThreshold }}
    {{- end }}
    {{- end }}
    {{- /* The leader answers its last requests by means of its workers. */}}
    {{- with add .model.shutdown.preStopSeconds (empty $worker | ternary 0 .model.shutdown.drainSeconds) }}
    lifecycle:
      preStop:
        sleep:
          seconds: {{ int64 . }}
    {{- end }}
    volumeMounts:
      {{- include "vllm.volumeMounts" . | nindent 6 }}
volumes:
  {{- include "vllm.volumes" . | nindent 2 }}
{{- end -}}

{{- /* Without the chart's version, or an upgrade of the chart alone would load every model again. */ -}}
{{- define "vllm.podLabels" -}}
{{- $own := include "common.selectorLabels" (dict "root" .root "component" .name) | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/part-of" "genai-platform" -}}
{{- with .role }}{{ $_ := set $own "drydock.dev/role" . }}{{ end -}}
{{- include "common.merge" (tuple .model.podLabels $own) | fromJson | toYaml -}}
{{- end -}}

{{- define "vllm.podAnnotations" -}}
{{- $annotations := dict -}}
{{- with include "vllm.settings" . | fromJson }}{{ $_ := set $annotations "checksum/settings" (toJson . | sha256sum | trunc 16) }}{{ end -}}
{{- if and .model.metrics.annotate (not (include "vllm.isWorker" .)) -}}
{{- $_ := set $annotations "prometheus.io/scrape" "true" -}}
{{- $_ := set $annotations "prometheus.io/port" "8000" -}}
{{- $_ := set $annotations "prometheus.io/path" (include "vllm.path" (tuple . "metrics")) -}}
{{- end -}}
{{- if .model.scheduling.doNotDisrupt }}{{ $_ := set $annotations "karpenter.sh/do-not-disrupt" "true" }}{{ end -}}
{{- with include "common.merge" (tuple .model.podAnnotations $annotations) | fromJson -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{- define "vllm.scheduling" -}}
{{- $scheduling := .model.scheduling -}}
{{- $nodeSelector := deepCopy $scheduling.nodeSelector -}}
{{- with $scheduling.zone }}{{ $_ := set $nodeSelector "topology.kubernetes.io/zone" . }}{{ end -}}
{{- with $scheduling.architecture }}{{ $_ := set $nodeSelector "kubernetes.io/arch" . }}{{ end -}}
{{- $tolerations := list -}}
{{- range $name := keys $scheduling.tolerations | sortAlpha -}}
{{- with get $scheduling.tolerations $name }}{{ $tolerations = append $tolerations . }}{{ end -}}
{{- end -}}
{{- include "common.accelerator.scheduling" (dict "root" .root "accelerator" .model.accelerator "nodeSelector" $nodeSelector "affinity" (include "vllm.multiNode.affinity" . | fromJson) "tolerations" $tolerations) -}}
{{- end -}}

{{- /*
A rolling update creates the new pod while the old one, which still drains, holds its GPU: Karpenter would buy a node for it.
With a single pod nothing is lost by waiting.
*/ -}}
{{- define "vllm.strategy" -}}
{{- if and (le (include "vllm.mostReplicas" . | int) 1) (eq 0 (int .model.rollout.maxSurge)) -}}
type: Recreate
{{- else -}}
type: RollingUpdate
rollingUpdate:
  maxSurge: {{ int .model.rollout.maxSurge }}
  maxUnavailable: {{ int .model.rollout.maxUnavailable }}
{{- end -}}
{{- end -}}

{{- define "vllm.topologySpread" -}}
{{- $constraints := list -}}
{{- if and (gt (include "vllm.mostReplicas" . | int) 1) (not .model.multiNode.enabled) -}}
{{- range $label := keys .model.scheduling.topologySpread | sortAlpha -}}
{{- with get $.model.scheduling.topologySpread $label -}}
{{- $constraint := dict "topologyKey" $label "maxSkew" (int .maxSkew) "whenUnsatisfiable" .whenUnsatisfiable "matchLabelKeys" (list "pod-template-hash") -}}
{{- $_ := set $constraint "labelSelector" (dict "matchLabels" (include "common.selectorLabels" (dict "root" $.root "component" $.name) | fromYaml)) -}}
{{- $constraints = append $constraints $constraint -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- with $constraints }}{{ toYaml . | indent 2 }}{{ end -}}
{{- end -}}
