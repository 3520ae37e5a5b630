{{- /*
Security contexts of the restricted Pod Security Standard. They are no knobs beyond the numeric user. Declared helpers:
  common.podSecurityContext        (dict ["uid" N] ["gid" N]); 65534, nobody, when not given
  common.containerSecurityContext  (any argument)
*/ -}}

{{- define "common.podSecurityContext" -}}
{{- $uid := 65534 -}}
{{- if hasKey . "uid" }}{{ $uid = int .uid }}{{ end -}}
{{- $gid := $uid -}}
{{- if hasKey . "gid" }}{{ $gid = int .gid }}{{ end -}}
{{- if eq $uid 0 -}}
{{- fail "common.podSecurityContext: uid 0 is root, which the restricted Pod Security Standard forbids: set another uid" -}}
{{- end -}}
runAsNonRoot: true
runAsUser: {{ $uid }}
runAsGroup: {{ $gid }}
fsGroup: {{ $gid }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "common.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop:
    - ALL
{{- end -}}
