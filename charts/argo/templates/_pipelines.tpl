{{- /*
The pipelines. Declared helpers:
  argo.pipelines       every enabled pipeline in the order of its name, as JSON: a list of NAME, NAMESPACE and PIPELINE; takes
                       the root
  argo.trials          combinations of a grid, each with a name, as JSON; takes the grid
  argo.deploymentName  Deployment that serves the result; takes a pipeline's context
  argo.stage           what every stage of a pipeline has, open at its end for `args` of the container; takes a pipeline's
                       context with `script`, `kind` and `accelerated`
  argo.ownStage        the same without what values add to its pod
  argo.podSpecPatch    fields of every pod that Argo has no key for, as JSON; takes a pipeline's context
  argo.pod             container fields that do not differ between pods of Argo and of Ray; the same context
  argo.volumes         volumes of a stage; the same context
  argo.scheduling      nodeSelector, affinity and tolerations; the same context
  argo.inputs          data set and configuration as input artifacts; takes the root
  argo.best            report of the chosen model as an input artifact; takes the root

A pipeline's context is (dict "root" . "name" NAME "namespace" NAMESPACE "pipeline" PIPELINE).
*/ -}}

{{- define "argo.pipelines" -}}
{{- $contexts := list -}}
{{- range $name := keys .Values.pipelines | sortAlpha -}}
{{- $own := get $.Values.pipelines $name -}}
{{- if not (kindIs "invalid" $own) -}}
{{- $pipeline := include "common.merge" (tuple $.Values.pipelineDefaults $own) | fromJson -}}
{{- if $pipeline.enabled -}}
{{- $contexts = append $contexts (dict "name" $name "namespace" ($pipeline.namespace | default $.Release.Namespace) "pipeline" $pipeline) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $contexts -}}
{{- end -}}

{{- define "argo.trials" -}}
{{- $trials := list dict -}}
{{- range $setting := keys . | sortAlpha -}}
{{- $values := get $ $setting -}}
{{- $longer := list -}}
{{- range $trial := $trials -}}
{{- range $value := $values -}}
{{- $longer = append $longer (set (deepCopy $trial) $setting $value) -}}
{{- end -}}
{{- end -}}
{{- $trials = $longer -}}
{{- end -}}
{{- $named := list -}}
{{- if . -}}
{{- range $number, $trial := $trials }}{{ $named = append $named (set $trial "name" (printf "trial-%d" (add1 $number))) }}{{ end -}}
{{- end -}}
{{- toJson $named -}}
{{- end -}}

{{- define "argo.deploymentName" -}}
{{- $deployment := .pipeline.deployment -}}
{{- if $deployment.name -}}
{{- $deployment.name -}}
{{- else -}}
{{- include "common.siblingName" (tuple .root "vllm" $deployment.model) -}}
{{- end -}}
{{- end -}}

{{- /* Argo keeps a pod's fields beside its container, and `container` comes last for what follows. */ -}}
{{- define "argo.stage" -}}
{{- if not (include "common.entries" .pipeline.pod | fromJson) -}}
{{ include "argo.ownStage" . }}
{{- else -}}
{{- $stage := include "argo.ownStage" . | fromYaml -}}
{{- $own := include "argo.volumes" . | fromYamlArray -}}
{{- $spec := pick $stage "nodeSelector" "affinity" "tolerations" -}}
{{- $_ := set $spec "securityContext" (include "common.podSecurityContext" (dict "uid" 1000) | fromYaml) -}}
{{- $_ := set $spec "containers" (list (set $stage.container "name" "main")) -}}
{{- $_ := set $spec "volumes" $own -}}
{{- $template := toYaml (dict "metadata" ($stage.metadata | default dict) "spec" $spec) -}}
{{- $key := printf "pipelines.%s.pod" .name -}}
{{- $template = include "common.podTemplate" (dict "root" .root "key" $key "pod" .pipeline.pod "template" $template) | fromYaml -}}
{{- $fields := pick $template.spec "nodeSelector" "affinity" "tolerations" "hostAliases" "priorityClassName" "securityContext" "initContainers" -}}
{{- $_ := set $fields "metadata" (pick $template.metadata "annotations" "labels") -}}
{{- with slice $template.spec.volumes (len $own) }}{{ $_ := set $fields "volumes" . }}{{ end -}}
{{- toYaml (merge $fields (pick $stage "serviceAccountName" "retryStrategy")) }}
container:
  {{- omit (first $template.spec.containers) "name" | toYaml | nindent 2 }}
{{- end -}}
{{- end -}}

{{- define "argo.podSpecPatch" -}}
{{- $patch := dict "enableServiceLinks" false "terminationGracePeriodSeconds" (int .pipeline.graceSeconds) -}}
{{- $pod := include "common.podTemplate" (dict "root" .root "key" "" "pod" (pick .pipeline.pod "dnsPolicy" "dnsConfig" "runtimeClassName") "template" "{spec: {containers: [{name: main}]}}") | fromYaml -}}
{{- toJson (merge $patch (omit $pod.spec "containers")) -}}
{{- end -}}

{{- define "argo.ownStage" -}}
{{- $pipeline := .pipeline -}}
serviceAccountName: {{ include "argo.accountName" (tuple .root .kind) }}
{{- if .accelerated }}
metadata:
  annotations:
    karpenter.sh/do-not-disrupt: "true"
{{- end }}
{{- with include "argo.scheduling" . }}
{{ . }}
{{- end }}
retryStrategy:
  limit: {{ int $pipeline.retry.limit | quote }}
  retryPolicy: Always
  # 75: a checkpoint was saved; 143: ended by SIGTERM. What went wrong by itself would go wrong again.
  expression: >-
    lastRetry.status == "Error" || lastRetry.exitCode in ["75", "143"]
    || lastRetry.message matches "imminent node shutdown|pod deleted|Evicted|low on resource|Preempt"
  backoff:
    duration: {{ int $pipeline.retry.backoffSeconds | quote }}
    factor: "2"
container:
  command: [python3, /opt/pipeline/{{ .script }}]
  {{- include "argo.pod" . | nindent 2 }}
{{- end -}}

{{- define "argo.scheduling" -}}
{{- $pipeline := .pipeline -}}
{{- $nodeSelector := deepCopy $pipeline.nodeSelector -}}
{{- with $pipeline.architecture }}{{ $_ := set $nodeSelector "kubernetes.io/arch" . }}{{ end -}}
{{- $accelerator := .accelerated | ternary $pipeline.accelerator (dict "kind" "none") -}}
{{- $tolerations := include "common.entryList" $pipeline.tolerations | fromJsonArray -}}
{{- include "common.accelerator.scheduling" (dict "root" .root "accelerator" $accelerator "nodeSelector" $nodeSelector "tolerations" $tolerations) -}}
{{- end -}}

{{- define "argo.pod" -}}
{{- $pipeline := .pipeline -}}
{{- $accelerator := .accelerated | ternary $pipeline.accelerator (dict "kind" "none") -}}
{{- $image := .accelerated | ternary $pipeline.image (include "common.merge" (tuple $pipeline.image $pipeline.cpuImage) | fromJson) -}}
image: {{ include "common.image" (dict "root" .root "image" (.image | default $image)) }}
imagePullPolicy: IfNotPresent
env:
  # boto3 reads the second alone, other SDKs the first.
  {{- range list "AWS_REGION" "AWS_DEFAULT_REGION" }}
  - name: {{ . }}
    value: {{ include "argo.region" $.root }}
  {{- end }}
  - name: HOME
    value: /work
  - name: TMPDIR
    value: /work
  # The image knows no name for the numeric user, and torch asks for one.
  - name: USER
    value: pipeline
  - name: PYTHONDONTWRITEBYTECODE
    value: "1"
  - name: PYTHONUNBUFFERED
    value: "1"
  {{- with $pipeline.tokenSecret.name }}
  - name: HF_TOKEN
    valueFrom:
      secretKeyRef:
        name: {{ . }}
        key: {{ $pipeline.tokenSecret.key }}
  {{- end }}
resources:
  {{- include "common.accelerator.resources" (dict "root" .root "accelerator" $accelerator "resources" (.resources | default (.accelerated | ternary $pipeline.acceleratedResources $pipeline.resources))) | nindent 2 }}
securityContext:
  {{- include "common.containerSecurityContext" . | nindent 2 }}
volumeMounts:
  - name: pipeline
    mountPath: /opt/pipeline
    readOnly: true
  - name: work
    mountPath: /work
  - name: tmp
    mountPath: /tmp
  {{- if not (include "common.accelerator.byMps" (tuple .root $accelerator)) }}
  - name: shared-memory
    mountPath: /dev/shm
  {{- end }}
{{- end -}}

{{- define "argo.volumes" -}}
- name: pipeline
  configMap:
    name: {{ include "argo.scriptsName" .root }}
- name: work
  emptyDir:
    sizeLimit: {{ .pipeline.workSpace }}
- name: tmp
  emptyDir:
    sizeLimit: 1Gi
- name: shared-memory
  emptyDir:
    medium: Memory
    sizeLimit: {{ .pipeline.sharedMemory }}
{{- end -}}

{{- define "argo.inputs" -}}
- name: dataset
  path: /work/dataset
  s3: {key: {{ include "argo.key" (tuple . "dataset") | quote }}}
- name: configuration
  path: /work/configuration.json
  s3: {key: {{ include "argo.key" (tuple . "configuration.json") | quote }}}
{{- end -}}

{{- define "argo.best" -}}
- name: best
  path: /work/best.json
  s3: {key: {{ include "argo.key" (tuple . "best.json") | quote }}}
{{- end -}}
