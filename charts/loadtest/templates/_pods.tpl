{{- /*
What the pods have in common. Declared helpers:
  loadtest.jobSpec    (dict "root" . "component" NAME "pods" N) of the Job, up to its pod template
  loadtest.podSpec    the pod's nodes, security and volumes; takes the root
  loadtest.container  (dict "root" . "resources" MAP) of the container all but name, arguments, ports and environment
  loadtest.planArguments  arguments that name the load; takes the root
*/ -}}

{{- define "loadtest.jobSpec" -}}
{{- include "common.checkCall" (tuple "loadtest.jobSpec" . (list "root" "component" "pods")) -}}
completions: {{ int .pods }}
parallelism: {{ int .pods }}
backoffLimit: 0
activeDeadlineSeconds: {{ int64 .root.Values.deadlineSeconds }}
ttlSecondsAfterFinished: {{ int64 .root.Values.ttlSeconds }}
{{- end -}}

{{- define "loadtest.podSpec" -}}
{{- $scheduling := .Values.scheduling -}}
{{- with include "common.imagePullSecrets" . }}{{ . }}
{{ end -}}
serviceAccountName: {{ include "common.fullname" . }}
automountServiceAccountToken: false
enableServiceLinks: false
restartPolicy: Never
terminationGracePeriodSeconds: 30
{{- with $scheduling.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
securityContext:
  {{- include "common.podSecurityContext" dict | nindent 2 }}
{{- $nodeSelector := deepCopy $scheduling.nodeSelector -}}
{{- with $scheduling.architecture }}{{ $_ := set $nodeSelector "kubernetes.io/arch" . }}{{ end }}
{{- with $nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if $scheduling.avoidAccelerators }}
affinity:
  nodeAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      nodeSelectorTerms:
        - matchExpressions:
            - key: {{ include "common.nodeLabel" (tuple . "karpenter.k8s.aws/instance-gpu-name") }}
              operator: DoesNotExist
            - key: {{ include "common.nodeLabel" (tuple . "karpenter.k8s.aws/instance-accelerator-name") }}
              operator: DoesNotExist
{{- end }}
{{- with include "common.entryList" $scheduling.tolerations | fromJsonArray }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumes:
  - name: plan
    configMap:
      name: {{ include "loadtest.planName" . }}
  - name: tmp
    emptyDir: {}
{{- end -}}

{{- define "loadtest.container" -}}
{{- include "common.checkCall" (tuple "loadtest.container" . (list "root" "resources")) -}}
image: {{ include "common.image" (dict "root" .root "image" .root.Values.image) }}
imagePullPolicy: IfNotPresent
command: [python, -m, drydock.loadtest.node]
resources:
  {{- toYaml .resources | nindent 2 }}
securityContext:
  {{- include "common.containerSecurityContext" .root | nindent 2 }}
volumeMounts:
  - name: plan
    mountPath: /etc/loadtest
    readOnly: true
  - name: tmp
    mountPath: /tmp
{{- end -}}

{{- define "loadtest.planArguments" -}}
- --plan=/etc/loadtest/plan.json
- --url={{ .Values.url }}
{{- if .Values.dataset }}
- --dataset=/etc/loadtest/dataset.jsonl
{{- end }}
{{- end -}}
