{{- /*
Training in a RayJob. Declared helpers, each for a pipeline's context:
  argo.rayJob  the RayJob, with Argo's variables in it
  argo.rayPod  spec of a pod of its cluster; with `accelerated`
*/ -}}

{{- define "argo.rayJob" -}}
apiVersion: ray.io/v1
kind: RayJob
metadata:
  generateName: {{ printf "%s-" (include "argo.pipelineName" (tuple .root .name)) }}
  labels:
    drydock.dev/pipeline: {{ .name }}
spec:
  entrypoint: >-
    python3 /opt/pipeline/fine_tuning.py
    --dataset={{ include "argo.address" (tuple .root "dataset") }}
    --configuration={{ include "argo.address" (tuple .root "configuration.json") }}
    --changes='{{ `{{inputs.parameters.changes}}` }}'
    --checkpoint={{ include "argo.address" (tuple .root (`checkpoints/{{inputs.parameters.name}}`)) }}
    --model={{ `{{workflow.parameters.models}}/{{workflow.name}}/{{inputs.parameters.name}}` }}
  # What the head has none of, so that the training runs on the worker.
  {{- if ne .pipeline.accelerator.kind "none" }}
  entrypointNumGpus: {{ int .pipeline.accelerator.count }}
  {{- else }}
  entrypointNumCpus: 1
  {{- end }}
  # The checkpoints make a second try go on where the first one ended.
  backoffLimit: {{ int .pipeline.retry.limit }}
  submissionMode: HTTPMode
  shutdownAfterJobFinishes: true
  ttlSecondsAfterFinished: 600
  activeDeadlineSeconds: {{ int .pipeline.deadlineSeconds }}
  rayClusterSpec:
    rayVersion: {{ .pipeline.ray.version | quote }}
    headGroupSpec:
      rayStartParams:
        num-cpus: "0"
      template:
        metadata:
          labels:
            {{- include "common.selectorLabels" (dict "root" .root "component" "ray") | nindent 12 }}
        spec:
          {{- include "argo.rayPod" (merge (dict "accelerated" false "container" "ray-head") .) | nindent 10 }}
    workerGroupSpecs:
      - groupName: training
        replicas: 1
        minReplicas: 1
        maxReplicas: 1
        {{- /* KubeRay does not know that a share of a GPU is one. */}}
        rayStartParams:
          {{- eq .pipeline.accelerator.kind "nvidia" | ternary (dict "num-gpus" (int .pipeline.accelerator.count | toString)) dict | toYaml | nindent 10 }}
        template:
          metadata:
            labels:
              {{- include "common.selectorLabels" (dict "root" .root "component" "ray") | nindent 14 }}
            annotations:
              karpenter.sh/do-not-disrupt: "true"
          spec:
            {{- include "argo.rayPod" (merge (dict "accelerated" true "container" "ray-worker") .) | nindent 12 }}
{{- end -}}

{{- define "argo.rayPod" -}}
serviceAccountName: {{ include "argo.accountName" (tuple .root "training") }}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: {{ int .pipeline.graceSeconds }}
{{- with .pipeline.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with include "common.imagePullSecrets" .root }}
{{ . }}
{{- end }}
securityContext:
  {{- include "common.podSecurityContext" (dict "uid" 1000) | nindent 2 }}
{{- with include "argo.scheduling" . }}
{{ . }}
{{- end }}
containers:
  - name: {{ .container }}
    {{- include "argo.pod" (merge (dict "image" .pipeline.ray.image) .) | nindent 4 }}
volumes:
  {{- include "argo.volumes" . | nindent 2 }}
{{- end -}}
