{{- /*
Container images. Declared helpers:
  common.image             a full reference; global.imageRegistry replaces the registry of every image
  common.imagePullSecrets  the pod's imagePullSecrets from global.imagePullSecrets, or nothing
*/ -}}

{{- /*
Usage: include "common.image" (dict "root" . "image" MAP)
MAP holds registry, repository, tag and digest; a tag or a digest is needed, and a digest wins over a moved tag.
*/ -}}
{{- define "common.image" -}}
{{- include "common.checkCall" (tuple "common.image" . (list "root" "image")) -}}
{{- $image := .image -}}
{{- $registry := include "common.global" (tuple .root "imageRegistry") | default ($image.registry | default "") -}}
{{- $tag := toString ($image.tag | default "") -}}
{{- $digest := $image.digest | default "" -}}
{{- if not $image.repository -}}
{{- fail (printf "%s: an image has no repository: set `repository`" .root.Chart.Name) -}}
{{- end -}}
{{- if not (or $tag $digest) -}}
{{- fail (printf "%s: image %s has neither tag nor digest: set one, a mutable default is not taken" .root.Chart.Name $image.repository) -}}
{{- end -}}
{{- if and (eq $tag "latest") (not $digest) -}}
{{- fail (printf "%s: image %s:latest can change under a running release: set a version as `tag`, or a `digest`" .root.Chart.Name $image.repository) -}}
{{- end -}}
{{- with $registry }}{{ . }}/{{ end }}{{ $image.repository }}{{ with $tag }}:{{ . }}{{ end }}{{ with $digest }}@{{ . }}{{ end }}
{{- end -}}

{{- /* Usage: {{- with include "common.imagePullSecrets" . }}{{ . | nindent 6 }}{{ end }} */ -}}
{{- define "common.imagePullSecrets" -}}
{{- with (.Values.global | default dict).imagePullSecrets -}}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end -}}
{{- end -}}
