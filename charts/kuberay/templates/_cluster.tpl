{{- /*
A Ray cluster. Its context is (dict "root" . "name" NAME "cluster" CLUSTER ["service" SERVICE]). Declared helpers:
  kuberay.clusterSpec  spec of a RayCluster
  kuberay.labels       labels of its objects and pods
  kuberay.selector     labels that its pods alone have
  kuberay.podTemplate  template of the head, or with `worker` of a group's pods; `key` is where they stand in the values
  kuberay.ownPodTemplate  the same without what values add
*/ -}}

{{- define "kuberay.labels" -}}
{{- include "common.labels" (dict "root" .root "component" .name) -}}
{{- end -}}

{{- define "kuberay.selector" -}}
{{- include "common.selectorLabels" (dict "root" .root "component" .name) -}}
{{- end -}}

{{- define "kuberay.clusterSpec" -}}
{{- $context := . -}}
{{- $key := printf (empty .service | ternary "rayClusters.%s" "rayServices.%s.cluster") .name -}}
rayVersion: {{ .cluster.version | quote }}
{{- if .cluster.tokenAuthentication }}
authOptions:
  mode: token
{{- end }}
{{- with .cluster.redis }}
{{- if .address }}
gcsFaultToleranceOptions:
  redisAddress: {{ .address }}
  {{- with .passwordSecret }}
  {{- if .name }}
  redisPassword:
    valueFrom:
      secretKeyRef:
        name: {{ .name }}
        key: {{ .key }}
  {{- end }}
  {{- end }}
{{- end }}
{{- end }}
enableInTreeAutoscaling: {{ .cluster.autoscaling.enabled }}
{{- with .cluster.autoscaling }}
{{- if .enabled }}
autoscalerOptions:
  version: v2
  upscalingMode: {{ .upscalingMode }}
  idleTimeoutSeconds: {{ int .idleSeconds }}
  imagePullPolicy: IfNotPresent
  resources:
    {{- toYaml .resources | nindent 4 }}
  securityContext:
    {{- include "common.containerSecurityContext" . | nindent 4 }}
  volumeMounts:
    - name: autoscaler-tmp
      mountPath: /tmp
    - name: autoscaler-token
      mountPath: /var/run/secrets/kubernetes.io/serviceaccount
      readOnly: true
{{- end }}
{{- end }}
headGroupSpec:
  serviceType: ClusterIP
  enableIngress: false
  # No work: a task that fills its memory would take the cluster with it.
  rayStartParams:
    num-cpus: "0"
    num-gpus: "0"
    dashboard-host: 0.0.0.0
  template:
    {{- include "kuberay.podTemplate" (merge (dict "key" (printf "%s.head" $key)) .) | nindent 4 }}
{{- with .cluster.workers }}
workerGroupSpecs:
  {{- range $name := keys . | sortAlpha }}
  {{- $worker := get $context.cluster.workers $name }}
  {{- if gt (int $worker.minReplicas) (int $worker.maxReplicas) }}
  {{- fail (printf "%s: workers.%s.minReplicas is %d, beyond maxReplicas %d: set it to that or less" $context.name $name (int $worker.minReplicas) (int $worker.maxReplicas)) }}
  {{- end }}
  {{- if and (not $context.cluster.autoscaling.enabled) (eq 0 (int $worker.minReplicas)) }}
  {{- fail (printf "%s: workers.%s.minReplicas is 0 and autoscaling is off, so it never has a worker: set minReplicas, or turn autoscaling on" $context.name $name) }}
  {{- end }}
  - groupName: {{ $name }}
    {{- /* With the autoscaler on, it writes this field and nothing else does. */}}
    {{- if not $context.cluster.autoscaling.enabled }}
    replicas: {{ int $worker.minReplicas }}
    {{- end }}
    minReplicas: {{ int $worker.minReplicas }}
    maxReplicas: {{ int $worker.maxReplicas }}
    {{- $parameters := dict }}
    {{- /* Neither the operator nor Ray's autoscaler knows that a share of a GPU is one. */}}
    {{- if eq $worker.accelerator.kind "nvidia" }}{{ $_ := set $parameters "num-gpus" (int $worker.accelerator.count | toString) }}{{ end }}
    {{- /* Quoted for the shell as well; the operator reads it with single quotes alone. */}}
    {{- with $worker.rayResources }}{{ $_ := set $parameters "resources" (toJson . | squote) }}{{ end }}
    rayStartParams:
      {{- toYaml $parameters | nindent 6 }}
    template:
      {{- include "kuberay.podTemplate" (merge (dict "worker" $worker "key" (printf "%s.workers.%s" $key $name)) $context) | nindent 6 }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "kuberay.podTemplate" -}}
{{- include "common.podTemplate" (dict "root" .root "key" (printf "%s.pod" .key) "pod" (.worker | default .cluster.head).pod "template" (include "kuberay.ownPodTemplate" .)) -}}
{{- end -}}

{{- define "kuberay.ownPodTemplate" -}}
{{- $group := .worker | default .cluster.head -}}
{{- $accelerator := dict "kind" "none" "pool" .cluster.head.pool -}}
{{- with .worker }}{{ $accelerator = .accelerator }}{{ end -}}
{{- $nodeSelector := dict -}}
{{- with .cluster.architecture }}{{ $_ := set $nodeSelector "kubernetes.io/arch" . }}{{ end -}}
metadata:
  labels:
    {{- /* None that a release of the chart changes: that would be another cluster. */}}
    {{- include "kuberay.selector" . | nindent 4 }}
  {{- if or (not .worker) (not .service) }}
  annotations:
    # A head takes its cluster with it, and a worker the work on it; Ray's autoscaler ends those that are idle.
    karpenter.sh/do-not-disrupt: "true"
  {{- end }}
spec:
  serviceAccountName: {{ include "kuberay.objectName" (tuple .root .name) }}
  # Jobs run in these containers. Only the autoscaler talks to the Kubernetes API, and mounts a token of its own.
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ int .cluster.graceSeconds }}
  {{- with .cluster.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with include "common.imagePullSecrets" .root }}
  {{- . | nindent 2 }}
  {{- end }}
  securityContext:
    {{- include "common.podSecurityContext" (dict "uid" 1000 "gid" 100) | nindent 4 }}
  {{- with include "common.accelerator.scheduling" (dict "root" .root "accelerator" $accelerator "nodeSelector" $nodeSelector) | fromYaml }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  containers:
    - name: {{ empty .worker | ternary "ray-head" "ray-worker" }}
      image: {{ include "common.image" (dict "root" .root "image" .cluster.image) }}
      imagePullPolicy: IfNotPresent
      env:
        {{- include "kuberay.environment" . | trim | nindent 8 }}
      ports:
        - name: metrics
          containerPort: 8080
        {{- if .service }}
        - name: serve
          containerPort: 8000
        {{- end }}
        {{- if not .worker }}
        - name: gcs-server
          containerPort: 6379
        - name: dashboard
          containerPort: 8265
        - name: client
          containerPort: 10001
        {{- end }}
      resources:
        {{- include "common.accelerator.resources" (dict "root" .root "accelerator" $accelerator "resources" $group.resources) | nindent 8 }}
      securityContext:
        {{- include "common.containerSecurityContext" . | nindent 8 }}
      volumeMounts:
        - name: tmp
          mountPath: /tmp
        - name: cache
          mountPath: /cache
        {{- if and .worker (not (include "common.accelerator.byMps" (tuple .root $accelerator))) }}
        - name: shared-mem
          mountPath: /dev/shm
        {{- end }}
        {{- if and .service .service.stableDiffusion.enabled }}
        - name: applications
          mountPath: /opt/applications
          readOnly: true
        {{- end }}
  volumes:
    - name: tmp
      emptyDir:
        sizeLimit: {{ $group.diskSize }}
    - name: cache
      emptyDir:
        sizeLimit: {{ $group.diskSize }}
    {{- if and (not .worker) .cluster.autoscaling.enabled }}
    - name: autoscaler-tmp
      emptyDir:
        sizeLimit: 1Gi
    - name: autoscaler-token
      projected:
        sources:
          - serviceAccountToken:
              path: token
              expirationSeconds: 3600
          - configMap:
              name: kube-root-ca.crt
              items:
                - key: ca.crt
                  path: ca.crt
          - downwardAPI:
              items:
                - path: namespace
                  fieldRef:
                    fieldPath: metadata.namespace
    {{- end }}
    {{- if and .worker (not (include "common.accelerator.byMps" (tuple .root $accelerator))) }}
    - name: shared-mem
      emptyDir:
        medium: Memory
        sizeLimit: {{ .worker.sharedMemory }}
    {{- end }}
    {{- if and .service .service.stableDiffusion.enabled }}
    - name: applications
      configMap:
        name: {{ include "kuberay.scriptsName" .root }}
    {{- end }}
{{- end -}}

{{- define "kuberay.environment" -}}
{{- $own := dict "HOME" "/cache" "HF_HOME" "/cache/huggingface" "VLLM_CACHE_ROOT" "/cache/vllm" "TORCHINDUCTOR_CACHE_DIR" "/cache/torchinductor" "TRITON_CACHE_DIR" "/cache/triton" "RAY_USAGE_STATS_ENABLED" "0" "VLLM_NO_USAGE_STATS" "1" "DO_NOT_TRACK" "1" -}}
{{- if and .service .service.stableDiffusion.enabled }}{{ $_ := set $own "PYTHONPATH" "/opt/applications" }}{{ end -}}
{{- if and .worker .worker.accelerator.efa }}{{ $_ := set $own "FI_PROVIDER" "efa" }}{{ end -}}
{{- range $name := keys .cluster.env | sortAlpha -}}
{{- if hasKey $own $name -}}
{{- fail (printf "env.%s is set by the chart: leave it out" $name) -}}
{{- end -}}
{{- include "common.checkNoCredential" (tuple (printf "%s: env.%s" $.name $name) $name (get $.cluster.env $name) "name its Secret in tokenSecret, or give the ServiceAccount a role") -}}
{{- $_ := set $own $name (get $.cluster.env $name) -}}
{{- end -}}
{{- range $name := keys $own | sortAlpha }}
- name: {{ $name }}
  value: {{ get $own $name | quote }}
{{- end }}
{{- with .cluster.tokenSecret }}
{{- if .name }}
- name: HF_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ .name }}
      key: {{ .key }}
      optional: true
{{- end }}
{{- end }}
{{- end -}}
