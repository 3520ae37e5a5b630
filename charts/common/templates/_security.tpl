{{- /*
Security contexts of the restricted Pod Security Standard, which are no knobs beyond the numeric user, and what values may not open.
Declared helpers:
  common.podSecurityContext        (dict ["uid" N] ["gid" N]); 65534 when not given
  common.containerSecurityContext  (any argument)
  common.checkNoCredential         fails when the name of a variable says that its value is a credential
  common.checkNotTheWorld          fails for a range of addresses that is a good part of the internet
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

{{- /* Usage: include "common.checkNoCredential" (tuple KEY NAME VALUE REMEDY). An empty value is not a credential, nor is the path of a file. */ -}}
{{- define "common.checkNoCredential" -}}
{{- $name := index . 1 | upper -}}
{{- $value := index . 2 | toString -}}
{{- $named := regexMatch "(^|_)(TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|APIKEY|PRIVATE_KEY|ACCESS_KEY|ACCESS_KEY_ID|KEY)$" $name -}}
{{- if and $named $value (not (hasPrefix "/" $value)) -}}
{{- fail (printf "%s: a credential in values is readable to all users: %s" (index . 0) (index . 3)) -}}
{{- end -}}
{{- if regexMatch "://[^/@[:space:]]*:[^/@[:space:]]+@" $value -}}
{{- fail (printf "%s: the address holds a password, which is readable to all users: %s" (index . 0) (index . 3)) -}}
{{- end -}}
{{- end -}}

{{- /* Usage: include "common.checkNotTheWorld" (tuple KEY RANGE REMEDY). Two halves of the internet are all of it as well. */ -}}
{{- define "common.checkNotTheWorld" -}}
{{- $range := index . 1 -}}
{{- $length := regexFind "[0-9]+$" $range | int -}}
{{- if lt $length (contains ":" $range | ternary 16 8) -}}
{{- fail (printf "%s: %s is %s: %s" (index . 0) $range (eq $length 0 | ternary "the whole internet" "a good part of the internet") (index . 2)) -}}
{{- end -}}
{{- end -}}
