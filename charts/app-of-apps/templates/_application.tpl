{{- /*
Applications. Declared helpers:
  app-of-apps.checks           fails when a value is missing that nothing can be made without
  app-of-apps.environment      the environment's name
  app-of-apps.path             a path in the repository
  app-of-apps.metadata         metadata of an Application: name, wave, and a finalizer that removes its objects with it
  app-of-apps.destination      the cluster, and a namespace
  app-of-apps.syncPolicy       how an Application is synced
  app-of-apps.bringsCrds       whether an owner's CRDs have an Application
*/ -}}

{{- define "app-of-apps.checks" -}}
{{- range $key, $value := dict "environment" .Values.argoCd.environment "repository.url" .Values.argoCd.repository.url -}}
{{- if not $value -}}
{{- fail (printf "argoCd.%s is empty: set it, as `drydock bootstrap-argocd` does" $key) -}}
{{- end -}}
{{- end -}}
{{- if not .Values.stack -}}
{{- fail "stack is empty: give this chart an environment's file, -f values/environments/NAME.yaml" -}}
{{- end -}}
{{- end -}}

{{- /* `helm lint` renders without a name, and goes on after a failed check. */ -}}
{{- define "app-of-apps.environment" -}}
{{- .Values.argoCd.environment | default "environment" -}}
{{- end -}}

{{- /* Usage: include "app-of-apps.path" (tuple . "charts/genai-platform") */ -}}
{{- define "app-of-apps.path" -}}
{{- with (index . 0).Values.argoCd.repository.path }}{{ trimSuffix "/" . }}/{{ end }}{{ index . 1 }}
{{- end -}}

{{- /* Usage: include "app-of-apps.metadata" (tuple . NAME WAVE PRUNED) */ -}}
{{- define "app-of-apps.metadata" -}}
{{- $root := index . 0 -}}
name: {{ printf "%s-%s" (include "app-of-apps.environment" $root) (index . 1) }}
namespace: {{ $root.Values.argoCd.namespace }}
labels:
  app.kubernetes.io/part-of: genai-platform
  app.kubernetes.io/managed-by: {{ $root.Release.Service }}
  app.kubernetes.io/component: {{ index . 1 }}
annotations:
  argocd.argoproj.io/sync-wave: {{ index . 2 | quote }}
{{- if index . 3 }}
finalizers:
  - resources-finalizer.argocd.argoproj.io
{{- end }}
{{- end -}}

{{- /* Usage: include "app-of-apps.destination" (tuple . NAMESPACE) */ -}}
{{- define "app-of-apps.destination" -}}
{{- with (index . 0).Values.argoCd.destination -}}
{{- if .name -}}
name: {{ .name }}
{{- else -}}
server: {{ .server }}
{{- end }}
{{- end }}
namespace: {{ index . 1 }}
{{- end -}}

{{- /*
Usage: include "app-of-apps.syncPolicy" (tuple . PRUNED NAMESPACE RESPECTS_WHAT_IS_IGNORED), with NAMESPACE empty where it makes none.
Argo CD labels a namespace that is there already too, so only the platform's own gets the labels.
*/ -}}
{{- define "app-of-apps.syncPolicy" -}}
{{- $root := index . 0 -}}
{{- $pruned := index . 1 -}}
{{- with $root.Values.argoCd.syncPolicy -}}
{{- if .automated -}}
automated:
  enabled: true
  prune: {{ and .prune $pruned }}
  selfHeal: {{ .selfHeal }}
  allowEmpty: {{ and .allowEmpty $pruned }}
{{ end -}}
retry:
  limit: {{ .retry.limit }}
  backoff:
    duration: {{ .retry.duration }}
    factor: {{ .retry.factor }}
    maxDuration: {{ .retry.maxDuration }}
{{- end }}
syncOptions:
  - ServerSideApply=true
{{- if index . 3 }}
  - RespectIgnoreDifferences=true
{{- end }}
{{- if not $pruned }}
  - Prune=false
{{- end }}
{{- if index . 2 }}
  - CreateNamespace=true
{{- if and $root.Values.argoCd.namespaceLabels (eq (index . 2) $root.Values.namespace) }}
managedNamespaceMetadata:
  labels:
    {{- toYaml $root.Values.argoCd.namespaceLabels | nindent 4 }}
{{- end }}
{{- end }}
{{- end -}}

{{- /* Usage: if include "app-of-apps.bringsCrds" (tuple . OWNER CRDS). EKS Auto Mode brings those of Karpenter, and keeps them. */ -}}
{{- define "app-of-apps.bringsCrds" -}}
{{- $theirs := and (eq (index . 1) "karpenter") (eq (index . 0).Values.target "eks-auto-mode") -}}
{{- if and (index . 2).enabled (not $theirs) }}true{{ end -}}
{{- end -}}
