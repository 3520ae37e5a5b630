{{- /*
What users choose from, as templates of pods. Declared helpers:
  jupyterhub.contexts   every enabled profile in the order of its name, as JSON: a list of NAME and PROFILE; takes the root
  jupyterhub.profiles   profiles.yaml: the servers' namespace if it is not the release's, the claim of a home, and a pod's template for
                        each profile; takes the root
  jupyterhub.template   template of a profile's pod
  jupyterhub.ownTemplate  the same without what values add to it
  jupyterhub.podSpec    its spec
  jupyterhub.homeClaim  template of a home's claim, as a list of one or none; takes the root
  jupyterhub.sharedMemory  size of /dev/shm, or nothing
  jupyterhub.volumes    volumes of the pod
  jupyterhub.mounts     where they are mounted

A profile's context, which most helpers take, is (dict "root" . "name" NAME "profile" PROFILE).
*/ -}}

{{- define "jupyterhub.contexts" -}}
{{- $start := pick .Values.singleuser "image" "cpu" "memory" "sharedMemory" "accelerator" "architecture" "zone" "nodeSelector" "tolerations" "priorityClassName" "extraEnv" "pod" -}}
{{- $contexts := list -}}
{{- range $name := keys .Values.singleuser.profiles | sortAlpha -}}
{{- $own := get $.Values.singleuser.profiles $name -}}
{{- if and $own $own.enabled -}}
{{- $contexts = append $contexts (dict "name" $name "profile" (include "common.merge" (tuple $start $own) | fromJson)) -}}
{{- end -}}
{{- end -}}
{{- $defaults := list -}}
{{- range $contexts }}{{ if .profile.default }}{{ $defaults = append $defaults .name }}{{ end }}{{ end -}}
{{- if gt (len $defaults) 1 -}}
{{- fail (printf "singleuser.profiles: only one can be the default, not %s" (join ", " $defaults)) -}}
{{- end -}}
{{- if not $contexts -}}
{{- fail "singleuser.profiles: there is nothing to choose from: enable one" -}}
{{- end -}}
{{- toJson $contexts -}}
{{- end -}}

{{- define "jupyterhub.profiles" -}}
{{- if ne (include "jupyterhub.namespace" .) .Release.Namespace -}}
namespace: {{ include "jupyterhub.namespace" . }}
{{ end -}}
volumeClaimTemplates:
  {{- include "jupyterhub.homeClaim" . | nindent 2 }}
profiles:
{{- range include "jupyterhub.contexts" . | fromJsonArray }}
{{- $context := dict "root" $ "name" .name "profile" .profile }}
  {{ .name }}:
    displayName: {{ .profile.displayName | default .name | quote }}
    description: {{ .profile.description | default "" | quote }}
    default: {{ eq true .profile.default }}
    template:
      {{- include "jupyterhub.template" $context | nindent 6 }}
{{- end }}
{{- end -}}

{{- define "jupyterhub.template" -}}
{{- $key := printf "singleuser.profiles.%s.pod" .name -}}
{{- range $name, $volume := .profile.pod.volumes -}}
{{- if hasKey ($volume | default dict) "projected" -}}
{{- fail (printf "%s.volumes.%s.projected: the hub starts no server with one, which could hold a token of the Kubernetes API: use configMap or secret" $key $name) -}}
{{- end -}}
{{- end -}}
{{- include "common.podTemplate" (dict "root" .root "key" $key "pod" .profile.pod "template" (include "jupyterhub.ownTemplate" .)) -}}
{{- end -}}

{{- define "jupyterhub.ownTemplate" -}}
{{- $singleuser := .root.Values.singleuser -}}
{{- $labels := include "common.selectorLabels" (dict "root" .root "component" "singleuser-server") | fromYaml -}}
{{- $_ := set $labels "app.kubernetes.io/part-of" "genai-platform" -}}
{{- $_ := set $labels "drydock.dev/profile" .name -}}
{{- $annotations := deepCopy $singleuser.extraAnnotations -}}
{{- if $singleuser.doNotDisrupt }}{{ $_ := set $annotations "karpenter.sh/do-not-disrupt" "true" }}{{ end -}}
metadata:
  labels:
    {{- merge $labels $singleuser.extraLabels | toYaml | nindent 4 }}
  {{- with $annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- include "jupyterhub.podSpec" . | nindent 2 }}
{{- end -}}

{{- /* Its root file system can be written to: users install packages into the image's environment. */ -}}
{{- define "jupyterhub.podSpec" -}}
{{- $singleuser := .root.Values.singleuser -}}
{{- $profile := .profile -}}
{{- $memory := $profile.memory.limit | default $profile.memory.guarantee -}}
{{- $resources := dict "requests" (dict "cpu" (toString $profile.cpu.guarantee) "memory" $profile.memory.guarantee) "limits" (dict "memory" $memory) -}}
{{- with $profile.cpu.limit }}{{ $_ := set $resources.limits "cpu" (toString .) }}{{ end -}}
{{- $nodeSelector := deepCopy $profile.nodeSelector -}}
{{- with $profile.zone }}{{ $_ := set $nodeSelector "topology.kubernetes.io/zone" . }}{{ end -}}
{{- with $profile.architecture }}{{ $_ := set $nodeSelector "kubernetes.io/arch" . }}{{ end -}}
{{- $tolerations := include "common.entryList" $profile.tolerations | fromJsonArray -}}
{{- $environment := include "common.environment" (dict "key" (printf "singleuser.profiles.%s.extraEnv" .name) "variables" $profile.extraEnv "own" (list "CPU_LIMIT" "MEM_LIMIT")) | fromYamlArray -}}
{{- with include "common.imagePullSecrets" .root }}{{ . }}
{{ end -}}
serviceAccountName: {{ include "jupyterhub.singleuserName" .root }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with $profile.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
securityContext:
  runAsNonRoot: true
  fsGroup: {{ int $singleuser.fsGid }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with include "common.accelerator.scheduling" (dict "root" .root "accelerator" $profile.accelerator "nodeSelector" $nodeSelector "tolerations" $tolerations) }}
{{ . }}
{{- end }}
containers:
  - name: notebook
    image: {{ include "common.image" (dict "root" .root "image" $profile.image) }}
    env:
      # What Jupyter shows as the most that the server may use.
      - name: MEM_LIMIT
        valueFrom:
          resourceFieldRef:
            containerName: notebook
            resource: limits.memory
      - name: CPU_LIMIT
        valueFrom:
          resourceFieldRef:
            containerName: notebook
            resource: limits.cpu
      {{- with $environment }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
    resources:
      {{- include "common.accelerator.resources" (dict "root" .root "accelerator" $profile.accelerator "resources" $resources) | nindent 6 }}
    securityContext:
      runAsUser: {{ int $singleuser.uid }}
      allowPrivilegeEscalation: false
      capabilities:
        drop:
          - ALL
    volumeMounts:
      {{- include "jupyterhub.mounts" . | nindent 6 }}
volumes:
  {{- include "jupyterhub.volumes" . | nindent 2 }}
{{- end -}}

{{- define "jupyterhub.homeClaim" -}}
{{- $storage := .Values.singleuser.storage -}}
{{- if eq $storage.type "dynamic" -}}
- metadata:
    name: {{ $storage.dynamic.pvcNameTemplate | quote }}
    labels:
      app.kubernetes.io/part-of: genai-platform
  spec:
    accessModes: [{{ $storage.dynamic.accessMode }}]
    {{- with include "jupyterhub.storageClass" (tuple . $storage.dynamic.storageClass) }}
    storageClassName: {{ . }}
    {{- end }}
    resources:
      requests:
        storage: {{ $storage.capacity }}
{{- else -}}
[]
{{- end -}}
{{- end -}}

{{- define "jupyterhub.sharedMemory" -}}
{{- if not (include "common.accelerator.byMps" (tuple .root .profile.accelerator)) }}{{ .profile.sharedMemory }}{{ end -}}
{{- end -}}

{{- define "jupyterhub.volumes" -}}
{{- $storage := .root.Values.singleuser.storage -}}
- name: home
{{- if eq $storage.type "dynamic" }}
  persistentVolumeClaim:
    claimName: {{ $storage.dynamic.pvcNameTemplate | quote }}
{{- else if eq $storage.type "static" }}
  persistentVolumeClaim:
    claimName: {{ $storage.static.pvcName }}
{{- else }}
  emptyDir:
    sizeLimit: {{ $storage.capacity }}
{{- end }}
{{- with include "jupyterhub.sharedMemory" . }}
- name: shared-memory
  emptyDir:
    medium: Memory
    sizeLimit: {{ . }}
{{- end }}
{{- end -}}

{{- define "jupyterhub.mounts" -}}
{{- $storage := .root.Values.singleuser.storage -}}
- name: home
  mountPath: {{ $storage.homeMountPath }}
  {{- if eq $storage.type "static" }}
  subPath: {{ $storage.static.subPath | quote }}
  {{- end }}
{{- if include "jupyterhub.sharedMemory" . }}
- name: shared-memory
  mountPath: /dev/shm
{{- end }}
{{- end -}}
