{{- /*
What values add to a pod: the key `pod` of each workload, the type `pod` of values.types.yaml. Declared helpers:
  common.podTemplate       a pod template with what values add to it
  common.pod.metadata      labels and annotations, as JSON
  common.pod.spec          fields of the pod but its containers, as JSON
  common.pod.volumes       volumes, as JSON
  common.pod.container     what is added to a container: env, envFrom, volumeMounts, lifecycle, securityContext, as JSON
  common.pod.newContainer  a container of initContainers or sidecars, as JSON
*/ -}}

{{- /*
Usage: include "common.podTemplate" (dict "root" . "key" KEY "pod" POD "template" YAML ["own" LIST])
KEY is where POD stands in the values; LIST holds variables of containers that the chart sets itself beside those of this template.
What adds nothing leaves the template as it is, comments included.
*/ -}}
{{- define "common.podTemplate" -}}
{{- include "common.checkCall" (tuple "common.podTemplate" . (list "root" "key" "pod" "template")) -}}
{{- $pod := dict -}}
{{- range $name, $value := .pod }}{{ if $value }}{{ $_ := set $pod $name $value }}{{ end }}{{ end -}}
{{- if not $pod -}}
{{ .template }}
{{- else -}}
{{- $context := dict "root" .root "key" .key "pod" $pod "own" (.own | default list) -}}
{{- $template := fromYaml .template -}}
{{- $_ := set $template "metadata" (include "common.pod.metadata" (set (omit $context) "metadata" ($template.metadata | default dict)) | fromJson) -}}
{{- $_ := set $template "spec" (include "common.pod.spec" (set (omit $context) "spec" $template.spec) | fromJson) -}}
{{- toYaml $template -}}
{{- end -}}
{{- end -}}

{{- define "common.pod.metadata" -}}
{{- $labels := .metadata.labels | default dict -}}
{{- range $name, $value := .pod.labels -}}
{{- if or (hasKey $labels $name) (regexMatch "^(app\\.kubernetes\\.io|helm\\.sh|drydock\\.dev)/" $name) -}}
{{- fail (printf "%s.labels.%s: Services and policies of the suite choose pods by this label: leave it out" $.key $name) -}}
{{- end -}}
{{- if not (kindIs "invalid" $value) }}{{ $_ := set $labels $name $value }}{{ end -}}
{{- end -}}
{{- range $name, $_ := .pod.annotations -}}
{{- if hasPrefix "checksum/" $name -}}
{{- fail (printf "%s.annotations.%s: the chart starts its pods again by this annotation: leave it out" $.key $name) -}}
{{- end -}}
{{- end -}}
{{- $metadata := set (deepCopy .metadata) "labels" $labels -}}
{{- with include "common.merge" (tuple .metadata.annotations .pod.annotations) | fromJson }}{{ $_ := set $metadata "annotations" . }}{{ end -}}
{{- toJson $metadata -}}
{{- end -}}

{{- define "common.pod.spec" -}}
{{- $pod := .pod -}}
{{- $spec := deepCopy .spec -}}
{{- range $name := list "priorityClassName" "runtimeClassName" "dnsPolicy" -}}
{{- with get $pod $name }}{{ $_ := set $spec $name . }}{{ end -}}
{{- end -}}
{{- range $name := list "nodeSelector" "securityContext" -}}
{{- with include "common.merge" (tuple (get $spec $name) (get $pod $name)) | fromJson }}{{ $_ := set $spec $name . }}{{ end -}}
{{- end -}}
{{- with include "common.entryList" $pod.tolerations | fromJsonArray }}{{ $_ := set $spec "tolerations" (concat ($spec.tolerations | default list) .) }}{{ end -}}
{{- range $address, $names := $pod.hostAliases -}}
{{- if $names }}{{ $_ := set $spec "hostAliases" (append ($spec.hostAliases | default list) (dict "ip" $address "hostnames" $names)) }}{{ end -}}
{{- end -}}
{{- with $pod.dnsConfig -}}
{{- $config := dict -}}
{{- range $name := list "nameservers" "searches" -}}
{{- with get $pod.dnsConfig $name }}{{ $_ := set $config $name . }}{{ end -}}
{{- end -}}
{{- $options := list -}}
{{- range $name, $value := .options -}}
{{- if not (kindIs "invalid" $value) }}{{ $options = append $options (empty $value | ternary (dict "name" $name) (dict "name" $name "value" $value)) }}{{ end -}}
{{- end -}}
{{- with $options }}{{ $_ := set $config "options" . }}{{ end -}}
{{- with $config }}{{ $_ := set $spec "dnsConfig" . }}{{ end -}}
{{- end -}}
{{- with include "common.pod.volumes" (set (omit .) "spec" $spec) | fromJsonArray }}{{ $_ := set $spec "volumes" . }}{{ end -}}
{{- $volumes := list -}}
{{- range $spec.volumes }}{{ $volumes = append $volumes .name }}{{ end -}}
{{- /* The rest of a pod's containers are the chart's helpers. */ -}}
{{- $main := include "common.pod.container" (dict "key" .key "volumes" $volumes "container" (first $spec.containers) "additions" (pick $pod "env" "envFrom" "volumeMounts" "lifecycle" "containerSecurityContext") "own" .own) | fromJson -}}
{{- $_ := set $spec "containers" (prepend (rest $spec.containers) $main) -}}
{{- $taken := list -}}
{{- range concat $spec.containers ($spec.initContainers | default list) }}{{ $taken = append $taken .name }}{{ end -}}
{{- $new := dict "sidecars" list "initContainers" list -}}
{{- range $kind := list "sidecars" "initContainers" -}}
{{- range $name, $container := get $pod $kind | default dict -}}
{{- if $container -}}
{{- $key := printf "%s.%s.%s" $.key $kind $name -}}
{{- if has $name $taken -}}
{{- fail (printf "%s: the pod has a container of that name: choose another" $key) -}}
{{- end -}}
{{- $taken = append $taken $name -}}
{{- $container := include "common.pod.newContainer" (dict "root" $.root "key" $key "name" $name "values" $container "sidecar" (eq $kind "sidecars") "volumes" $volumes) | fromJson -}}
{{- $_ := set $new $kind (append (get $new $kind) $container) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- /* A sidecar is there before what may need it. */ -}}
{{- with concat $new.sidecars ($spec.initContainers | default list) $new.initContainers }}{{ $_ := set $spec "initContainers" . }}{{ end -}}
{{- toJson $spec -}}
{{- end -}}

{{- define "common.pod.volumes" -}}
{{- $volumes := .spec.volumes | default list -}}
{{- $taken := list -}}
{{- range $volumes }}{{ $taken = append $taken .name }}{{ end -}}
{{- $restricted := dig "securityContext" "runAsNonRoot" false .spec -}}
{{- range $name, $volume := .pod.volumes -}}
{{- if not (kindIs "invalid" $volume) -}}
{{- $key := printf "%s.volumes.%s" $.key $name -}}
{{- if has $name $taken -}}
{{- fail (printf "%s: the pod has a volume of that name: choose another" $key) -}}
{{- end -}}
{{- if ne 1 (len $volume) -}}
{{- fail (printf "%s: it has %d sources: name exactly one" $key (len $volume)) -}}
{{- end -}}
{{- if and $restricted (hasKey $volume "hostPath") -}}
{{- fail (printf "%s.hostPath: the restricted Pod Security Standard, which the namespace enforces, refuses folders of the node: use a claim or a CSI driver" $key) -}}
{{- end -}}
{{- $volumes = append $volumes (set (deepCopy $volume) "name" $name) -}}
{{- end -}}
{{- end -}}
{{- toJson $volumes -}}
{{- end -}}

{{- define "common.pod.container" -}}
{{- $container := deepCopy .container -}}
{{- $variables := .own -}}
{{- range $container.env }}{{ $variables = append $variables .name }}{{ end -}}
{{- with include "common.environment" (dict "key" (printf "%s.env" .key) "variables" .additions.env "own" $variables) | fromYamlArray -}}
{{- $_ := set $container "env" (concat ($container.env | default list) .) -}}
{{- end -}}
{{- range $name, $source := .additions.envFrom -}}
{{- if $source -}}
{{- if eq (empty $source.configMap) (empty $source.secret) -}}
{{- fail (printf "%s.envFrom.%s: set exactly one of configMap and secret" $.key $name) -}}
{{- end -}}
{{- $entry := dict (empty $source.secret | ternary "configMapRef" "secretRef") (dict "name" ($source.secret | default $source.configMap) "optional" ($source.optional | default false)) -}}
{{- with $source.prefix }}{{ $_ := set $entry "prefix" . }}{{ end -}}
{{- $_ := set $container "envFrom" (append ($container.envFrom | default list) $entry) -}}
{{- end -}}
{{- end -}}
{{- $paths := list -}}
{{- range $container.volumeMounts }}{{ $paths = append $paths (trimSuffix "/" .mountPath) }}{{ end -}}
{{- range $path, $mount := .additions.volumeMounts -}}
{{- if $mount -}}
{{- $key := printf "%s.volumeMounts.%s" $.key $path -}}
{{- if has (trimSuffix "/" $path) $paths -}}
{{- fail (printf "%s: the chart mounts a volume there itself: choose another path" $key) -}}
{{- end -}}
{{- if not (has $mount.name $.volumes) -}}
{{- fail (printf "%s.name: the pod has no volume %s: name one of %s, or add it to `volumes`" $key $mount.name (join ", " $.volumes)) -}}
{{- end -}}
{{- $_ := set $container "volumeMounts" (append ($container.volumeMounts | default list) (set (deepCopy $mount) "mountPath" $path)) -}}
{{- end -}}
{{- end -}}
{{- with .additions.lifecycle -}}
{{- if and (hasKey . "preStop") (dig "lifecycle" "preStop" "" $container) -}}
{{- fail (printf "%s.lifecycle.preStop: the chart waits there until routers send no more requests: set shutdown.preStopSeconds" $.key) -}}
{{- end -}}
{{- $_ := set $container "lifecycle" (merge (deepCopy .) ($container.lifecycle | default dict)) -}}
{{- end -}}
{{- with .additions.containerSecurityContext }}{{ $_ := set $container "securityContext" (include "common.merge" (tuple $container.securityContext .) | fromJson) }}{{ end -}}
{{- toJson $container -}}
{{- end -}}

{{- define "common.pod.newContainer" -}}
{{- $container := omit .values "image" "env" "envFrom" "volumeMounts" "lifecycle" "securityContext" -}}
{{- $_ := set $container "name" .name -}}
{{- $_ := set $container "image" (include "common.image" (dict "root" .root "image" .values.image)) -}}
{{- $_ := set $container "imagePullPolicy" "IfNotPresent" -}}
{{- if .sidecar }}{{ $_ := set $container "restartPolicy" "Always" }}{{ end -}}
{{- $_ := set $container "securityContext" (include "common.containerSecurityContext" . | fromYaml) -}}
{{- $additions := set (pick .values "env" "envFrom" "volumeMounts" "lifecycle") "containerSecurityContext" .values.securityContext -}}
{{- include "common.pod.container" (dict "key" .key "volumes" .volumes "container" $container "additions" $additions "own" list) -}}
{{- end -}}
