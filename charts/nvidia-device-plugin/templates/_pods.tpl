{{- /*
What the three DaemonSets have in common. Declared helpers:
  nvidia-device-plugin.enabled              "true" unless Auto Mode, which brings its own plugin, runs the nodes
  nvidia-device-plugin.podSpec              fields of the pod: account, priority, nodes
  nvidia-device-plugin.configManager        container that puts the node's config in place, as init container or beside
  nvidia-device-plugin.configVolumes        volumes of the configs
  nvidia-device-plugin.configVolumeMounts   where they are mounted
  nvidia-device-plugin.migEnv               environment of a container that looks at MIG devices
  nvidia-device-plugin.securityContext      security context of a container that talks to the driver
*/ -}}

{{- define "nvidia-device-plugin.enabled" -}}
{{- if not (include "common.autoMode" .) -}}true{{- end -}}
{{- end -}}

{{- /*
Usage: include "nvidia-device-plugin.podSpec" (dict "root" . "serviceAccountName" NAME ["expressions" LIST])
Until the plugin runs, a node's GPUs do not exist and Karpenter does not take it for initialised: it tolerates whatever
taints a pool may carry.
*/ -}}
{{- define "nvidia-device-plugin.podSpec" -}}
{{- include "common.checkCall" (tuple "nvidia-device-plugin.podSpec" . (list "root" "serviceAccountName")) -}}
{{- with include "common.imagePullSecrets" .root }}{{ . }}
{{ end -}}
serviceAccountName: {{ .serviceAccountName }}
priorityClassName: system-node-critical
enableServiceLinks: false
affinity:
  nodeAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      nodeSelectorTerms:
        - matchExpressions:
            - key: drydock.dev/nvidia-device-plugin
              operator: In
              values: [chart]
            {{- with .expressions }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
tolerations:
  - operator: Exists
{{- end -}}

{{- /*
Usage: include "nvidia-device-plugin.configManager" (dict "root" . "process" PROCESS "once" BOOL "resources" RESOURCES)
Once it puts the config in place before the process starts; beside it, it watches the node's label and sends SIGHUP.
*/ -}}
{{- define "nvidia-device-plugin.configManager" -}}
{{- include "common.checkCall" (tuple "nvidia-device-plugin.configManager" . (list "root" "process" "once" "resources")) -}}
- name: {{ ternary "config-manager-init" "config-manager" .once }}
  image: {{ include "common.image" (dict "root" .root "image" .root.Values.image) }}
  command: [config-manager]
  env:
    - name: ONESHOT
      value: {{ .once | quote }}
    - name: NODE_NAME
      valueFrom:
        fieldRef:
          fieldPath: spec.nodeName
    - name: NODE_LABEL
      value: nvidia.com/device-plugin.config
    - name: CONFIG_FILE_SRCDIR
      value: /available-configs
    - name: CONFIG_FILE_DST
      value: /config/config.yaml
    - name: DEFAULT_CONFIG
      value: {{ .root.Values.defaultConfig }}
    - name: SEND_SIGNAL
      value: {{ not .once | quote }}
    - name: SIGNAL
      value: "1"
    - name: PROCESS_TO_SIGNAL
      value: {{ .process }}
    # The image asks for every GPU of the node by default; this container needs none.
    - name: NVIDIA_VISIBLE_DEVICES
      value: void
  {{- with .resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    {{- include "common.containerSecurityContext" .root | nindent 4 }}
  volumeMounts:
    {{- include "nvidia-device-plugin.configVolumeMounts" . | nindent 4 }}
{{- end -}}

{{- define "nvidia-device-plugin.configVolumes" -}}
- name: available-configs
  configMap:
    name: {{ include "nvidia-device-plugin.configMapName" . }}
- name: config
  emptyDir: {}
{{- end -}}

{{- define "nvidia-device-plugin.configVolumeMounts" -}}
- name: available-configs
  mountPath: /available-configs
- name: config
  mountPath: /config
{{- end -}}

{{- define "nvidia-device-plugin.migEnv" -}}
{{- if include "nvidia-device-plugin.withMig" . -}}
- name: NVIDIA_MIG_MONITOR_DEVICES
  value: all
{{- end -}}
{{- end -}}

{{- /* The driver shows the MIG devices of a node only to a process with CAP_SYS_ADMIN. */ -}}
{{- define "nvidia-device-plugin.securityContext" -}}
{{- if include "nvidia-device-plugin.withMig" . -}}
capabilities:
  drop:
    - ALL
  add:
    - SYS_ADMIN
{{- else -}}
allowPrivilegeEscalation: false
capabilities:
  drop:
    - ALL
{{- end -}}
{{- end -}}
