{{- /*
Training in a RayJob. Declared helpers, each for a pipeline's context:
  argo.rayJob  the RayJob, with Argo's variables in it
  argo.rayTemplate  template of a pod of its cluster, with what values add to it; with `accelerated` and `container`
  argo.rayPod  its spec; the same
  argo.rayEntrypoint   what the job runs, the same for each run
  argo.rayEnvironment  what differs between runs, for fine_tuning.py
*/ -}}

{{- define "argo.rayEntrypoint" -}}
python3 /opt/pipeline/fine_tuning.py
{{- end -}}

{{- /*
Parameters may hold anything, and Argo puts them into the manifest's text: in base64, neither YAML nor a shell reads more into
them. Each expression names variables of one scope, since Argo replaces those of the workflow before those of the inputs.
*/ -}}
{{- define "argo.rayEnvironment" -}}
- name: TRAINING_FOLDER
  value: {{ include "argo.address" (tuple .root "") | trimSuffix "/" | quote }}
- name: TRAINING_MODELS
  value: {{ `"{{=sprig.b64enc(workflow.parameters.models)}}"` }}
- name: TRAINING_RUN
  value: {{ `"{{workflow.name}}"` }}
- name: TRAINING_NAME
  value: {{ `"{{=sprig.b64enc(inputs.parameters.name)}}"` }}
- name: TRAINING_CHANGES
  value: {{ `"{{=sprig.b64enc(inputs.parameters.changes)}}"` }}
{{- end -}}

{{- define "argo.rayJob" -}}
apiVersion: ray.io/v1
kind: RayJob
metadata:
  generateName: {{ printf "%s-" (include "argo.pipelineName" (tuple .root .name)) }}
  labels:
    drydock.dev/pipeline: {{ .name }}
spec:
  entrypoint: {{ include "argo.rayEntrypoint" . }}
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
    # The operator makes the token and is the only one that knows it beside the cluster's own pods.
    authOptions:
      mode: token
    headGroupSpec:
      rayStartParams:
        num-cpus: "0"
      template:
        {{- include "argo.rayTemplate" (merge (dict "accelerated" false "container" "ray-head" "resources" .pipeline.ray.headResources) .) | nindent 8 }}
    workerGroupSpecs:
      - groupName: training
        replicas: 1
        minReplicas: 1
        maxReplicas: 1
        {{- /* KubeRay does not know that a share of a GPU is one. */}}
        rayStartParams:
          {{- eq .pipeline.accelerator.kind "nvidia" | ternary (dict "num-gpus" (int .pipeline.accelerator.count | toString)) dict | toYaml | nindent 10 }}
        template:
          {{- include "argo.rayTemplate" (merge (dict "accelerated" true "container" "ray-worker") .) | nindent 10 }}
{{- end -}}

{{- define "argo.rayTemplate" -}}
{{- $key := printf "pipelines.%s.pod" .name -}}
{{- range $name := list "volumes" "envFrom" "lifecycle" "initContainers" "sidecars" -}}
{{- if get $.pipeline.pod $name -}}
{{- fail (printf "%s.%s: with ray.enabled the account of the training starts no pods but the chart's own, without any: leave it out" $key $name) -}}
{{- end -}}
{{- end -}}
{{- include "common.podTemplate" (dict "root" .root "key" $key "pod" .pipeline.pod "template" (include "argo.ownRayTemplate" .)) -}}
{{- end -}}

{{- define "argo.ownRayTemplate" -}}
metadata:
  labels:
    {{- include "common.selectorLabels" (dict "root" .root "component" "ray") | nindent 4 }}
  {{- if .accelerated }}
  annotations:
    karpenter.sh/do-not-disrupt: "true"
  {{- end }}
spec:
  {{- include "argo.rayPod" . | nindent 2 }}
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
    {{- $pod := include "argo.pod" (merge (dict "image" .pipeline.ray.image) .) | fromYaml }}
    {{- $_ := set $pod "env" (concat $pod.env (include "argo.rayEnvironment" . | fromYamlArray)) }}
    {{- toYaml $pod | nindent 4 }}
volumes:
  {{- include "argo.volumes" . | nindent 2 }}
{{- end -}}
